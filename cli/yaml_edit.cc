#include "cli/yaml_edit.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "core/config/yaml_writer.h"

namespace chorale::cli {
namespace {

using Lines = std::vector<std::string>;

Lines SplitLines(std::string_view text) {
  Lines lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return lines;
}

std::string JoinLines(const Lines& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + '\n';
  return text;
}

std::size_t IndentOf(const std::string& line) {
  return std::min(line.find_first_not_of(' '), line.size());
}

// Neither blank nor a comment.
bool HasContent(const std::string& line) {
  const std::size_t first = line.find_first_not_of(" \t\r");
  return first != std::string::npos && line[first] != '#';
}

bool IsListItem(const std::string& line) {
  const std::size_t indent = IndentOf(line);
  return indent < line.size() && line[indent] == '-' &&
         (indent + 1 == line.size() || line[indent + 1] == ' ');
}

bool IsKey(const std::string& line, std::size_t indent, std::string_view key) {
  return HasContent(line) && IndentOf(line) == indent &&
         line.compare(indent, key.size(), key) == 0 && line.size() > indent + key.size() &&
         line[indent + key.size()] == ':';
}

// The lines below a key that belong to it: [begin, end), ending after the last one with content.
struct Region {
  std::size_t begin = 0;
  std::size_t end = 0;
};

Region RegionOf(const Lines& lines, std::size_t key_line, std::size_t limit) {
  const std::size_t indent = IndentOf(lines[key_line]);
  Region region{.begin = key_line + 1, .end = key_line + 1};
  for (std::size_t i = region.begin; i < limit; ++i) {
    if (!HasContent(lines[i])) continue;
    const bool is_inside =
        IndentOf(lines[i]) > indent || (IndentOf(lines[i]) == indent && IsListItem(lines[i]));
    if (!is_inside) break;
    region.end = i + 1;
  }
  return region;
}

std::optional<std::size_t> FirstContent(const Lines& lines, const Region& region) {
  for (std::size_t i = region.begin; i < region.end; ++i) {
    if (HasContent(lines[i])) return i;
  }
  return std::nullopt;
}

// Empties "key: []" and "key: {}" to "key:", keeping a comment; leaves "key:" alone.
Status OpenKey(std::string& line, std::string_view key) {
  const std::size_t value_begin = line.find(':', IndentOf(line) + key.size()) + 1;
  std::string value = line.substr(value_begin);
  std::string comment;
  if (const std::size_t hash = value.find(" #"); hash != std::string::npos) {
    comment = value.substr(hash);
    value.resize(hash);
  }
  std::erase_if(value, [](char c) { return c == ' ' || c == '\t' || c == '\r'; });
  if (value.empty()) return OkStatus();
  if (value != "[]" && value != "{}") {
    return FailedPrecondition("`" + std::string(key) +
                              ":` is written on one line; edit the file by hand");
  }
  line = line.substr(0, value_begin) + comment;
  return OkStatus();
}

}  // namespace

std::string ToListItem(const google::protobuf::Message& message) {
  std::string item;
  for (const std::string& line : SplitLines(config::ToYaml(message))) {
    item += (item.empty() ? "- " : "  ") + line + '\n';
  }
  return item;
}

StatusOr<std::string> AppendListItem(std::string_view text, std::span<const std::string_view> path,
                                     std::string_view item) {
  Lines lines = SplitLines(text);
  Region region{.begin = 0, .end = lines.size()};
  std::size_t indent = 0;
  for (std::size_t depth = 0; depth < path.size(); ++depth) {
    const std::string key(path[depth]);
    if (depth > 0) {
      // Children are indented as the first one is.
      const auto first = FirstContent(lines, region);
      indent = first.has_value() ? IndentOf(lines[*first]) : indent + 2;
    }
    std::optional<std::size_t> key_line;
    for (std::size_t i = region.begin; i < region.end && !key_line.has_value(); ++i) {
      if (IsKey(lines[i], indent, key)) key_line = i;
    }
    if (!key_line.has_value()) {
      key_line = region.end;
      lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(region.end),
                   std::string(indent, ' ') + key + ":");
      ++region.end;
    }
    CHORALE_RETURN_IF_ERROR(OpenKey(lines[*key_line], key));
    region = RegionOf(lines, *key_line, region.end);
    if (depth + 1 == path.size()) {
      const auto first = FirstContent(lines, region);
      indent = first.has_value() ? IndentOf(lines[*first]) : indent + 2;
    }
  }
  Lines item_lines = SplitLines(item);
  for (std::string& line : item_lines) line.insert(0, indent, ' ');
  lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(region.end), item_lines.begin(),
               item_lines.end());
  return JoinLines(lines);
}

}  // namespace chorale::cli
