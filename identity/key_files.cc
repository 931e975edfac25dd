#include "identity/key_files.h"

#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/bytes.h"
#include "core/crypto/secret_bytes.h"
#include "core/storage/file.h"

namespace chorale::identity {
namespace {

constexpr std::uint64_t kMostFileBytes = 16384;

// Text in memory that is wiped.
class SecretText {
 public:
  explicit SecretText(std::string text) : text_(std::move(text)) {}
  SecretText(SecretText&& other) noexcept : text_(std::exchange(other.text_, {})) {}
  SecretText& operator=(SecretText&&) = delete;
  ~SecretText() { crypto::Wipe({reinterpret_cast<std::uint8_t*>(text_.data()), text_.size()}); }
  [[nodiscard]] std::string_view Reveal() const { return text_; }

 private:
  std::string text_;
};

StatusOr<SecretText> ReadPrivateFile(const std::filesystem::path& path) {
  using std::filesystem::perms;
  std::error_code error;
  const perms mode = std::filesystem::status(path, error).permissions();
  if (!error && (mode & (perms::group_all | perms::others_all)) != perms::none && Exists(path)) {
    return PermissionDenied("private key " + path.string() +
                            " is open to other users; run: chmod 600 " + path.string());
  }
  CHORALE_ASSIGN_OR_RETURN(std::string text, storage::ReadFile(path, kMostFileBytes));
  return SecretText(std::move(text));
}

std::string_view WithoutNewline(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

}  // namespace

bool Exists(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::symlink_status(path, error).type() !=
         std::filesystem::file_type::not_found;
}

StatusOr<crypto::TlsKey> LoadTlsKey(const std::filesystem::path& path) {
  CHORALE_ASSIGN_OR_RETURN(const SecretText text, ReadPrivateFile(path));
  StatusOr<crypto::TlsKey> key = crypto::TlsKey::FromPem(text.Reveal());
  if (!key.ok()) return Annotate(key.status(), path.string());
  return key;
}

StatusOr<crypto::SigningKey> LoadSigningKey(const std::filesystem::path& path) {
  CHORALE_ASSIGN_OR_RETURN(const SecretText text, ReadPrivateFile(path));
  StatusOr<Bytes> decoded = FromHex(WithoutNewline(text.Reveal()));
  // Never the decoder's own words: they might quote a part of the key.
  const auto refuse = [&path] {
    return InvalidArgument(path.string() +
                           ": not a signing key, which is 64 hexadecimal characters");
  };
  if (!decoded.ok()) return refuse();
  StatusOr<crypto::SigningKey> key = crypto::SigningKey::FromSeed(*decoded);
  crypto::Wipe(*decoded);
  if (!key.ok()) return refuse();
  return key;
}

Status SaveTlsKey(const std::filesystem::path& path, const crypto::TlsKey& key) {
  return storage::WriteFileAtomically(path, key.ToPem().Reveal(), storage::FileMode::kPrivate);
}

Status SaveSigningKey(const std::filesystem::path& path, const crypto::SigningKey& key) {
  const SecretText text(ToHex(key.seed().Reveal()) + "\n");
  return storage::WriteFileAtomically(path, AsBytes(text.Reveal()), storage::FileMode::kPrivate);
}

StatusOr<crypto::Certificate> LoadCertificate(const std::filesystem::path& path) {
  CHORALE_ASSIGN_OR_RETURN(const std::string pem, storage::ReadFile(path, kMostFileBytes));
  StatusOr<crypto::Certificate> certificate = crypto::Certificate::FromPem(pem);
  if (!certificate.ok()) return Annotate(certificate.status(), path.string());
  return certificate;
}

Status SaveCertificate(const std::filesystem::path& path, const crypto::Certificate& certificate) {
  return storage::WriteFileAtomically(path, AsBytes(certificate.pem()), storage::FileMode::kPublic);
}

}  // namespace chorale::identity
