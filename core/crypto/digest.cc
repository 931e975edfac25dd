#include "core/crypto/digest.h"

#include <algorithm>
#include <utility>

#include "core/crypto/hmac.h"
#include "core/crypto/openssl_handles.h"
#include "core/crypto/secret_bytes.h"

namespace chorale::crypto {
namespace {

// Fetched once: looking an algorithm up by name costs more than hashing a short message.
const EVP_MD* Sha256Method() {
  static const EVP_MD* const method = OrDie(EVP_MD_fetch(nullptr, "SHA256", nullptr), "SHA-256");
  return method;
}

Digest FinishContext(EVP_MD_CTX* context) {
  Digest digest;
  unsigned size = 0;
  CheckOk(EVP_DigestFinal_ex(context, digest.data(), &size), "finishing SHA-256");
  return digest;
}

}  // namespace

Digest Sha256(std::span<const std::uint8_t> bytes) {
  thread_local const DigestContext context(OrDie(EVP_MD_CTX_new(), "memory for SHA-256"));
  CheckOk(EVP_DigestInit_ex2(context.get(), Sha256Method(), nullptr), "starting SHA-256");
  CheckOk(EVP_DigestUpdate(context.get(), bytes.data(), bytes.size()), "SHA-256");
  return FinishContext(context.get());
}

void HmacSha256(std::span<const std::uint8_t> key,
                std::initializer_list<std::span<const std::uint8_t>> pieces,
                std::span<std::uint8_t, kDigestBytes> mac) {
  constexpr std::size_t kBlockBytes = 64;
  constexpr std::uint8_t kInner = 0x36;
  constexpr std::uint8_t kOuter = 0x5c;
  // OpenSSL's own HMAC builds three contexts a call, which takes longer than hashing a short
  // message.
  thread_local const DigestContext context(OrDie(EVP_MD_CTX_new(), "memory for HMAC"));
  const auto start = [&] {
    CheckOk(EVP_DigestInit_ex2(context.get(), Sha256Method(), nullptr), "starting SHA-256");
  };
  const auto add = [&](std::span<const std::uint8_t> bytes) {
    CheckOk(EVP_DigestUpdate(context.get(), bytes.data(), bytes.size()), "SHA-256");
  };
  const auto finish = [&](std::uint8_t* digest) {
    CheckOk(EVP_DigestFinal_ex(context.get(), digest, nullptr), "finishing SHA-256");
  };

  std::array<std::uint8_t, kBlockBytes> block{};
  if (key.size() > block.size()) {
    start();
    add(key);
    finish(block.data());
  } else {
    std::ranges::copy(key, block.begin());
  }
  for (std::uint8_t& byte : block) byte ^= kInner;
  start();
  add(block);
  for (const auto piece : pieces) add(piece);
  finish(mac.data());
  for (std::uint8_t& byte : block) byte ^= kInner ^ kOuter;
  start();
  add(block);
  add(mac);
  finish(mac.data());
  Wipe(block);
  start();  // The context held the code, which may be a key.
}

Digest HmacSha256(std::span<const std::uint8_t> key, std::span<const std::uint8_t> message) {
  Digest digest;
  HmacSha256(key, {message}, digest);
  return digest;
}

struct Sha256Hasher::State {
  DigestContext context;
};

Sha256Hasher::Sha256Hasher() : state_(std::make_unique<State>()) {
  state_->context.reset(OrDie(EVP_MD_CTX_new(), "memory for SHA-256"));
  CheckOk(EVP_DigestInit_ex2(state_->context.get(), Sha256Method(), nullptr), "starting SHA-256");
}
Sha256Hasher::~Sha256Hasher() = default;
Sha256Hasher::Sha256Hasher(Sha256Hasher&&) noexcept = default;
Sha256Hasher& Sha256Hasher::operator=(Sha256Hasher&&) noexcept = default;

void Sha256Hasher::Update(std::span<const std::uint8_t> bytes) {
  CheckOk(EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()), "SHA-256");
}

Digest Sha256Hasher::Finish() && {
  const std::unique_ptr<State> state = std::move(state_);
  return FinishContext(state->context.get());
}

StatusOr<Digest> DigestFromBytes(std::span<const std::uint8_t> bytes) {
  if (bytes.size() != kDigestBytes) {
    return InvalidArgument("a digest has 32 bytes, got " + std::to_string(bytes.size()));
  }
  Digest digest;
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

}  // namespace chorale::crypto
