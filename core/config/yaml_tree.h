#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"

// The part of YAML that files of ours may use: maps with plain keys, lists, scalars, one document.
// Anchors, aliases, tags and merge keys are refused, so that what is read is what is seen.
namespace chorale::config {

inline constexpr std::size_t kMaxFileBytes = 1u << 20;
inline constexpr std::size_t kMaxDepth = 32;
inline constexpr std::size_t kMaxNodes = 100'000;

struct YamlEntry;

struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  int line = 0;                    // Counted from 1.
  std::string scalar;              // kScalar
  std::vector<YamlNode> items;     // kList
  std::vector<YamlEntry> entries;  // kMap, in the order of the file; a key may repeat.
};

struct YamlEntry {
  std::string key;
  int line = 0;  // Of the key.
  YamlNode value;
};

// An empty file gives kNull. INVALID_ARGUMENT messages begin with "FILE:LINE: ".
[[nodiscard]] StatusOr<YamlNode> ReadYamlTree(std::string_view text, std::string_view file_name);

}  // namespace chorale::config
