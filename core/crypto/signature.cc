#include "core/crypto/signature.h"

#include <algorithm>
#include <string>

#include "core/bytes.h"
#include "core/crypto/openssl_handles.h"
#include "core/crypto/random.h"

namespace chorale::crypto {
namespace {

constexpr std::size_t kSeedBytes = 32;

Key LoadPrivateKey(std::span<const std::uint8_t> seed) {
  return Key(
      OrDie(EVP_PKEY_new_raw_private_key_ex(nullptr, "ED25519", nullptr, seed.data(), seed.size()),
            "loading an Ed25519 key"));
}

SigningPublicKey PublicKeyOf(EVP_PKEY* key) {
  SigningPublicKey public_key;
  std::size_t size = public_key.size();
  CheckOk(EVP_PKEY_get_raw_public_key(key, public_key.data(), &size), "an Ed25519 public key");
  return public_key;
}

Bytes Framed(std::string_view domain, std::span<const std::uint8_t> message) {
  Bytes framed;
  framed.reserve(domain.size() + 1 + message.size());
  framed.insert(framed.end(), domain.begin(), domain.end());
  framed.push_back(0);
  framed.insert(framed.end(), message.begin(), message.end());
  return framed;
}

// Points whose order divides 8: under such a key one signature fits every message, so its holder
// could deny all of them. These are their y coordinates, little-endian, including the two that
// exceed the field's prime; the sign bit of x is apart.
bool IsLowOrder(const SigningPublicKey& key) {
  static constexpr SigningPublicKey kLowOrder[] = {
      {},
      {1},
      {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4,
       0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6,
       0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
      {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b,
       0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39,
       0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
      {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
       0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
       0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
      {0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
       0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
       0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
      {0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
       0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
       0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
  };
  SigningPublicKey y = key;
  y.back() &= 0x7f;
  return std::find(std::begin(kLowOrder), std::end(kLowOrder), y) != std::end(kLowOrder);
}

}  // namespace

struct SigningKey::Loaded {
  explicit Loaded(Key loaded) : key(std::move(loaded)) {}
  Key key;
};

SigningKey::SigningKey(SecretBytes seed)
    : seed_(std::move(seed)),
      loaded_(std::make_unique<const Loaded>(LoadPrivateKey(seed_.Reveal()))),
      public_key_(PublicKeyOf(loaded_->key.get())) {}
SigningKey::SigningKey(SigningKey&&) noexcept = default;
SigningKey& SigningKey::operator=(SigningKey&&) noexcept = default;
SigningKey::~SigningKey() = default;

SigningKey SigningKey::Generate() {
  SecretBytes seed(kSeedBytes);
  SecureRandom().Fill(seed.MutableReveal());
  return SigningKey(std::move(seed));
}

StatusOr<SigningKey> SigningKey::FromSeed(std::span<const std::uint8_t> seed) {
  if (seed.size() != kSeedBytes) {
    return InvalidArgument("an Ed25519 seed has 32 bytes, got " + std::to_string(seed.size()));
  }
  return SigningKey(SecretBytes(seed));
}

Signature SigningKey::Sign(std::string_view domain, std::span<const std::uint8_t> message) const {
  const DigestContext context(OrDie(EVP_MD_CTX_new(), "memory for Ed25519"));
  CheckOk(EVP_DigestSignInit_ex(context.get(), nullptr, nullptr, nullptr, nullptr,
                                loaded_->key.get(), nullptr),
          "starting an Ed25519 signature");
  const Bytes framed = Framed(domain, message);
  Signature signature;
  std::size_t size = signature.size();
  CheckOk(EVP_DigestSign(context.get(), signature.data(), &size, framed.data(), framed.size()),
          "an Ed25519 signature");
  return signature;
}

Status VerifySignature(const SigningPublicKey& key, std::string_view domain,
                       std::span<const std::uint8_t> message,
                       std::span<const std::uint8_t> signature) {
  if (signature.size() != kSignatureBytes) {
    return InvalidArgument("an Ed25519 signature has 64 bytes, got " +
                           std::to_string(signature.size()));
  }
  if (IsLowOrder(key)) {
    return PermissionDenied("the signing key is of low order: any message would fit it");
  }
  const ErrorQueueScope errors;
  const Key public_key(
      OrDie(EVP_PKEY_new_raw_public_key_ex(nullptr, "ED25519", nullptr, key.data(), key.size()),
            "loading an Ed25519 public key"));
  const DigestContext context(OrDie(EVP_MD_CTX_new(), "memory for Ed25519"));
  CheckOk(EVP_DigestVerifyInit_ex(context.get(), nullptr, nullptr, nullptr, nullptr,
                                  public_key.get(), nullptr),
          "starting an Ed25519 verification");
  const Bytes framed = Framed(domain, message);
  if (EVP_DigestVerify(context.get(), signature.data(), signature.size(), framed.data(),
                       framed.size()) != 1) {
    return PermissionDenied("the Ed25519 signature does not fit the message and key");
  }
  return OkStatus();
}

}  // namespace chorale::crypto
