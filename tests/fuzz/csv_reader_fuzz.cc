#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/utf8.h"
#include "data/csv_reader.h"

// The first byte chooses the options; the rest is the file.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  chorale::v1::CsvConnector options;
  if ((data[0] & 1) != 0) options.set_encoding("latin-1");
  if ((data[0] & 2) != 0) options.set_delimiter((data[0] & 4) != 0 ? "\t" : ";");
  if ((data[0] & 8) != 0) {
    options.add_columns("a");
    options.add_columns("b");
  }
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto table = chorale::data::ParseCsv(text, options, "f");
  if (!table.ok()) return 0;
  const bool is_rectangular =
      table->rows.size() == table->lines.size() &&
      std::all_of(table->rows.begin(), table->rows.end(), [&](const auto& row) {
        return row.size() == table->columns.size() &&
               std::all_of(row.begin(), row.end(), chorale::IsValidUtf8);
      });
  if (!is_rectangular) std::abort();
  return 0;
}
