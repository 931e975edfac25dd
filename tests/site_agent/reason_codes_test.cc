#include "site_agent/reason_codes.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "tests/site_agent/fixtures.h"
#include "tests/support/source_directory.h"

namespace chorale::site_agent {
namespace {

constexpr int kNumCodes = static_cast<int>(ReasonCode::kInternalError) + 1;

TEST(ReasonCodesTest, NamesAreDistinctAndShort) {
  std::set<std::string_view> names;
  for (int i = 0; i < kNumCodes; ++i) names.insert(NameOf(static_cast<ReasonCode>(i)));

  EXPECT_EQ(names.size(), std::size_t{kNumCodes});
  for (const std::string_view name : names) EXPECT_LE(name.size(), 64u);
}

TEST(ReasonCodesTest, EveryCodeIsDocumented) {
  const std::string page = ReadWholeFile(support::SourceDirectory() / "docs" / "reason_codes.md");

  for (int i = 0; i < kNumCodes; ++i) {
    const std::string row = "| `" + std::string(NameOf(static_cast<ReasonCode>(i))) + "` |";
    EXPECT_NE(page.find(row), std::string::npos) << row;
  }
}

TEST(ReasonCodesTest, TextsTakeNamesAndLimits) {
  EXPECT_EQ(TextOf({.code = ReasonCode::kModelTooLarge, .asked = 30, .limit = 20}),
            "the model has 30 parameters; this site allows at most 20");
  EXPECT_EQ(TextOf({.code = ReasonCode::kDatasetUnknown, .subject = "heart"}),
            "this site offers no dataset heart");
}

TEST(ReasonCodesTest, TextsStayWithinTheirBoundAndHoldNoOpenSlot) {
  for (int i = 0; i < kNumCodes; ++i) {
    const std::string text = TextOf({.code = static_cast<ReasonCode>(i),
                                     .subject = std::string(64, 'x'),
                                     .asked = ~std::uint64_t{0},
                                     .limit = ~std::uint64_t{0}});

    EXPECT_LE(text.size(), 512u);
    EXPECT_EQ(text.find_first_of("{}"), std::string::npos) << text;
  }
}

TEST(ReasonCodesTest, ASubjectThatIsNoNameIsNotTold) {
  for (const char* subject : {"", "two words", "a{limit}", "caf\xc3\xa9", "x\ny"}) {
    EXPECT_EQ(TextOf({.code = ReasonCode::kDatasetUnknown, .subject = subject}),
              "this site offers no dataset (not told)");
  }
  EXPECT_EQ(TextOf({.code = ReasonCode::kDatasetUnknown, .subject = std::string(65, 'x')}),
            "this site offers no dataset (not told)");
}

}  // namespace
}  // namespace chorale::site_agent
