#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "core/random.h"
#include "data/csv_reader.h"
#include "data/encoding.h"

namespace chorale::data {
namespace {

constexpr std::string_view kSound =
    "id,\"größe, cm\",note,split\r\n1,\"180,5\",\"said \"\"hi\"\"\nand "
    "left\",train\r\n\r\n2,,?,test\r\n";
constexpr std::string_view kSpecial = ",;\"\r\n\t\xC3\xA4\xFF ";

// What every accepted text must give, and every refused one.
void CheckOutcome(std::string_view text, const v1::CsvConnector& options) {
  const StatusOr<CsvTable> table = ParseCsv(text, options, "f.csv");
  if (!table.ok()) {
    ASSERT_EQ(table.status().code(), StatusCode::kInvalidArgument);
    ASSERT_TRUE(MessageOf(table.status()).starts_with("f.csv:"));
    return;
  }
  ASSERT_EQ(table->rows.size(), table->lines.size());
  ASSERT_TRUE(std::is_sorted(table->lines.begin(), table->lines.end()));
  for (const auto& row : table->rows) {
    ASSERT_EQ(row.size(), table->columns.size());
    for (const std::string& cell : row) ASSERT_EQ(FindInvalidUtf8(cell), std::nullopt);
  }
}

TEST(CsvReaderMutationTest, SurvivesEveryTruncation) {
  for (std::size_t size = 0; size <= kSound.size(); ++size) {
    CheckOutcome(kSound.substr(0, size), {});
  }
}

TEST(CsvReaderMutationTest, SurvivesRandomBytes) {
  SeededRandom random(20261120);
  v1::CsvConnector latin1;
  latin1.set_encoding("latin-1");
  latin1.set_delimiter(";");
  for (int i = 0; i < 5000; ++i) {
    std::string text(kSound);
    for (std::uint64_t k = random.NextBelow(6); k <= 6; ++k) {
      const auto at = static_cast<std::size_t>(random.NextBelow(text.size()));
      const char byte = random.NextBelow(2) == 0 ? kSpecial[random.NextBelow(kSpecial.size())]
                                                 : static_cast<char>(random.NextBelow(256));
      if (random.NextBelow(2) == 0)
        text[at] = byte;
      else
        text.insert(at, 1, byte);
    }
    CheckOutcome(text, {});
    CheckOutcome(text, latin1);
  }
}

// Writes a table in the strictest form; reading it back must give the same cells.
TEST(CsvReaderMutationTest, ReadsBackWhatWasWritten) {
  SeededRandom random(5);
  constexpr std::string_view kAlphabet = "ab1,\"\n\r;.";
  for (int i = 0; i < 500; ++i) {
    CsvTable wanted{.columns = {"x", "y", "z"}, .rows = {}, .lines = {}, .file_name = {}};
    std::string text = "x,y,z\r\n";
    for (int row = 0; row < 4; ++row) {
      std::vector<std::string>& cells = wanted.rows.emplace_back();
      for (int column = 0; column < 3; ++column) {
        std::string cell = "<";  // So that trimming has nothing to do.
        for (std::uint64_t k = random.NextBelow(8); k > 0; --k) {
          cell += kAlphabet[random.NextBelow(kAlphabet.size())];
        }
        cells.push_back(cell + ">");
        text += column == 0 ? "\"" : ",\"";
        for (const char c : cells.back())
          text += c == '"' ? std::string("\"\"") : std::string(1, c);
        text += "\"";
      }
      text += "\r\n";
    }

    const StatusOr<CsvTable> table = ParseCsv(text, {}, "f.csv");

    ASSERT_TRUE(table.ok()) << table.status();
    ASSERT_EQ(table->rows, wanted.rows);
  }
}

}  // namespace
}  // namespace chorale::data
