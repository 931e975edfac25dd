#include "site_agent/checkpoints.h"

#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "core/log.h"
#include "core/storage/file.h"

namespace chorale::site_agent {
namespace {

constexpr std::string_view kMagic = "chorale-checkpoint-1\n";
constexpr std::size_t kNumWords = 6;
constexpr std::size_t kHeaderBytes = kMagic.size() + crypto::kDigestBytes + 8 * kNumWords;
constexpr std::uint64_t kMaxFileBytes = 1ull << 40;
constexpr std::uint64_t kMaxNumbers = 1ull << 36;

void AppendWord(std::uint64_t word, Bytes& out) {
  for (int shift = 0; shift < 64; shift += 8) {
    out.push_back(static_cast<std::uint8_t>(word >> shift));
  }
}

std::uint64_t WordAt(ByteSpan bytes, std::size_t offset) {
  std::uint64_t word = 0;
  for (int i = 7; i >= 0; --i) word = word << 8 | bytes[offset + static_cast<std::size_t>(i)];
  return word;
}

void Append(ByteSpan bytes, Bytes& out) { out.insert(out.end(), bytes.begin(), bytes.end()); }

Bytes Encode(const crypto::Digest& training, const training::TrainCheckpoint& checkpoint) {
  Bytes out;
  out.reserve(kHeaderBytes + crypto::kDigestBytes +
              sizeof(float) * (checkpoint.parameters.size() + checkpoint.mean.size() +
                               checkpoint.variance.size()));
  Append(AsBytes(kMagic), out);
  Append(training, out);
  AppendWord(checkpoint.num_batches, out);
  AppendWord(checkpoint.num_steps, out);
  AppendWord(std::bit_cast<std::uint64_t>(checkpoint.sum_of_rates), out);
  for (const ParameterVector* numbers :
       {&checkpoint.parameters, &checkpoint.mean, &checkpoint.variance}) {
    AppendWord(numbers->size(), out);
  }
  for (const ParameterVector* numbers :
       {&checkpoint.parameters, &checkpoint.mean, &checkpoint.variance}) {
    Append(AsBytes(std::span<const float>(*numbers)), out);
  }
  Append(crypto::Sha256(out), out);
  return out;
}

// Of another training: unset.
StatusOr<std::optional<training::TrainCheckpoint>> Decode(ByteSpan bytes,
                                                          const crypto::Digest& training) {
  if (bytes.size() < kHeaderBytes + crypto::kDigestBytes) return DataLoss("it is cut off");
  const ByteSpan content = bytes.first(bytes.size() - crypto::kDigestBytes);
  const crypto::Digest digest = crypto::Sha256(content);
  if (std::memcmp(digest.data(), bytes.last(crypto::kDigestBytes).data(), digest.size()) != 0) {
    return DataLoss("its digest does not fit");
  }
  if (std::memcmp(content.data(), kMagic.data(), kMagic.size()) != 0) {
    return DataLoss("it is of another version");
  }
  if (std::memcmp(content.data() + kMagic.size(), training.data(), training.size()) != 0) {
    return std::nullopt;
  }
  std::array<std::uint64_t, kNumWords> words;
  for (std::size_t i = 0; i < kNumWords; ++i) {
    words[i] = WordAt(content, kMagic.size() + crypto::kDigestBytes + 8 * i);
  }
  training::TrainCheckpoint checkpoint{.num_batches = words[0],
                                       .num_steps = words[1],
                                       .sum_of_rates = std::bit_cast<double>(words[2])};
  ByteSpan numbers = content.subspan(kHeaderBytes);
  ParameterVector* const parts[] = {&checkpoint.parameters, &checkpoint.mean, &checkpoint.variance};
  for (std::size_t i = 0; i < std::size(parts); ++i) {
    const std::uint64_t count = words[3 + i];
    if (count > kMaxNumbers || count * sizeof(float) > numbers.size()) {
      return DataLoss("it is shorter than it says");
    }
    parts[i]->resize(count);
    if (count > 0) std::memcpy(parts[i]->data(), numbers.data(), count * sizeof(float));
    numbers = numbers.subspan(count * sizeof(float));
  }
  if (!numbers.empty()) return DataLoss("it is longer than it says");
  return checkpoint;
}

}  // namespace

crypto::Digest NameOfTraining(const crypto::Digest& job, const training::TrainRequest& request) {
  crypto::Sha256Hasher hasher;
  const auto add = [&hasher](ByteSpan bytes) {
    Bytes size;
    AppendWord(bytes.size(), size);
    hasher.Update(size);
    hasher.Update(bytes);
  };
  add(AsBytes(std::string_view("chorale/v1/training")));
  add(job);
  const std::string rules = request.training.SerializeAsString();
  add(AsBytes(rules));
  Bytes words;
  for (const std::uint64_t word :
       {request.seed, std::uint64_t{request.place.round}, std::uint64_t{request.place.num_rounds},
        std::uint64_t{request.train.num_inputs}, std::uint64_t{request.train.num_targets}}) {
    AppendWord(word, words);
  }
  add(words);
  for (const std::span<const float> numbers :
       {request.start, request.control.server, request.control.site,
        std::span<const float>(request.train.inputs),
        std::span<const float>(request.train.targets)}) {
    add(AsBytes(numbers));
  }
  const std::vector<std::uint32_t>& patients = request.train.patients;
  add({reinterpret_cast<const std::uint8_t*>(patients.data()),
       patients.size() * sizeof(std::uint32_t)});
  return std::move(hasher).Finish();
}

Checkpoints::Checkpoints(std::filesystem::path state_directory)
    : directory_(std::move(state_directory) / "training"), file_(directory_ / "checkpoint") {}

bool Checkpoints::IsEmpty() const {
  std::error_code ignored;
  return !std::filesystem::exists(file_, ignored);
}

std::optional<training::TrainCheckpoint> Checkpoints::Find(const crypto::Digest& training) const {
  const StatusOr<std::string> content = storage::ReadFile(file_, kMaxFileBytes);
  StatusOr<std::optional<training::TrainCheckpoint>> found =
      content.ok() ? Decode(AsBytes(*content), training)
                   : StatusOr<std::optional<training::TrainCheckpoint>>(content.status());
  if (found.ok()) return *std::move(found);
  log::Warning("training.checkpoint_unusable", {{"why", MessageOf(found.status())}});
  return std::nullopt;
}

Status Checkpoints::Keep(const crypto::Digest& training,
                         const training::TrainCheckpoint& checkpoint) {
  CHORALE_RETURN_IF_ERROR(storage::CreatePrivateDirectory(directory_));
  return storage::WriteFileAtomically(file_, Encode(training, checkpoint),
                                      storage::FileMode::kPrivate);
}

void Checkpoints::Remove() {
  std::error_code error;
  std::filesystem::remove(file_, error);
  if (error) log::Warning("training.checkpoint_not_removed", {{"why", error.message()}});
}

}  // namespace chorale::site_agent
