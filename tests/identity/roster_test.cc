#include "identity/roster.h"

#include <gmock/gmock.h>

#include "core/random.h"
#include "identity/key_files.h"
#include "tests/identity/federation_fixture.h"

namespace chorale::identity {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class RosterTest : public FederationTest {
 protected:
  RosterTest()
      : north_(Enrol(InviteSite("north"))),
        signing_key_(*LoadSigningKey(authority_directory() / kSigningKeyFile)) {}

  [[nodiscard]] const crypto::Certificate& root() const { return north_.root(); }
  [[nodiscard]] v1::Roster Content() const { return *authority_->LoadRoster(); }
  [[nodiscard]] Status Refusal(const v1::Roster& content) const {
    return Roster::Parse(Roster::Render(content, signing_key_), root()).status();
  }

  Identity north_;
  crypto::SigningKey signing_key_;
};

TEST_F(RosterTest, ComesBackFromItsFile) {
  Enrol(InviteSite("south"));
  Enrol(InviteCoordinator("centre"));
  ASSERT_TRUE(
      authority_->Revoke(v1::PARTY_ROLE_SITE, "south", "left: \"the\" study # 1", kNow).ok());

  const StatusOr<Roster> roster = Roster::Parse(ReadAll(authority_->roster_path()), root());

  ASSERT_TRUE(roster.ok()) << roster.status();
  EXPECT_EQ(roster->federation(), "test-federation");
  EXPECT_EQ(roster->version(), 5u);
  ASSERT_EQ(roster->sites().size(), 2u);
  EXPECT_FALSE(roster->sites().at(SiteId("north")).has_revoked_at());
  EXPECT_EQ(roster->sites().at(SiteId("north")).serial(), north_.certificate().serial());
  EXPECT_EQ(roster->sites().at(SiteId("south")).revocation_reason(), "left: \"the\" study # 1");
}

TEST_F(RosterTest, IsTheSameTextForTheSameContent) {
  EXPECT_EQ(Roster::Render(Content(), signing_key_), Roster::Render(Content(), signing_key_));
  EXPECT_EQ(Roster::Render(Content(), signing_key_), ReadAll(authority_->roster_path()));
  EXPECT_THAT(ReadAll(authority_->roster_path()), StartsWith("# chorale-roster-signature: "));
}

TEST_F(RosterTest, AuthenticatesAMember) {
  const StatusOr<Party> party = ReadRoster(root()).Authenticate(north_.certificate(), kNow);

  ASSERT_TRUE(party.ok()) << party.status();
  EXPECT_EQ(*party, north_.party());
}

TEST_F(RosterTest, TellsAnUnknownSite) {
  const Roster before = ReadRoster(root());
  const Identity south = Enrol(InviteSite("south"));

  const Status status = before.Authenticate(south.certificate(), kNow).status();

  EXPECT_EQ(status.code(), StatusCode::kUnauthenticated);
  EXPECT_EQ(MessageOf(status),
            "unknown site 'south': not on roster version 2; ask the federation authority for a "
            "newer roster");
}

TEST_F(RosterTest, TellsWhenAndWhyAMemberWasRevoked) {
  ASSERT_TRUE(authority_->Revoke(v1::PARTY_ROLE_SITE, "north", "key lost", kNow + kHour).ok());

  const Status status =
      ReadRoster(root()).Authenticate(north_.certificate(), kNow + 2 * kHour).status();

  EXPECT_EQ(status.code(), StatusCode::kUnauthenticated);
  EXPECT_EQ(MessageOf(status),
            "certificate of site 'north' was revoked on 2026-11-20T01:00:00.000Z: key lost");
}

TEST_F(RosterTest, TellsAReplacedCertificate) {
  const Identity renewed = Enrol(InviteSite("north"), kNow + kHour, /*renew=*/true);
  const Roster roster = ReadRoster(root());

  const Status status = roster.Authenticate(north_.certificate(), kNow + kHour).status();

  EXPECT_EQ(status.code(), StatusCode::kUnauthenticated);
  EXPECT_THAT(MessageOf(status), HasSubstr("certificate of site 'north' (serial " +
                                           north_.certificate().serial() + ") was replaced"));
  EXPECT_THAT(MessageOf(status), HasSubstr("lists serial " + renewed.certificate().serial()));
  EXPECT_TRUE(roster.Authenticate(renewed.certificate(), kNow + kHour).ok());
}

TEST_F(RosterTest, TellsAnExpiredCertificate) {
  const Status status =
      ReadRoster(root()).Authenticate(north_.certificate(), kNow + 400 * kDay).status();

  EXPECT_EQ(status.code(), StatusCode::kUnauthenticated);
  EXPECT_THAT(MessageOf(status), HasSubstr("certificate 'north' expired on 2027-11-20"));
}

TEST_F(RosterTest, TellsACertificateOfAnotherRoot) {
  ASSERT_TRUE(Authority::Create(directory_.path() / "other", "test-federation", kNow).ok());
  const crypto::Certificate other = *LoadCertificate(directory_.path() / "other" / kRootFile);
  const crypto::TlsKey other_key = *LoadTlsKey(directory_.path() / "other" / kRootKeyFile);
  // The impostor copies every name of the real site.
  const crypto::Certificate impostor = *crypto::Certificate::Issue(
      other, other_key, *crypto::MakeSigningRequest(crypto::TlsKey::Generate()),
      north_.certificate().fields(), false);

  const Status status = ReadRoster(root()).Authenticate(impostor, kNow).status();

  EXPECT_EQ(status.code(), StatusCode::kUnauthenticated);
  EXPECT_THAT(MessageOf(status), HasSubstr("was not issued by the root 'test-federation'"));
}

TEST_F(RosterTest, DoesNotTakeTheRootForAMember) {
  EXPECT_EQ(ReadRoster(root()).Authenticate(root(), kNow).status().code(),
            StatusCode::kUnauthenticated);
}

TEST_F(RosterTest, KeepsRolesApart) {
  const Identity coordinator = Enrol(InviteCoordinator("centre"));
  v1::Roster content = Content();
  // The coordinator's serial under a site of the same name: a coordinator must not pass as a site.
  for (v1::RosterEntry& member : *content.mutable_members()) {
    if (member.role() == v1::PARTY_ROLE_COORDINATOR) member.set_role(v1::PARTY_ROLE_SITE);
  }
  const Roster roster = *Roster::Parse(Roster::Render(content, signing_key_), root());

  EXPECT_THAT(MessageOf(roster.Authenticate(coordinator.certificate(), kNow).status()),
              HasSubstr("unknown coordinator 'centre'"));
}

TEST_F(RosterTest, RefusesAnotherAuthoritysSignature) {
  const Status status =
      Roster::Parse(Roster::Render(Content(), crypto::SigningKey::Generate()), root()).status();

  EXPECT_EQ(status.code(), StatusCode::kPermissionDenied);
  EXPECT_THAT(MessageOf(status),
              HasSubstr("not signed by the authority of this federation's root"));
}

TEST_F(RosterTest, RefusesEveryChangedByteOfTheBody) {
  const std::string file = ReadAll(authority_->roster_path());
  for (std::size_t i = file.find('\n') + 1; i < file.size(); ++i) {
    std::string changed = file;
    changed[i] = static_cast<char>(changed[i] ^ 1);

    EXPECT_EQ(Roster::Parse(changed, root()).status().code(), StatusCode::kPermissionDenied) << i;
  }
  EXPECT_EQ(Roster::Parse(file + "\n", root()).status().code(), StatusCode::kPermissionDenied);
}

TEST_F(RosterTest, TellsADamagedSignatureLine) {
  const std::string file = ReadAll(authority_->roster_path());
  const std::string body = file.substr(file.find('\n') + 1);
  for (const std::string& damaged :
       {std::string(), body, "# chorale-roster-signature: \n" + body,
        "# chorale-roster-signature: 00\n" + body, "\n" + file, file.substr(0, 40),
        "# chorale-roster-signature: " + std::string(128, 'z') + "\n" + body}) {
    const Status status = Roster::Parse(damaged, root()).status();

    EXPECT_EQ(status.code(), StatusCode::kDataLoss);
    EXPECT_THAT(MessageOf(status), HasSubstr("copy the file again from the federation authority"));
  }
}

TEST_F(RosterTest, NamesTheFieldOfSignedButMalformedContent) {
  const auto refusal = [this](auto spoil) {
    v1::Roster content = Content();
    spoil(content);
    const Status status = Refusal(content);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(MessageOf(status), StartsWith("roster"));
    return MessageOf(status);
  };
  using Content = v1::Roster;

  EXPECT_THAT(refusal([](Content& c) { c.set_version(0); }), HasSubstr("version"));
  EXPECT_THAT(refusal([](Content& c) { c.set_federation("Not A Name"); }), HasSubstr("federation"));
  EXPECT_THAT(refusal([](Content& c) { c.set_federation("other"); }),
              HasSubstr("of federation 'other'"));
  EXPECT_THAT(refusal([](Content& c) { c.mutable_members(0)->set_name("../north"); }),
              HasSubstr("name"));
  EXPECT_THAT(refusal([](Content& c) { c.mutable_members(0)->clear_role(); }), HasSubstr("role"));
  EXPECT_THAT(refusal([](Content& c) { c.mutable_members(0)->set_serial("AB"); }),
              HasSubstr("serial"));
  EXPECT_THAT(refusal([](Content& c) { c.mutable_members(0)->set_revocation_reason("why"); }),
              HasSubstr("revoked_at"));
  EXPECT_THAT(
      refusal([](Content& c) { c.mutable_members(0)->mutable_revoked_at()->set_seconds(5); }),
      HasSubstr("reason"));
  EXPECT_THAT(refusal([](Content& c) { *c.add_members() = c.members(0); }),
              HasSubstr("once per role"));
  EXPECT_THAT(refusal([](Content& c) {
                *c.add_members() = c.members(0);
                c.mutable_members(1)->set_name("other");
              }),
              HasSubstr("must belong to one member"));
}

TEST_F(RosterTest, RefusesARootThatIsNone) {
  EXPECT_EQ(Roster::Parse(ReadAll(authority_->roster_path()), north_.certificate()).status().code(),
            StatusCode::kUnauthenticated);
}

TEST_F(RosterTest, NoMutationPasses) {
  const std::string file = ReadAll(authority_->roster_path());
  SeededRandom random(5);
  for (int i = 0; i < 2000; ++i) {
    std::string mutated = file;
    mutated[random.NextBelow(mutated.size())] = static_cast<char>(random.NextBelow(256));
    if (random.NextBelow(4) == 0) mutated.resize(random.NextBelow(mutated.size()));
    const StatusOr<Roster> roster = Roster::Parse(mutated, root());
    // The signature may be written in capitals; nothing else may differ.
    if (!roster.ok()) continue;
    EXPECT_EQ(mutated.substr(mutated.find('\n')), file.substr(file.find('\n')));
  }
}

}  // namespace
}  // namespace chorale::identity
