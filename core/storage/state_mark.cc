#include "core/storage/state_mark.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <string_view>

#include "core/bytes.h"
#include "core/storage/file.h"

namespace chorale::storage {
namespace {

constexpr char kFile[] = "state_mark";
constexpr std::uint64_t kMaxFileBytes = 256;
constexpr std::size_t kLineageBytes = 16;
constexpr std::string_view kAcceptsLoss = " accepts-loss";

// "<lineage> <epoch>[ accepts-loss]\n".
std::string Encode(const StateMark& mark) {
  return mark.lineage + " " + std::to_string(mark.epoch) +
         std::string(mark.accepts_loss ? kAcceptsLoss : "") + "\n";
}

std::optional<StateMark> Decode(std::string_view text) {
  if (text.size() < 2 * kLineageBytes + 3 || text.back() != '\n') return std::nullopt;
  text.remove_suffix(1);
  StateMark mark{.lineage = std::string(text.substr(0, 2 * kLineageBytes))};
  if (!IsLineage(mark.lineage) || text[mark.lineage.size()] != ' ') return std::nullopt;
  text.remove_prefix(mark.lineage.size() + 1);
  if (text.ends_with(kAcceptsLoss)) {
    mark.accepts_loss = true;
    text.remove_suffix(kAcceptsLoss.size());
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mark.epoch);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return mark;
}

Status Save(const std::filesystem::path& directory, const StateMark& mark) {
  const std::string text = Encode(mark);
  return WriteFileAtomically(directory / kFile, AsBytes(text), FileMode::kPrivate);
}

std::string DrawLineage(RandomSource& random) {
  std::array<std::uint8_t, kLineageBytes> bytes{};
  random.Fill(bytes);
  return ToHex(bytes);
}

}  // namespace

bool IsLineage(std::string_view text) {
  return text.size() == 2 * kLineageBytes && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

StatusOr<StateMark> LoadStateMark(const std::filesystem::path& directory) {
  CHORALE_ASSIGN_OR_RETURN(const std::string text, ReadFile(directory / kFile, kMaxFileBytes));
  const std::optional<StateMark> mark = Decode(text);
  if (mark.has_value()) return *mark;
  return DataLoss((directory / kFile).string() +
                  " is damaged: restore the directory from a backup, which gives it a new one");
}

StatusOr<StateMark> BeginEpoch(const std::filesystem::path& directory, RandomSource& random) {
  StatusOr<StateMark> mark = LoadStateMark(directory);
  if (mark.status().code() == StatusCode::kNotFound) {
    mark = StateMark{.lineage = DrawLineage(random)};
  }
  if (!mark.ok()) return mark.status();
  if (mark->epoch == std::numeric_limits<std::int64_t>::max()) {
    return DataLoss((directory / kFile).string() + " is damaged: its epoch cannot be raised");
  }
  ++mark->epoch;
  CHORALE_RETURN_IF_ERROR(Save(directory, *mark));
  return mark;
}

StatusOr<StateMark> BeginLineage(const std::filesystem::path& directory, RandomSource& random,
                                 bool accepts_loss) {
  const StateMark mark{.lineage = DrawLineage(random), .epoch = 0, .accepts_loss = accepts_loss};
  CHORALE_RETURN_IF_ERROR(Save(directory, mark));
  return mark;
}

}  // namespace chorale::storage
