#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <type_traits>

#include "core/bytes.h"
#include "core/crypto/certificate.h"

namespace chorale::crypto {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Keys that guard nothing.
constexpr std::string_view kEd25519Key = R"(-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIHiNRB6Lioqnonb2hrqpsWeBZJr9yW3MEyIQt3uGJH1j
-----END PRIVATE KEY-----
)";
constexpr std::string_view kP384Key = R"(-----BEGIN EC PRIVATE KEY-----
MIGkAgEBBDDcYrEpM7foA5odl92/1csmM9xTR+Ob/C8v5HQcntacJ8mOt5cezxr0
3/lbcimjmNOgBwYFK4EEACKhZANiAARGZy6Z2PK/5PD2yWOKBOHekg+ZGLywnpcC
zB2hHsRoba8Ztaaa7JjQh8+q68iuo8Xp8nhizCmQtDdTO1t3PzdQWY2xxHqZUYJT
JD26nis05TQpel9r408natQ3p+MY0yg=
-----END EC PRIVATE KEY-----
)";
constexpr std::string_view kEncryptedKey = R"(-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgElJFKJaf98AICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEJLtsAbDUC7h7wL5wh8LJCwEgZDd
JaMHRX4OCmSbzbg0hAJHq9xsfooC6LKNqbxKPSLyIRbOVuaBdgdlrMEvkqvaxljD
utTasC5uAnET9ZK6AfxqrmoFxuPUg5I9G6FUTD/4B6pOhojl72TFPMFE2lgbN3jA
NHR7J3J8Rg+WOvpIrvCIZ4PetEH6Rayf9ZKBWZZPsmiFnAJDQQTd6rcPyT6Bk90=
-----END ENCRYPTED PRIVATE KEY-----
)";

static_assert(!std::is_copy_constructible_v<TlsKey>);

std::string PemOf(const TlsKey& key) { return ToString(key.ToPem().Reveal()); }

TEST(TlsKeyTest, ComesBackFromItsPem) {
  const std::string pem = PemOf(TlsKey::Generate());

  const StatusOr<TlsKey> again = TlsKey::FromPem(pem);

  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(PemOf(*again), pem);
  EXPECT_THAT(pem, StartsWith("-----BEGIN PRIVATE KEY-----\n"));
  EXPECT_THAT(pem, EndsWith("-----END PRIVATE KEY-----\n"));
}

TEST(TlsKeyTest, IsDifferentEveryTime) {
  EXPECT_NE(PemOf(TlsKey::Generate()), PemOf(TlsKey::Generate()));
}

TEST(TlsKeyTest, RefusesKeysOfOtherKinds) {
  for (const std::string_view pem : {kEd25519Key, kP384Key}) {
    const Status status = TlsKey::FromPem(pem).status();

    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(MessageOf(status), "private key: the key must lie on the named curve P-256");
  }
}

TEST(TlsKeyTest, RefusesAnEncryptedKeyWithoutAskingForThePassword) {
  EXPECT_EQ(MessageOf(TlsKey::FromPem(kEncryptedKey).status()),
            "not an unencrypted private key in PEM");
}

TEST(TlsKeyTest, RefusesWhatIsNoKey) {
  for (const std::string& text : {std::string(), std::string("key"), std::string(100, '\0'),
                                  std::string("-----BEGIN PRIVATE KEY-----\n")}) {
    EXPECT_EQ(TlsKey::FromPem(text).status().code(), StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(MessageOf(TlsKey::FromPem(std::string(20'000, 'A')).status()),
            "a private key has at most 16384 bytes of PEM, got 20000");
}

TEST(TlsKeyTest, RefusesEveryTruncation) {
  const std::string pem = PemOf(TlsKey::Generate());
  for (std::size_t size = 0; size + 1 < pem.size(); size += 3) {
    EXPECT_FALSE(TlsKey::FromPem(pem.substr(0, size)).ok()) << size;
  }
}

TEST(SigningRequestTest, HoldsNoPrivateKey) {
  const TlsKey key = TlsKey::Generate();

  const StatusOr<Bytes> request = MakeSigningRequest(key);

  ASSERT_TRUE(request.ok());
  EXPECT_THAT(ToString(*request), Not(HasSubstr("PRIVATE")));
  EXPECT_LT(request->size(), 300u);
}

}  // namespace
}  // namespace chorale::crypto
