#include "core/ids.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <type_traits>
#include <unordered_set>

namespace chorale {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

static_assert(!std::is_convertible_v<SiteId, std::string>);
static_assert(!std::is_convertible_v<std::string, SiteId>);
static_assert(!std::is_constructible_v<SiteId, JobId>);

TEST(StrongIdTest, ComparesAndHashesAsItsValue) {
  const std::unordered_set<SiteId> sites = {SiteId("north"), SiteId("south"), SiteId("north")};

  EXPECT_EQ(sites.size(), 2u);
  EXPECT_LT(SiteId("north"), SiteId("south"));
  EXPECT_EQ(RoundNumber(), RoundNumber(0));
}

TEST(NameTest, TakesLowerCaseLettersDigitsAndInnerHyphens) {
  for (const std::string_view name : {"a", "0", "north", "site-2", "a--b", "0-0"}) {
    EXPECT_TRUE(IsValidName(name)) << name;
  }
}

TEST(NameTest, RefusesWhatIsNotSafeAsAFileName) {
  for (const std::string_view name :
       {"", "-", "-a", "a-", "A", "a/b", "..", "a.b", "a_b", "a b", "a\n", "\xc3\xa9"}) {
    EXPECT_FALSE(IsValidName(name)) << name;
  }
  EXPECT_FALSE(IsValidName(std::string_view("a\0b", 3)));
}

TEST(NameTest, HasAtMost64Characters) {
  EXPECT_TRUE(IsValidName(std::string(64, 'a')));
  EXPECT_FALSE(IsValidName(std::string(65, 'a')));
}

TEST(NameTest, TheErrorNamesTheFieldAndNotTheValue) {
  const Status status = ValidateName("dataset", "Very/Secret");

  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(status), StartsWith("dataset must be 1 to 64 characters of [a-z0-9-]"));
  EXPECT_THAT(MessageOf(status), HasSubstr("got 11 characters"));
  EXPECT_THAT(MessageOf(status), Not(HasSubstr("Secret")));
}

TEST(NameTest, AValidNameIsOk) { EXPECT_TRUE(ValidateName("dataset", "heart").ok()); }

}  // namespace
}  // namespace chorale
