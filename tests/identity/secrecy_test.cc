#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "core/bytes.h"
#include "identity/key_files.h"
#include "tests/identity/federation_fixture.h"

// Private keys stay where they were made; a token's secret does not outlive its use.
namespace chorale::identity {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// The secret in every form in which it could travel: raw, hexadecimal, base64url, and the middle of
// the PEM.
std::vector<std::string> Forms(ByteSpan secret) {
  return {ToString(secret), ToHex(secret), ToBase64Url(secret)};
}

class SecrecyTest : public FederationTest {
 protected:
  // All that a private key's owner must not give away.
  static std::vector<std::string> SecretsOf(const std::filesystem::path& tls_key,
                                            const std::filesystem::path& signing_key) {
    std::vector<std::string> secrets = Forms(LoadSigningKey(signing_key)->seed().Reveal());
    const crypto::SecretBytes pem = LoadTlsKey(tls_key)->ToPem();
    // "-----BEGIN PRIVATE KEY-----\n", then lines of 64: the second holds the private scalar.
    const std::string text = ToString(pem.Reveal());
    secrets.push_back(text.substr(28 + 48, 16));
    secrets.push_back(text.substr(28 + 65, 16));
    return secrets;
  }

  static void ExpectNoneOf(const std::vector<std::string>& secrets, const std::string& bytes) {
    EXPECT_FALSE(bytes.empty());
    EXPECT_THAT(bytes, Not(HasSubstr("PRIVATE KEY")));
    for (const std::string& secret : secrets) EXPECT_THAT(bytes, Not(HasSubstr(secret)));
  }

  // Every byte of every file of the authority's database.
  [[nodiscard]] std::string DatabaseBytes() const {
    std::string bytes;
    for (const auto& entry : std::filesystem::directory_iterator(authority_directory())) {
      if (entry.path().filename().string().starts_with("authority.db"))
        bytes += ReadAll(entry.path());
    }
    return bytes;
  }
};

TEST_F(SecrecyTest, NothingThatEnrolmentExchangesHoldsAPrivateKey) {
  const Token token = InviteToken(InviteSite("north"));
  const std::string request = Request("north", token);
  const std::filesystem::path pending = PartyDirectory("north") / "pending";
  const std::vector<std::string> of_party =
      SecretsOf(pending / kTlsKeyFile, pending / kSigningKeyFile);
  const std::vector<std::string> of_authority =
      SecretsOf(authority_directory() / kRootKeyFile, authority_directory() / kSigningKeyFile);
  const std::string bundle = *authority_->Sign(request, kNow);
  ASSERT_TRUE(CompleteEnrolment(PartyDirectory("north"), token, bundle, kNow).ok());

  for (const std::vector<std::string>& secrets : {of_party, of_authority}) {
    ExpectNoneOf(secrets, request);
    ExpectNoneOf(secrets, bundle);
    ExpectNoneOf(secrets, ReadAll(authority_->roster_path()));
    ExpectNoneOf(secrets, ReadAll(authority_directory() / kRootFile));
    ExpectNoneOf(secrets, ReadAll(PartyDirectory("north") / kCertificateFile));
    ExpectNoneOf(secrets, DatabaseBytes());
  }
}

TEST_F(SecrecyTest, TheScanWouldFindAKey) {
  const std::filesystem::path key = authority_directory() / kRootKeyFile;
  const std::vector<std::string> secrets = SecretsOf(key, authority_directory() / kSigningKeyFile);

  EXPECT_THAT(ReadAll(key), HasSubstr(secrets[3]));
  EXPECT_THAT(ReadAll(key), HasSubstr(secrets[4]));
  EXPECT_THAT(ReadAll(authority_directory() / kSigningKeyFile), HasSubstr(secrets[1]));
}

TEST_F(SecrecyTest, RequestProvesTheTokensSecretWithoutShowingIt) {
  const Token token = InviteToken(InviteSite("north"));

  const std::string request = Request("north", token);

  for (const std::string& form : Forms(token.secret.Reveal())) {
    EXPECT_THAT(request, Not(HasSubstr(form)));
  }
}

TEST_F(SecrecyTest, UsedTokenLeavesNoSecretInTheDatabase) {
  const Token token = InviteToken(InviteSite("north"));
  const std::string secret = ToString(token.secret.Reveal());
  ASSERT_THAT(DatabaseBytes(), HasSubstr(secret)) << "the scan must be able to find it";

  ASSERT_TRUE(authority_->Sign(Request("north", token), kNow).ok());

  EXPECT_THAT(DatabaseBytes(), Not(HasSubstr(secret)));
}

TEST_F(SecrecyTest, WithdrawnTokenLeavesNoSecretInTheDatabase) {
  const Token token = InviteToken(InviteSite("north"));
  const std::string secret = ToString(token.secret.Reveal());

  InviteToken(InviteSite("north"));

  EXPECT_THAT(DatabaseBytes(), Not(HasSubstr(secret)));
}

TEST_F(SecrecyTest, RefusalsDoNotQuoteTheToken) {
  const std::string text = InviteText(InviteSite("north"));
  const Token token = *ParseToken(text);
  const std::string request = Request("north", token);
  ASSERT_TRUE(authority_->Sign(request, kNow).ok());

  const std::string message = MessageOf(authority_->Sign(request, kNow).status());

  EXPECT_THAT(message, Not(HasSubstr(text)));
  for (const std::string& form : Forms(token.secret.Reveal()))
    EXPECT_THAT(message, Not(HasSubstr(form)));
}

}  // namespace
}  // namespace chorale::identity
