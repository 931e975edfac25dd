#include "core/crypto/digest.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

#include <algorithm>
#include <utility>

#include "core/crypto/openssl_handles.h"

namespace chorale::crypto {
namespace {

// Fetched once: looking an algorithm up by name costs more than hashing a short message.
const EVP_MD* Sha256Method() {
  static const EVP_MD* const method = OrDie(EVP_MD_fetch(nullptr, "SHA256", nullptr), "SHA-256");
  return method;
}

EVP_MAC* HmacMethod() {
  static EVP_MAC* const method = OrDie(EVP_MAC_fetch(nullptr, "HMAC", nullptr), "HMAC");
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

Digest HmacSha256(std::span<const std::uint8_t> key, std::span<const std::uint8_t> message) {
  const MacContext context(OrDie(EVP_MAC_CTX_new(HmacMethod()), "memory for HMAC"));
  char name[] = "SHA256";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                                   OSSL_PARAM_construct_end()};
  // A null key would mean "the key of the last call".
  static constexpr std::uint8_t kNoKey = 0;
  CheckOk(EVP_MAC_init(context.get(), key.empty() ? &kNoKey : key.data(), key.size(), parameters),
          "starting HMAC");
  CheckOk(EVP_MAC_update(context.get(), message.data(), message.size()), "HMAC");
  Digest digest;
  std::size_t size = 0;
  CheckOk(EVP_MAC_final(context.get(), digest.data(), &size, digest.size()), "finishing HMAC");
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
