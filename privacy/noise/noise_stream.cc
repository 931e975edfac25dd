#include "privacy/noise/noise_stream.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "core/bytes.h"
#include "core/crypto/key_agreement.h"
#include "core/crypto/random.h"

namespace chorale::privacy {
namespace {

constexpr std::size_t kKeyBytes = 32;
constexpr std::string_view kDomain = "chorale/v1/noise";

// Forks between the first process and this one, since somebody first asked.
std::uint64_t ForkCount() {
  static std::atomic<std::uint64_t> count{0};
  static const bool is_counting =
      ::pthread_atfork(nullptr, nullptr, [] { count.fetch_add(1); }) == 0;
  if (!is_counting) {
    std::fputs("noise: no memory to watch for forks\n", stderr);
    std::abort();
  }
  return count.load(std::memory_order_relaxed);
}

void AppendNumber(std::uint64_t value, Bytes& bytes) {
  for (int shift = 56; shift >= 0; shift -= 8) {
    bytes.push_back(static_cast<std::uint8_t>(value >> shift));
  }
}

void AppendText(std::string_view text, Bytes& bytes) {
  AppendNumber(text.size(), bytes);
  bytes.insert(bytes.end(), text.begin(), text.end());
}

}  // namespace

NoiseStream::NoiseStream(std::span<const std::uint8_t> key, std::uint64_t nonce)
    : key_(key),
      stream_(*crypto::ChaCha20Stream::Create(key_, nonce)),  // The size fits.
      fork_count_(ForkCount()) {}

NoiseStream::NoiseStream(NoiseStream&& other) noexcept
    : key_(std::move(other.key_)),
      stream_(std::exchange(other.stream_, std::nullopt)),
      fork_count_(other.fork_count_),
      next_(std::exchange(other.next_, kBufferBytes)),
      buffer_(std::move(other.buffer_)) {}

NoiseStream::~NoiseStream() = default;

void NoiseStream::CheckUsable() const {
  if (stream_.has_value() && fork_count_ == ForkCount()) return;
  // There is no safe way on: noise that another process adds as well hides nothing.
  std::fputs(stream_.has_value() ? "noise: a stream was used after a fork\n"
                                 : "noise: a stream was used after it was given away\n",
             stderr);
  std::abort();
}

void NoiseStream::Fill(std::span<std::uint8_t> bytes) {
  CheckUsable();
  const std::span<std::uint8_t> buffer = buffer_.MutableReveal();
  while (!bytes.empty()) {
    if (next_ == kBufferBytes && bytes.size() >= kBufferBytes) {
      const std::size_t size = bytes.size() - bytes.size() % kBufferBytes;
      stream_->Generate(bytes.first(size));
      bytes = bytes.subspan(size);
      continue;
    }
    if (next_ == kBufferBytes) {
      stream_->Generate(buffer);
      next_ = 0;
    }
    const std::size_t size = std::min(bytes.size(), kBufferBytes - next_);
    const std::span<std::uint8_t> taken = buffer.subspan(next_, size);
    std::copy(taken.begin(), taken.end(), bytes.begin());
    crypto::Wipe(taken);
    next_ += size;
    bytes = bytes.subspan(size);
  }
}

std::vector<NoiseStream> NoiseStream::Split(std::size_t count) && {
  CheckUsable();
  const NoiseStream given_up = std::move(*this);
  // A key for the parts alone: nonce 0 of the old one may have been read already.
  const crypto::SecretBytes key =
      crypto::Hkdf(AsBytes(kDomain), given_up.key_.Reveal(), AsBytes("parts"), kKeyBytes);
  std::vector<NoiseStream> parts;
  parts.reserve(count);
  for (std::size_t i = 0; i < count; ++i) parts.push_back(NoiseStream(key.Reveal(), i));
  return parts;
}

NoiseKey::NoiseKey(crypto::SecretBytes key, const JobId& job, const SiteId& site)
    : key_(std::move(key)), job_(job), site_(site), fork_count_(ForkCount()) {}

NoiseKey NoiseKey::Generate(const JobId& job, const SiteId& site) {
  crypto::SecretBytes key(kKeyBytes);
  crypto::SecureRandom().Fill(key.MutableReveal());
  return NoiseKey(std::move(key), job, site);
}

StatusOr<NoiseKey> NoiseKey::Create(crypto::SecretBytes key, const JobId& job, const SiteId& site) {
  if (key.size() != kKeyBytes) {
    return InvalidArgument("a noise key has 32 bytes, got " + std::to_string(key.size()));
  }
  return NoiseKey(std::move(key), job, site);
}

StatusOr<NoiseStream> NoiseKey::Open(const NoiseUse& use) {
  CHORALE_RETURN_IF_ERROR(ValidateName("purpose", use.purpose));
  if (key_.size() != kKeyBytes) return FailedPrecondition("this noise key was given away");
  if (fork_count_ != ForkCount()) {
    return FailedPrecondition(
        "noise keys do not survive a fork: both processes would add the same");
  }
  if (!opened_.emplace(use.step, use.attempt, use.purpose).second) {
    return AlreadyExists("the noise for '" + use.purpose + "' of step " + std::to_string(use.step) +
                         ", attempt " + std::to_string(use.attempt) + ", was drawn before");
  }
  Bytes info;
  AppendText("stream", info);
  AppendText(job_.value(), info);
  AppendText(site_.value(), info);
  AppendNumber(use.step, info);
  AppendNumber(use.attempt, info);
  AppendText(use.purpose, info);
  const crypto::SecretBytes key = crypto::Hkdf(AsBytes(kDomain), key_.Reveal(), info, kKeyBytes);
  return NoiseStream(key.Reveal(), 0);
}

}  // namespace chorale::privacy
