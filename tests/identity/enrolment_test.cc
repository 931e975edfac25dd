#include "identity/enrolment.h"

#include <gmock/gmock.h>

#include "identity/enrolment_messages.h"
#include "identity/key_files.h"
#include "tests/identity/federation_fixture.h"

namespace chorale::identity {
namespace {

using std::filesystem::perms;
using ::testing::HasSubstr;

class EnrolmentTest : public FederationTest {
 protected:
  [[nodiscard]] std::filesystem::path Path(const char* file) const {
    return PartyDirectory("north") / file;
  }
  [[nodiscard]] std::filesystem::path Pending(const char* file) const {
    return PartyDirectory("north") / "pending" / file;
  }
  Status Complete(const Token& token, std::string_view bundle, Time now = kNow) {
    return CompleteEnrolment(PartyDirectory("north"), token, bundle, now);
  }
};

TEST_F(EnrolmentTest, MakesKeysAtThePartyThatOnlyItReads) {
  const Token token = InviteToken(InviteSite("north"));

  const std::string request = Request("north", token);

  const auto mode = [](const std::filesystem::path& path) {
    return std::filesystem::status(path).permissions();
  };
  EXPECT_EQ(mode(PartyDirectory("north")), perms::owner_all);
  EXPECT_EQ(mode(PartyDirectory("north") / "pending"), perms::owner_all);
  EXPECT_EQ(mode(Pending(kTlsKeyFile)), perms::owner_read | perms::owner_write);
  EXPECT_EQ(mode(Pending(kSigningKeyFile)), perms::owner_read | perms::owner_write);
  EXPECT_LT(request.size(), kMostMessageBytes);
}

TEST_F(EnrolmentTest, KeepsPendingKeysWhenAskedAgain) {
  const Token token = InviteToken(InviteSite("north"));
  const v1::EnrolmentRequest first = *DecodeEnrolmentRequest(Request("north", token));
  const v1::EnrolmentRequest second = *DecodeEnrolmentRequest(Request("north", token));

  EXPECT_EQ(first.signing_key(), second.signing_key());
  const std::string bundle = *authority_->Sign(first.SerializeAsString(), kNow);
  EXPECT_TRUE(Complete(token, bundle).ok());
}

TEST_F(EnrolmentTest, LeavesNothingPendingWhenComplete) {
  Enrol(InviteSite("north"));

  EXPECT_FALSE(Exists(PartyDirectory("north") / "pending"));
}

TEST_F(EnrolmentTest, RefusesADirectoryThatIsOpenToOthers) {
  const Token token = InviteToken(InviteSite("north"));
  std::filesystem::create_directory(PartyDirectory("north"));
  std::filesystem::permissions(PartyDirectory("north"), perms::owner_all | perms::others_read);

  EXPECT_EQ(RequestEnrolment(PartyDirectory("north"), token, false).status().code(),
            StatusCode::kFailedPrecondition);
}

TEST_F(EnrolmentTest, RefusesASecondEnrolmentUnlessItRenews) {
  const Identity first = Enrol(InviteSite("north"));
  const Token token = InviteToken(InviteSite("north"), /*renew=*/true);

  const Status status = RequestEnrolment(PartyDirectory("north"), token, /*renew=*/false).status();

  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(status),
              HasSubstr("already holds the identity of site 'north', valid until 2027-11-20"));
  EXPECT_THAT(MessageOf(status), HasSubstr("--renew"));
  EXPECT_EQ(Identity::Load(PartyDirectory("north"), kNow)->certificate().serial(),
            first.certificate().serial());
}

TEST_F(EnrolmentTest, StaysValidWhileARenewalIsPending) {
  const Identity first = Enrol(InviteSite("north"));

  Request("north", InviteToken(InviteSite("north"), /*renew=*/true), /*renew=*/true);

  EXPECT_EQ(Identity::Load(PartyDirectory("north"), kNow)->certificate().serial(),
            first.certificate().serial());
}

TEST_F(EnrolmentTest, RenewsWithNewKeys) {
  const Identity first = Enrol(InviteSite("north"));

  const Identity second = Enrol(InviteSite("north"), kNow + kDay, /*renew=*/true);

  EXPECT_EQ(second.party().name, "north");
  EXPECT_NE(second.certificate().serial(), first.certificate().serial());
  EXPECT_NE(second.party().signing_key, first.party().signing_key);
  EXPECT_NE(ToHex(second.tls_key_pem().Reveal()), ToHex(first.tls_key_pem().Reveal()));
  EXPECT_EQ(second.certificate().fields().not_after, kNow + 366 * kDay);
}

TEST_F(EnrolmentTest, EnrolsAgainOverADamagedIdentity) {
  Enrol(InviteSite("north"));
  std::filesystem::remove(Path(kTlsKeyFile));

  Enrol(InviteSite("north"), kNow, /*renew=*/true);

  EXPECT_TRUE(Identity::Load(PartyDirectory("north"), kNow).ok());
}

TEST_F(EnrolmentTest, MayBeCompletedTwice) {
  const Token token = InviteToken(InviteSite("north"));
  const std::string bundle = *authority_->Sign(Request("north", token), kNow);
  ASSERT_TRUE(Complete(token, bundle).ok());

  EXPECT_TRUE(Complete(token, bundle).ok());
}

TEST_F(EnrolmentTest, IsMendedByCompletingAgainAfterACrashHalfWay) {
  Enrol(InviteSite("north"));
  const Token token = InviteToken(InviteSite("north"), /*renew=*/true);
  const std::string bundle = *authority_->Sign(Request("north", token, /*renew=*/true), kNow);
  // As if the process had ended between the keys and the certificate.
  for (const char* const file : {kTlsKeyFile, kSigningKeyFile}) {
    std::filesystem::copy_file(Pending(file), Path(file),
                               std::filesystem::copy_options::overwrite_existing);
  }
  ASSERT_THAT(MessageOf(Identity::Load(PartyDirectory("north"), kNow).status()),
              HasSubstr("complete it again with the same bundle"));

  EXPECT_TRUE(Complete(token, bundle).ok());
  EXPECT_TRUE(Identity::Load(PartyDirectory("north"), kNow).ok());
}

TEST_F(EnrolmentTest, RefusesTheBundleOfAnotherToken) {
  const Token north = InviteToken(InviteSite("north"));
  const Token south = InviteToken(InviteSite("south"));
  Request("north", north);
  const std::string bundle = *authority_->Sign(Request("south", south), kNow);

  const Status status = Complete(north, bundle);

  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(MessageOf(status),
            "the bundle answers token " + south.id + ", not this token " + north.id);
}

TEST_F(EnrolmentTest, RefusesARootThatTheTokenDoesNotName) {
  const Token token = InviteToken(InviteSite("north"));
  const std::string bundle = *authority_->Sign(Request("north", token), kNow);
  const Token deceived{.id = token.id,
                       .secret = crypto::SecretBytes(token.secret.Reveal()),
                       .root_fingerprint = Bytes(16, 0x11)};

  const Status status = Complete(deceived, bundle);

  EXPECT_EQ(status.code(), StatusCode::kUnauthenticated);
  EXPECT_THAT(MessageOf(status), HasSubstr("root certificate is not the one that the token names"));
  EXPECT_FALSE(Exists(Path(kCertificateFile)));
}

TEST_F(EnrolmentTest, RefusesACertificateForOtherKeys) {
  const Token token = InviteToken(InviteSite("north"));
  const std::string bundle = *authority_->Sign(Request("north", token), kNow);
  ASSERT_TRUE(SaveTlsKey(Pending(kTlsKeyFile), crypto::TlsKey::Generate()).ok());

  const Status status = Complete(token, bundle);

  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(status), HasSubstr("was not made for the request of"));
}

