#pragma once

#include <filesystem>

#include "core/crypto/certificate.h"
#include "core/crypto/signature.h"
#include "core/status.h"

// Private to this folder: keys and certificates as files. A private key's file has mode 0600 and is
// read only while it has.
namespace chorale::identity {

inline constexpr char kCertificateFile[] = "certificate.pem";
inline constexpr char kTlsKeyFile[] = "tls.key";
inline constexpr char kSigningKeyFile[] = "signing.key";
inline constexpr char kRootFile[] = "root.pem";
inline constexpr char kRootKeyFile[] = "root.key";

// NOT_FOUND; PERMISSION_DENIED: open to other users, with the command to run; INVALID_ARGUMENT: no
// such key.
[[nodiscard]] StatusOr<crypto::TlsKey> LoadTlsKey(const std::filesystem::path& path);
[[nodiscard]] StatusOr<crypto::SigningKey> LoadSigningKey(const std::filesystem::path& path);
[[nodiscard]] Status SaveTlsKey(const std::filesystem::path& path, const crypto::TlsKey& key);
[[nodiscard]] Status SaveSigningKey(const std::filesystem::path& path,
                                    const crypto::SigningKey& key);

// NOT_FOUND; INVALID_ARGUMENT, with the path: not one certificate in PEM.
[[nodiscard]] StatusOr<crypto::Certificate> LoadCertificate(const std::filesystem::path& path);
[[nodiscard]] Status SaveCertificate(const std::filesystem::path& path,
                                     const crypto::Certificate& certificate);

// True if there is anything of that name.
[[nodiscard]] bool Exists(const std::filesystem::path& path);

}  // namespace chorale::identity
