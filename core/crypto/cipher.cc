#include "core/crypto/cipher.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/crypto/openssl_handles.h"

namespace chorale::crypto {
namespace {

constexpr std::size_t kBlockBytes = 16;
// OpenSSL counts in int.
constexpr std::size_t kMostAtOnce = std::size_t{1} << 30;

const EVP_CIPHER* GcmMethod() {
  static const EVP_CIPHER* const method =
      OrDie(EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr), "AES-256-GCM");
  return method;
}

const EVP_CIPHER* CtrMethod(std::size_t key_bytes) {
  static const EVP_CIPHER* const small =
      OrDie(EVP_CIPHER_fetch(nullptr, "AES-128-CTR", nullptr), "AES-128-CTR");
  static const EVP_CIPHER* const large =
      OrDie(EVP_CIPHER_fetch(nullptr, "AES-256-CTR", nullptr), "AES-256-CTR");
  return key_bytes == 16 ? small : large;
}

const EVP_CIPHER* ChaCha20Method() {
  static const EVP_CIPHER* const method =
      OrDie(EVP_CIPHER_fetch(nullptr, "ChaCha20", nullptr), "ChaCha20");
  return method;
}

CipherContext MakeContext() {
  return CipherContext(OrDie(EVP_CIPHER_CTX_new(), "memory for a cipher"));
}

// Runs `update` (EVP_EncryptUpdate or EVP_DecryptUpdate) over `in`; a null `out` feeds associated
// data.
template <typename Update>
void Run(Update update, EVP_CIPHER_CTX* context, std::uint8_t* out, ByteSpan in) {
  while (!in.empty()) {
    const std::size_t size = std::min(in.size(), kMostAtOnce);
    int written = 0;
    CheckOk(update(context, out, &written, in.data(), static_cast<int>(size)), "a cipher");
    if (out != nullptr) out += size;
    in = in.subspan(size);
  }
}

// The next bytes of a stream cipher's keystream.
void GenerateKeystream(EVP_CIPHER_CTX* context, std::span<std::uint8_t> out) {
  // Zeroes encrypt to the keystream; in pieces whose zeroes stay in the first-level cache.
  alignas(64) static constexpr std::array<std::uint8_t, 16384> kZeroes{};
  while (!out.empty()) {
    const std::size_t size = std::min(out.size(), kZeroes.size());
    Run(EVP_EncryptUpdate, context, out.data(), ByteSpan(kZeroes).first(size));
    out = out.subspan(size);
  }
}

}  // namespace

StatusOr<AeadKey> AeadKey::Create(SecretBytes key) {
  if (key.size() != 32) {
    return InvalidArgument("an AES-256-GCM key has 32 bytes, got " + std::to_string(key.size()));
  }
  return AeadKey(std::move(key));
}

Bytes AeadKey::Seal(const std::array<std::uint8_t, kAeadNonceBytes>& nonce, ByteSpan plaintext,
                    ByteSpan associated_data) const {
  const CipherContext context = MakeContext();
  CheckOk(
      EVP_EncryptInit_ex2(context.get(), GcmMethod(), key_.Reveal().data(), nonce.data(), nullptr),
      "starting AES-256-GCM");
  Bytes sealed(plaintext.size() + kAeadTagBytes);
  Run(EVP_EncryptUpdate, context.get(), nullptr, associated_data);
  Run(EVP_EncryptUpdate, context.get(), sealed.data(), plaintext);
  int written = 0;
  std::uint8_t* const tag = sealed.data() + plaintext.size();
  CheckOk(EVP_EncryptFinal_ex(context.get(), tag, &written), "finishing AES-256-GCM");
  CheckOk(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kAeadTagBytes, tag),
          "the tag of AES-256-GCM");
  return sealed;
}

StatusOr<SecretBytes> AeadKey::Open(const std::array<std::uint8_t, kAeadNonceBytes>& nonce,
                                    ByteSpan sealed, ByteSpan associated_data) const {
  if (sealed.size() < kAeadTagBytes) {
    return DataLoss("a sealed message has at least 16 bytes, got " + std::to_string(sealed.size()));
  }
  const ErrorQueueScope errors;
  const ByteSpan ciphertext = sealed.first(sealed.size() - kAeadTagBytes);
  std::array<std::uint8_t, kAeadTagBytes> tag;
  std::copy(sealed.end() - kAeadTagBytes, sealed.end(), tag.begin());
  const CipherContext context = MakeContext();
  CheckOk(
      EVP_DecryptInit_ex2(context.get(), GcmMethod(), key_.Reveal().data(), nonce.data(), nullptr),
      "starting AES-256-GCM");
  CheckOk(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kAeadTagBytes, tag.data()),
          "the tag of AES-256-GCM");
  SecretBytes plaintext(ciphertext.size());
  Run(EVP_DecryptUpdate, context.get(), nullptr, associated_data);
  Run(EVP_DecryptUpdate, context.get(), plaintext.MutableReveal().data(), ciphertext);
  std::array<std::uint8_t, kBlockBytes> rest;
  int written = 0;
  if (EVP_DecryptFinal_ex(context.get(), rest.data(), &written) != 1) {
    return DataLoss(
        "the authentication tag does not fit: wrong key, wrong purpose, or the message was "
        "changed");
  }
  return plaintext;
}