TEST_F(EnrolmentTest, RefusesACertificateForAnotherSigningKey) {
  const Token token = InviteToken(InviteSite("north"));
  const std::string bundle = *authority_->Sign(Request("north", token), kNow);
  ASSERT_TRUE(SaveSigningKey(Pending(kSigningKeyFile), crypto::SigningKey::Generate()).ok());

  EXPECT_THAT(MessageOf(Complete(token, bundle)), HasSubstr("names another signing key"));
}

TEST_F(EnrolmentTest, RefusesACertificateThatHasExpired) {
  const Token token = InviteToken(InviteSite("north"));
  const std::string bundle = *authority_->Sign(Request("north", token), kNow);

  const Status status = Complete(token, bundle, kNow + 366 * kDay);

  EXPECT_EQ(status.code(), StatusCode::kUnauthenticated);
  EXPECT_THAT(MessageOf(status), HasSubstr("expired on"));
}

TEST_F(EnrolmentTest, RefusesABundleWithoutARequest) {
  const Token token = InviteToken(InviteSite("north"));
  const std::string bundle = *authority_->Sign(Request("north", token), kNow);
  std::filesystem::remove_all(PartyDirectory("north"));
  std::filesystem::create_directory(PartyDirectory("north"));

  const Status status = Complete(token, bundle);

  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(status), HasSubstr("no enrolment is pending"));
}

TEST_F(EnrolmentTest, RefusesEveryTruncatedBundle) {
  const Token token = InviteToken(InviteSite("north"));
  const std::string bundle = *authority_->Sign(Request("north", token), kNow);
  for (std::size_t size = 0; size < bundle.size(); size += 7) {
    EXPECT_FALSE(Complete(token, std::string_view(bundle).substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(Exists(Path(kCertificateFile)));
}

}  // namespace
}  // namespace chorale::identity
