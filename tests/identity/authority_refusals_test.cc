#include <gmock/gmock.h>

#include "identity/authority.h"
#include "identity/enrolment_messages.h"
#include "identity/key_files.h"
#include "tests/identity/federation_fixture.h"

// What the authority says no to, each with its own words.
namespace chorale::identity {
namespace {

using ::testing::HasSubstr;

class AuthorityRefusalsTest : public FederationTest {
 protected:
  Status SignRefusal(const std::string& request, Time now = kNow) {
    return authority_->Sign(request, now).status();
  }
  // A request with whatever `spoil` does to it.
  template <typename Spoil>
  std::string Spoiled(const std::string& request, Spoil spoil) {
    v1::EnrolmentRequest message = *DecodeEnrolmentRequest(request);
    spoil(message);
    return message.SerializeAsString();
  }
};

TEST_F(AuthorityRefusalsTest, AnswersATokenOnce) {
  const Token token = InviteToken(InviteSite("north"));
  const std::string request = Request("north", token);
  ASSERT_TRUE(authority_->Sign(request, kNow).ok());
  const std::string serial = authority_->LoadRoster()->members(0).serial();

  const Status status = SignRefusal(request, kNow + kHour);

  EXPECT_EQ(status.code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(MessageOf(status), "token " + token.id +
                                   " was already used on 2026-11-20T00:00:00.000Z by site 'north' "
                                   "(certificate serial " +
                                   serial + "); if its bundle was lost, invite site 'north' again");
  EXPECT_EQ(authority_->LoadRoster()->version(), 2u);
}

TEST_F(AuthorityRefusalsTest, AnswersAUsedTokenNeitherForOtherKeysNorAfterReopening) {
  const Token token = InviteToken(InviteSite("north"));
  ASSERT_TRUE(authority_->Sign(Request("north", token), kNow).ok());
  authority_.reset();
  OpenAuthority();

  EXPECT_THAT(MessageOf(SignRefusal(Request("elsewhere", token))), HasSubstr("was already used"));
}

TEST_F(AuthorityRefusalsTest, TellsAnExpiredToken) {
  Invitation invitation = InviteSite("north");
  invitation.token_validity = kHour;
  const Token token = InviteToken(invitation);
  const std::string request = Request("north", token);

  const Status status = SignRefusal(request, kNow + kHour + std::chrono::seconds(1));

  EXPECT_EQ(status.code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(MessageOf(status),
            "token " + token.id +
                " for site 'north' expired on 2026-11-20T01:00:00.000Z; invite site "
                "'north' again");
  EXPECT_TRUE(authority_->Sign(request, kNow + kHour).ok());
}

TEST_F(AuthorityRefusalsTest, TellsAnUnknownToken) {
  const std::string request =
      Spoiled(Request("north", InviteToken(InviteSite("north"))),
              [](v1::EnrolmentRequest& r) { r.set_token_id("0000000000000000"); });

  const Status status = SignRefusal(request);

  EXPECT_EQ(status.code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(
      MessageOf(status),
      "unknown token 0000000000000000: the authority of federation 'test-federation' did not issue "
      "it");
}

TEST_F(AuthorityRefusalsTest, TellsAWrongSecretAndKeepsTheToken) {
  const Token token = InviteToken(InviteSite("north"));
  const Token guess{.id = token.id,
                    .secret = crypto::SecretBytes(Bytes(16, 0)),
                    .root_fingerprint = token.root_fingerprint};

  const Status status = SignRefusal(Request("thief", guess));

  EXPECT_EQ(status.code(), StatusCode::kPermissionDenied);
  EXPECT_THAT(MessageOf(status), HasSubstr("wrong secret for token " + token.id));
  EXPECT_TRUE(authority_->Sign(Request("north", token), kNow).ok());
}

TEST_F(AuthorityRefusalsTest, TellsASigningKeyThatIsNotProved) {
  const Token token = InviteToken(InviteSite("north"));
  // The thief knows the secret and claims another's public key.
  const crypto::TlsKey tls_key = crypto::TlsKey::Generate();
  v1::EnrolmentRequest request =
      *MakeEnrolmentRequest(token, tls_key, crypto::SigningKey::Generate());
  request.set_key_proof(std::string(64, '\0'));

  const Status status = SignRefusal(request.SerializeAsString());

  EXPECT_EQ(status.code(), StatusCode::kPermissionDenied);
  EXPECT_THAT(MessageOf(status), HasSubstr("keys not proved: the Ed25519 signature"));
}

TEST_F(AuthorityRefusalsTest, TellsATlsKeyThatIsNotProved) {
  const Token token = InviteToken(InviteSite("north"));
  const crypto::SigningKey signing_key = crypto::SigningKey::Generate();
  v1::EnrolmentRequest request =
      *MakeEnrolmentRequest(token, crypto::TlsKey::Generate(), signing_key);
  request.mutable_csr()->back() ^= 1;  // The last byte is the CSR's own signature's.
  std::string message = "chorale/v1/enrol";
  message.push_back('\0');
  message += request.csr() + request.signing_key();
  request.set_key_proof(ToString(signing_key.Sign("chorale/v1/enrol", AsBytes(request.csr()))));
  request.set_token_proof(ToString(crypto::HmacSha256(token.secret.Reveal(), AsBytes(message))));

  const Status status = SignRefusal(request.SerializeAsString());

  EXPECT_EQ(status.code(), StatusCode::kPermissionDenied);
  EXPECT_THAT(MessageOf(status), HasSubstr("keys not proved: signing request"));
}

TEST_F(AuthorityRefusalsTest, RefusesWhatIsNoRequest) {
  EXPECT_EQ(SignRefusal("").code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(SignRefusal("nonsense").code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(SignRefusal(std::string(100'000, 'a')).code(), StatusCode::kInvalidArgument);
}

TEST_F(AuthorityRefusalsTest, WithdrawsTheEarlierTokenOfTheSameMember) {
  const Token first = InviteToken(InviteSite("north"));
  const Token second = InviteToken(InviteSite("north"));

  const Status status = SignRefusal(Request("north", first));

  EXPECT_EQ(status.code(), StatusCode::kPermissionDenied);
  EXPECT_THAT(MessageOf(status), HasSubstr("was withdrawn on 2026-11-20"));
  EXPECT_TRUE(authority_->Sign(Request("north", second), kNow).ok());
}

TEST_F(AuthorityRefusalsTest, InvitesAMemberInGoodStandingOnlyToRenew) {
  Enrol(InviteSite("north"));

  const Status status = authority_->Invite(InviteSite("north"), /*renew=*/false, kNow).status();

  EXPECT_EQ(status.code(), StatusCode::kAlreadyExists);
  EXPECT_THAT(MessageOf(status),
              HasSubstr("site 'north' is a member in good standing until 2027-11-20"));
  EXPECT_TRUE(authority_->Invite(InviteSite("north"), /*renew=*/true, kNow).ok());
  EXPECT_TRUE(authority_->Invite(InviteCoordinator("north"), /*renew=*/false, kNow).ok());
}

TEST_F(AuthorityRefusalsTest, InvitesARevokedOrExpiredMemberAgain) {
  Enrol(InviteSite("north"));
  Enrol(InviteSite("south"));
  ASSERT_TRUE(authority_->Revoke(v1::PARTY_ROLE_SITE, "north", "key lost", kNow).ok());

  const Identity north = Enrol(InviteSite("north"), kNow, /*renew=*/true);

  EXPECT_TRUE(authority_->Invite(InviteSite("south"), false, kNow + 366 * kDay).ok());
  EXPECT_TRUE(ReadRoster(north.root()).Authenticate(north.certificate(), kNow).ok());
}

TEST_F(AuthorityRefusalsTest, RevokesMembersOnceAndOnlyMembers) {
  Enrol(InviteSite("north"));

  EXPECT_EQ(authority_->Revoke(v1::PARTY_ROLE_SITE, "south", "why", kNow).code(),
            StatusCode::kNotFound);
  EXPECT_EQ(authority_->Revoke(v1::PARTY_ROLE_RESEARCHER, "north", "why", kNow).code(),
            StatusCode::kNotFound);
  EXPECT_EQ(authority_->LoadRoster()->version(), 2u);
  EXPECT_TRUE(authority_->Revoke(v1::PARTY_ROLE_SITE, "north", "why", kNow).ok());
  EXPECT_EQ(authority_->LoadRoster()->version(), 3u);
  const Status again = authority_->Revoke(v1::PARTY_ROLE_SITE, "north", "other", kNow + kHour);
  EXPECT_EQ(again.code(), StatusCode::kAlreadyExists);
  EXPECT_THAT(MessageOf(again), HasSubstr("revoked already, on 2026-11-20T00:00:00.000Z"));
}

TEST_F(AuthorityRefusalsTest, RevocationWithdrawsOpenTokens) {
  Enrol(InviteSite("north"));
  const Token token = InviteToken(InviteSite("north"), /*renew=*/true);
  ASSERT_TRUE(authority_->Revoke(v1::PARTY_ROLE_SITE, "north", "key lost", kNow).ok());

  EXPECT_THAT(MessageOf(SignRefusal(Request("thief", token))), HasSubstr("was withdrawn"));
}

TEST_F(AuthorityRefusalsTest, RefusesAReasonThatNobodyCouldRead) {
  Enrol(InviteSite("north"));
  for (const std::string& reason :
       {std::string(), std::string(257, 'a'), std::string("a\nb"), std::string("\xff")}) {
    EXPECT_EQ(authority_->Revoke(v1::PARTY_ROLE_SITE, "north", reason, kNow).code(),
              StatusCode::kInvalidArgument);
  }
}

TEST_F(AuthorityRefusalsTest, NamesTheFieldOfABadInvitation) {
  const auto refusal = [this](const Invitation& valid, auto spoil) {
    Invitation invitation = valid;
    spoil(invitation);
    const Status status = authority_->Invite(invitation, false, kNow).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    return MessageOf(status);
  };
  const Invitation site = InviteSite("north");
  const Invitation coordinator = InviteCoordinator("centre");

  EXPECT_THAT(refusal(site, [](Invitation& i) { i.role = v1::PARTY_ROLE_UNSPECIFIED; }),
              HasSubstr("role"));
  EXPECT_THAT(refusal(site, [](Invitation& i) { i.name = "North"; }), HasSubstr("invitation.name"));
  EXPECT_THAT(refusal(site, [](Invitation& i) { i.dns_names = {"north.example.org"}; }),
              HasSubstr("only a coordinator has DNS names"));
  EXPECT_THAT(refusal(site, [](Invitation& i) { i.token_validity = Duration(0); }),
              HasSubstr("invitation.token_validity must be in [1 s, 365 d], got"));
  EXPECT_THAT(refusal(site, [](Invitation& i) { i.certificate_validity = 5000 * kDay; }),
              HasSubstr("invitation.certificate_validity must be in"));
  EXPECT_THAT(refusal(coordinator,
                      [](Invitation& i) {
                        i.dns_names.clear();
                        i.ip_addresses.clear();
                      }),
              HasSubstr("must have 1 to 16 DNS names and IP addresses"));
  EXPECT_THAT(refusal(coordinator, [](Invitation& i) { i.dns_names.assign(20, "a.example.org"); }),
              HasSubstr("got 21"));
  EXPECT_THAT(refusal(coordinator, [](Invitation& i) { i.dns_names = {"*.example.org"}; }),
              HasSubstr("'*.example.org'"));
  EXPECT_THAT(refusal(coordinator, [](Invitation& i) { i.ip_addresses = {"127.1"}; }),
              HasSubstr("'127.1' is no IPv4 or IPv6 address"));
}

TEST_F(AuthorityRefusalsTest, IssuesNothingOnceTheRootHasExpired) {
  const Time late = kNow + 4000 * kDay;
  Invitation invitation = InviteSite("north");
  invitation.token_validity = 365 * kDay;
  const crypto::Certificate root = *LoadCertificate(authority_directory() / kRootFile);
  const Time before = root.fields().not_after - kDay;
  const StatusOr<std::string> text = authority_->Invite(invitation, false, before);
  ASSERT_TRUE(text.ok()) << text.status();

  const Status status = SignRefusal(Request("north", *ParseToken(*text)), before + 2 * kDay);

  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(status),
              HasSubstr("the root certificate of federation 'test-federation' expired on"));
  EXPECT_FALSE(authority_->Invite(InviteSite("south"), false, late).ok());
}

}  // namespace
}  // namespace chorale::identity