struct CtrStream::State {
  CipherContext context;
  std::size_t key_bytes = 0;

  // A null method or key keeps the one before.
  void Start(const EVP_CIPHER* method, const std::uint8_t* key, std::uint64_t offset);
};

void CtrStream::State::Start(const EVP_CIPHER* method, const std::uint8_t* key,
                             std::uint64_t offset) {
  std::array<std::uint8_t, kBlockBytes> counter{};  // Big-endian; the high half stays zero.
  std::uint64_t block = offset / kBlockBytes;
  for (std::size_t i = kBlockBytes; block != 0; block >>= 8) {
    counter[--i] = static_cast<std::uint8_t>(block);
  }
  CheckOk(EVP_EncryptInit_ex2(context.get(), method, key, counter.data(), nullptr),
          "starting AES-CTR");
  if (offset % kBlockBytes == 0) return;
  std::array<std::uint8_t, kBlockBytes> skipped;
  GenerateKeystream(context.get(), std::span(skipped).first(offset % kBlockBytes));
  Wipe(skipped);
}

CtrStream::CtrStream(std::unique_ptr<State> state) : state_(std::move(state)) {}
CtrStream::CtrStream(CtrStream&&) noexcept = default;
CtrStream& CtrStream::operator=(CtrStream&&) noexcept = default;
CtrStream::~CtrStream() = default;

StatusOr<CtrStream> CtrStream::Create(const SecretBytes& key) {
  CtrStream stream(std::make_unique<State>(State{MakeContext()}));
  CHORALE_RETURN_IF_ERROR(stream.Restart(key, 0));
  return stream;
}

void CtrStream::Generate(std::span<std::uint8_t> out) {
  GenerateKeystream(state_->context.get(), out);
}

void CtrStream::Seek(std::uint64_t offset) { state_->Start(nullptr, nullptr, offset); }

Status CtrStream::Restart(const SecretBytes& key, std::uint64_t offset) {
  if (key.size() != 16 && key.size() != 32) {
    return InvalidArgument("an AES-CTR key has 16 or 32 bytes, got " + std::to_string(key.size()));
  }
  const bool is_same_method = key.size() == state_->key_bytes;
  state_->key_bytes = key.size();
  state_->Start(is_same_method ? nullptr : CtrMethod(key.size()), key.Reveal().data(), offset);
  return OkStatus();
}

struct ChaCha20Stream::State {
  CipherContext context;
};

ChaCha20Stream::ChaCha20Stream(std::unique_ptr<State> state) : state_(std::move(state)) {}
ChaCha20Stream::ChaCha20Stream(ChaCha20Stream&&) noexcept = default;
ChaCha20Stream& ChaCha20Stream::operator=(ChaCha20Stream&&) noexcept = default;
ChaCha20Stream::~ChaCha20Stream() = default;

StatusOr<ChaCha20Stream> ChaCha20Stream::Create(const SecretBytes& key, std::uint64_t nonce) {
  if (key.size() != 32) {
    return InvalidArgument("a ChaCha20 key has 32 bytes, got " + std::to_string(key.size()));
  }
  ChaCha20Stream stream(std::make_unique<State>(State{MakeContext()}));
  std::array<std::uint8_t, 16> start{};  // The counter, then the nonce, each little-endian.
  for (std::size_t i = 0; i < 8; ++i) start[8 + i] = static_cast<std::uint8_t>(nonce >> (8 * i));
  CheckOk(EVP_EncryptInit_ex2(stream.state_->context.get(), ChaCha20Method(), key.Reveal().data(),
                              start.data(), nullptr),
          "starting ChaCha20");
  return stream;
}

void ChaCha20Stream::Generate(std::span<std::uint8_t> out) {
  GenerateKeystream(state_->context.get(), out);
}

}  // namespace chorale::crypto
