#include <charconv>
#include <optional>
#include <string>

#include "absl/strings/cord.h"
#include "core/config/yaml.h"
#include "core/config/yaml_tree.h"

namespace chorale::config {
namespace {

constexpr char kFieldPathPayload[] = "chorale.v1/field_path";

// Where a path has led so far.
struct Place {
  const YamlNode* node;
  int line;
};

// Takes ".name" or "[2]" off the front of `path` and goes there from `place`.
std::optional<Place> Step(std::string_view& path, const Place& place) {
  if (path.front() == '[') {
    std::size_t index = 0;
    const auto result = std::from_chars(path.data() + 1, path.data() + path.size(), index);
    const bool is_closed =
        result.ec == std::errc() && result.ptr != path.data() + path.size() && *result.ptr == ']';
    if (!is_closed || index >= place.node->items.size()) return std::nullopt;
    path.remove_prefix(static_cast<std::size_t>(result.ptr - path.data()) + 1);
    return Place{&place.node->items[index], place.node->items[index].line};
  }
  if (path.front() == '.') path.remove_prefix(1);
  const std::string_view key = path.substr(0, path.find_first_of(".["));
  path.remove_prefix(key.size());
  for (const YamlEntry& entry : place.node->entries) {
    if (entry.key == key) return Place{&entry.value, entry.line};
  }
  return std::nullopt;
}

struct Lookup {
  int line = 0;           // Of the deepest part of the path that is there, 0 for none.
  bool is_whole = false;  // The whole path is there.
};

Lookup FindPath(std::string_view text, std::string_view path) {
  const StatusOr<YamlNode> root = ReadYamlTree(text, "");
  if (!root.ok() || path.empty()) return {};
  Place place{&*root, 0};
  while (!path.empty()) {
    const std::optional<Place> next = Step(path, place);
    if (!next) return {place.line, false};
    place = *next;
  }
  return {place.line, true};
}

}  // namespace

int LineOf(std::string_view text, std::string_view field_path) {
  const Lookup found = FindPath(text, field_path);
  return found.is_whole ? found.line : 0;
}

Status FieldError(std::string_view field_path, std::string_view problem) {
  Status status = InvalidArgument(std::string(field_path) + " " + std::string(problem));
  status.SetPayload(kFieldPathPayload,
                    absl::Cord(absl::string_view(field_path.data(), field_path.size())));
  return status;
}

Status Locate(const Status& status, std::string_view text, std::string_view file_name) {
  if (status.ok()) return status;
  std::string where(file_name);
  if (const auto payload = status.GetPayload(kFieldPathPayload)) {
    const Lookup found = FindPath(text, std::string(*payload));
    if (found.line > 0) where.append(":").append(std::to_string(found.line));
  }
  return Annotate(status, where);
}

}  // namespace chorale::config
