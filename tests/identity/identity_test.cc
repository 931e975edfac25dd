#include "identity/identity.h"

#include <gmock/gmock.h>

#include "identity/key_files.h"
#include "tests/identity/federation_fixture.h"

namespace chorale::identity {
namespace {

using std::filesystem::perms;
using ::testing::HasSubstr;

class IdentityTest : public FederationTest {
 protected:
  IdentityTest() { Enrol(InviteSite("north")); }
  [[nodiscard]] Status Refusal(Time now = kNow) const {
    return Identity::Load(PartyDirectory("north"), now).status();
  }
  [[nodiscard]] std::filesystem::path Path(const char* file) const {
    return PartyDirectory("north") / file;
  }
};

TEST_F(IdentityTest, LoadsWhatEnrolmentWrote) {
  const StatusOr<Identity> identity = Identity::Load(PartyDirectory("north"), kNow);

  ASSERT_TRUE(identity.ok()) << identity.status();
  EXPECT_EQ(identity->party().federation, "test-federation");
  EXPECT_EQ(identity->party().role, v1::PARTY_ROLE_SITE);
  EXPECT_EQ(identity->party().name, "north");
  EXPECT_EQ(identity->party().signing_key, identity->signing_key().public_key());
  EXPECT_TRUE(identity->certificate()
                  .VerifyKey(*crypto::TlsKey::FromPem(AsText(identity->tls_key_pem().Reveal())))
                  .ok());
  EXPECT_EQ(identity->root().common_name(), "test-federation");
}

TEST_F(IdentityTest, KeepsPrivateFilesPrivate) {
  const auto mode = [](const std::filesystem::path& path) {
    return std::filesystem::status(path).permissions();
  };

  EXPECT_EQ(mode(PartyDirectory("north")), perms::owner_all);
  EXPECT_EQ(mode(Path(kTlsKeyFile)), perms::owner_read | perms::owner_write);
  EXPECT_EQ(mode(Path(kSigningKeyFile)), perms::owner_read | perms::owner_write);
}

TEST_F(IdentityTest, TellsWhatToDoWithoutAnEnrolment) {
  const Status status = Identity::Load(PartyDirectory("nowhere"), kNow).status();

  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_THAT(MessageOf(status), HasSubstr("no enrolment in "));
  EXPECT_THAT(MessageOf(status), HasSubstr("run `chorale site enrol`"));
}

TEST_F(IdentityTest, TellsWhichFileIsMissing) {
  for (const char* const file : {kCertificateFile, kTlsKeyFile, kSigningKeyFile, kRootFile}) {
    const std::filesystem::path hidden = Path("hidden");
    std::filesystem::rename(Path(file), hidden);

    EXPECT_EQ(Refusal().code(), StatusCode::kNotFound);
    EXPECT_THAT(MessageOf(Refusal()), HasSubstr(std::string(file) + " is missing"));
    std::filesystem::rename(hidden, Path(file));
  }
}

TEST_F(IdentityTest, RefusesAKeyThatOthersMayRead) {
  std::filesystem::permissions(Path(kTlsKeyFile), perms::others_read,
                               std::filesystem::perm_options::add);

  EXPECT_EQ(Refusal().code(), StatusCode::kPermissionDenied);
  EXPECT_THAT(MessageOf(Refusal()), HasSubstr("chmod 600"));
}

TEST_F(IdentityTest, TellsWhenItExpired) {
  const Status status = Refusal(kNow + 366 * kDay);

  EXPECT_EQ(status.code(), StatusCode::kUnauthenticated);
  EXPECT_EQ(MessageOf(status),
            "certificate 'north' expired on 2027-11-20T00:00:00.000Z; this machine's clock says "
            "2027-11-21T00:00:00.000Z");
}

TEST_F(IdentityTest, TellsWhenItIsNotValidYet) {
  EXPECT_EQ(Refusal(kNow - kDay).code(), StatusCode::kUnauthenticated);
  EXPECT_THAT(MessageOf(Refusal(kNow - kDay)),
              HasSubstr("is not valid before 2026-11-19T23:55:00.000Z"));
}

TEST_F(IdentityTest, RefusesTheRootOfAnotherFederation) {
  ASSERT_TRUE(Authority::Create(directory_.path() / "other", "test-federation", kNow).ok());
  std::filesystem::copy_file(directory_.path() / "other" / kRootFile, Path(kRootFile),
                             std::filesystem::copy_options::overwrite_existing);

  EXPECT_EQ(Refusal().code(), StatusCode::kUnauthenticated);
  EXPECT_THAT(MessageOf(Refusal()), HasSubstr("was not issued by the root 'test-federation'"));
}

TEST_F(IdentityTest, RefusesATlsKeyOfAnother) {
  ASSERT_TRUE(SaveTlsKey(Path(kTlsKeyFile), crypto::TlsKey::Generate()).ok());

  EXPECT_EQ(Refusal().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(Refusal()),
              HasSubstr("the private key does not belong to certificate 'north'"));
  EXPECT_THAT(MessageOf(Refusal()), HasSubstr("complete it again with the same bundle"));
}

TEST_F(IdentityTest, RefusesASigningKeyOfAnother) {
  ASSERT_TRUE(SaveSigningKey(Path(kSigningKeyFile), crypto::SigningKey::Generate()).ok());

  EXPECT_EQ(Refusal().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(Refusal()), HasSubstr("not the signing key that the certificate names"));
}

}  // namespace
}  // namespace chorale::identity
