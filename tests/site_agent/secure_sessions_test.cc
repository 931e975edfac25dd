#include "site_agent/secure_sessions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/crypto/random.h"
#include "core/storage/file.h"
#include "core/storage/sqlite.h"
#include "secagg/refusal.h"
#include "secagg/server_session.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/test_pki.h"

// Three sites' sessions against a coordinator's, with real certificates and rosters.
namespace chorale::site_agent {
namespace {

using secagg::RefusalCode;
using testing::Optional;

class WallClock final : public Clock {
 public:
  Time Now() const override { return now; }
  Time WallNow() const override { return now; }
  Time now = SystemClock().WallNow();
};

constexpr std::uint64_t kVectorBytes = 64;
const std::vector<std::string> kNames = {"east", "north", "south"};

class SecureSessionsTest : public testing::Test {
 protected:
  SecureSessionsTest() {
    coordinator_ =
        std::make_unique<identity::Identity>(pki_.Load(v1::PARTY_ROLE_COORDINATOR, "main"));
    for (const std::string& name : kNames) {
      identities_.push_back(
          std::make_unique<identity::Identity>(pki_.Load(v1::PARTY_ROLE_SITE, name)));
      sessions_.push_back(MakeSessions(*identities_.back(), name));
    }
  }

  std::unique_ptr<SecureSessions> MakeSessions(const identity::Identity& identity,
                                               const std::string& name) {
    const std::filesystem::path state = directory_.path() / name;
    std::filesystem::create_directories(state);
    promises_.insert_or_assign(name, std::make_unique<Promises>(Promises::Open(state).value()));
    return std::make_unique<SecureSessions>(SecureSessionsParts{.identity = identity,
                                                                .clock = clock_,
                                                                .random = random_,
                                                                .policy = policy_,
                                                                .state_directory = state,
                                                                .promises = *promises_.at(name)});
  }
  // The site as it starts again after kill -9: only what lies in its files is left.
  void StartAgain(std::size_t site) {
    const std::string& name = kNames[site];
    const std::filesystem::path state = directory_.path() / name;
    const std::filesystem::path left = directory_.path() / (name + "-left");
    std::filesystem::copy(state, left, std::filesystem::copy_options::recursive);
    sessions_[site].reset();
    promises_.erase(name);
    std::filesystem::remove_all(state);
    std::filesystem::rename(left, state);
    sessions_[site] = MakeSessions(*identities_[site], name);
  }

  // Nothing more can be written into the table.
  void BreakPromises(const std::string& name, const std::string& table) {
    const storage::Migration already_applied[] = {{.sql = "SELECT 1"}};
    auto database =
        storage::Database::Open(directory_.path() / name / "promises.db", already_applied);
    ASSERT_TRUE(database.ok()) << database.status();
    ASSERT_TRUE(database
                    ->Execute("CREATE TRIGGER no_more BEFORE INSERT ON " + table +
                              " BEGIN SELECT RAISE(FAIL, 'disk full'); END")
                    .ok());
  }

  std::string Roster() const { return *storage::ReadFile(pki_.roster_path(), 1u << 20); }

  crypto::Digest DrawNonce() {
    crypto::Digest nonce;
    random_.Fill(nonce);
    return nonce;
  }
  secagg::ServerSession MakeServer(const std::string& roster) {
    return MakeServer(roster, DrawNonce());
  }
  secagg::ServerSession MakeServer(const std::string& roster, const crypto::Digest& nonce) {
    secagg::ServerOptions options{
        .federation = "choir",
        .job = owner_.job,
        .job_digest = owner_.job_digest,
        .members = {},
        .roster = roster,
        .group = secagg::DefaultGroup(static_cast<std::uint32_t>(identities_.size())),
        .nonce = nonce,
        .signing_key = coordinator_->signing_key()};
    for (const auto& identity : identities_) {
      options.members.push_back({.member = {.site = SiteId(identity->party().name),
                                            .key = identity->party().signing_key,
                                            .certificate = identity->certificate().fingerprint()},
                                 .certificate = identity->certificate().pem()});
    }
    return *secagg::ServerSession::Create(std::move(options), clock_.now);
  }

  StatusOr<Bytes> Begin(std::size_t site, const secagg::ServerSession& server) {
    return sessions_[site]->Begin(owner_, server.manifest(), coordinator_->certificate().pem());
  }
  static Bytes MessageFor(const std::vector<secagg::ServerAction>& actions, std::size_t site) {
    for (const secagg::ServerAction& action : actions) {
      if (const auto* broadcast = std::get_if<secagg::Broadcast>(&action)) {
        return broadcast->message;
      }
      const auto* send = std::get_if<secagg::SendTo>(&action);
      if (send != nullptr && send->member == site) return send->message;
    }
    ADD_FAILURE() << "nothing was sent to site " << site;
    return {};
  }
  // Gives the server everybody's message and closes the step.
  std::vector<secagg::ServerAction> Close(secagg::ServerSession& server, secagg::MessageKind kind,
                                          const std::vector<Bytes>& messages) {
    for (std::size_t i = 0; i < messages.size(); ++i) {
      const auto taken = server.Step(
          secagg::MessageReceived{static_cast<secagg::MemberIndex>(i), kind, messages[i]},
          clock_.now);
      EXPECT_TRUE(taken.ok()) << taken.status();
    }
    auto actions = server.Step(secagg::StepClosed{}, clock_.now);
    EXPECT_TRUE(actions.ok()) << actions.status();
    return *std::move(actions);
  }
  void SetUpSession(secagg::ServerSession& server) {
    const std::size_t n = sessions_.size();
    std::vector<Bytes> messages(n);
    for (std::size_t i = 0; i < n; ++i) messages[i] = Begin(i, server).value();
    auto actions = Close(server, secagg::MessageKind::kAdvertiseKeys, messages);
    for (std::size_t i = 0; i < n; ++i) {
      messages[i] =
          sessions_[i]->Answer(owner_, secagg::KeysReceived{MessageFor(actions, i)}).value();
    }
    actions = Close(server, secagg::MessageKind::kShareKeys, messages);
    for (std::size_t i = 0; i < n; ++i) {
      messages[i] =
          sessions_[i]->Answer(owner_, secagg::SharesReceived{MessageFor(actions, i)}).value();
    }
    Close(server, secagg::MessageKind::kShareKeysAck, messages);
  }
  Bytes OpenRound(secagg::ServerSession& server, std::uint32_t round,
                  const crypto::Digest& model = {1}) {
    const auto actions =
        server.Step(secagg::RoundRequested{.round = round,
                                           .participants = server.Eligible(),
                                           .model = model,
                                           .task = {2},
                                           .encoding = {3},
                                           .vector_bytes = kVectorBytes,
                                           .deadline = clock_.now + std::chrono::minutes(5)},
                    clock_.now);
    EXPECT_TRUE(actions.ok()) << actions.status();
    return MessageFor(*actions, 0);
  }

  support::TestPki pki_;
  support::TemporaryDirectory directory_{support::Medium::kMemory};
  WallClock clock_;
  crypto::SecureRandom random_;
  secagg::GroupPolicy policy_;
  SessionOwner owner_{.job = JobId("j1"), .job_digest = {7}};
  std::map<std::string, std::unique_ptr<Promises>> promises_;
  std::unique_ptr<identity::Identity> coordinator_;
  std::vector<std::unique_ptr<identity::Identity>> identities_;
  std::vector<std::unique_ptr<SecureSessions>> sessions_;
};

TEST_F(SecureSessionsTest, ASiteCountsOnAsManyColludersAsItsOwnPolicySays) {
  EXPECT_EQ(sessions_[0]->ExpectedColluders(4), secagg::DefaultColluders(4));
  policy_.colluders = 7;
  const auto wary = MakeSessions(*identities_[0], "wary");
  EXPECT_EQ(wary->ExpectedColluders(4), 7u);
}

TEST_F(SecureSessionsTest, ThreeSitesMaskARoundAndTheSumComesOut) {
  secagg::ServerSession server = MakeServer(Roster());
  SetUpSession(server);
  const Bytes start = OpenRound(server, 1);
  const secagg::VectorSpec spec =
      *secagg::VectorSpec::Create({{secagg::RingBits::k64, kVectorBytes / 8}});
  Bytes sum(kVectorBytes);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(sessions_[i]->GroupOf(owner_)->num_members, 3u);
    EXPECT_EQ(sessions_[i]->GroupOf(owner_)->colluders, 1u);
    const auto mask = sessions_[i]->StartRound(owner_, {start, {1}, {2}}, {3}, kVectorBytes);
    ASSERT_TRUE(mask.ok()) << mask.status();
    Bytes vector(kVectorBytes);
    vector[0] = static_cast<std::uint8_t>(i + 1);
    const Bytes plain = vector;
    ASSERT_TRUE(secagg::ApplyMasks(spec, 0, vector, secagg::Borrow(mask->terms), 1).ok());
    EXPECT_NE(vector, plain);
    const auto member = static_cast<secagg::MemberIndex>(i);
    const auto input = sessions_[i]->Sign(owner_, 1, crypto::Sha256(vector));
    ASSERT_TRUE(input.ok()) << input.status();
    ASSERT_TRUE(
        server
            .Step(secagg::MessageReceived{member, secagg::MessageKind::kMaskedInput, *input},
                  clock_.now)
            .ok());
    ASSERT_TRUE(server.Step(secagg::VectorReceived{member}, clock_.now).ok());
    ASSERT_TRUE(secagg::AddVectors(spec, 0, vector, sum, 1).ok());
  }
  std::vector<Bytes> messages(3);
  auto actions = *server.Step(secagg::StepClosed{}, clock_.now);
  for (std::size_t i = 0; i < 3; ++i) {
    messages[i] =
        sessions_[i]->Answer(owner_, secagg::SurvivorsReceived{MessageFor(actions, i)}).value();
  }
  actions = Close(server, secagg::MessageKind::kConsistencySignature, messages);
  for (std::size_t i = 0; i < 3; ++i) {
    messages[i] =
        sessions_[i]->Answer(owner_, secagg::SignaturesReceived{MessageFor(actions, i)}).value();
  }
  actions = Close(server, secagg::MessageKind::kUnmasking, messages);
  const auto& remove = std::get<secagg::RemoveMasks>(actions.at(0));
  ASSERT_TRUE(secagg::ApplyMasks(spec, 0, sum, secagg::Borrow(remove.terms), 1).ok());
  Bytes expected(kVectorBytes);
  expected[0] = 6;
  EXPECT_EQ(sum, expected);
}

TEST_F(SecureSessionsTest, AnotherModelThanTheSiteHoldsIsRefused) {
  secagg::ServerSession server = MakeServer(Roster());
  SetUpSession(server);
  const Bytes start = OpenRound(server, 1, /*model=*/{9});
  const auto mask = sessions_[0]->StartRound(owner_, {start, {1}, {2}}, {3}, kVectorBytes);
  EXPECT_THAT(secagg::RefusalOf(mask.status()), Optional(RefusalCode::kModelMismatch));
}

TEST_F(SecureSessionsTest, ARevokedMemberIsRefused) {
  pki_.Revoke(v1::PARTY_ROLE_SITE, "south", "left");
  const secagg::ServerSession server = MakeServer(Roster());
  EXPECT_THAT(secagg::RefusalOf(Begin(0, server).status()),
              Optional(RefusalCode::kUnknownCertificate));
}

TEST_F(SecureSessionsTest, ARosterOlderThanOneSeenIsRefusedAlsoAfterARestart) {
  const std::string old = Roster();
  pki_.Enrol(v1::PARTY_ROLE_SITE, "west");  // A newer version.
  const secagg::ServerSession newer = MakeServer(Roster());
  ASSERT_TRUE(Begin(0, newer).ok());
  sessions_[0] = MakeSessions(*identities_[0], "east");
  const secagg::ServerSession older = MakeServer(old);
  EXPECT_THAT(secagg::RefusalOf(Begin(0, older).status()),
              Optional(RefusalCode::kUnknownCertificate));
}

TEST_F(SecureSessionsTest, ARosterThatTheAuthorityDidNotSignIsRefused) {
  std::string roster = Roster();
  roster.back() = ' ';
  const secagg::ServerSession server = MakeServer(roster);
  EXPECT_THAT(secagg::RefusalOf(Begin(0, server).status()),
              Optional(RefusalCode::kUnknownCertificate));
}

TEST_F(SecureSessionsTest, ASiteCannotSignInTheCoordinatorsPlace) {
  const secagg::ServerSession server = MakeServer(Roster());
  const auto begun =
      sessions_[0]->Begin(owner_, server.manifest(), identities_[1]->certificate().pem());
  EXPECT_THAT(secagg::RefusalOf(begun.status()), Optional(RefusalCode::kUnknownCertificate));
}

TEST_F(SecureSessionsTest, AnotherJobThanTheManifestsIsRefused) {
  const secagg::ServerSession server = MakeServer(Roster());
  const SessionOwner other{.job = JobId("j2"), .job_digest = {7}};
  EXPECT_FALSE(
      sessions_[0]->Begin(other, server.manifest(), coordinator_->certificate().pem()).ok());
  const SessionOwner changed{.job = JobId("j1"), .job_digest = {8}};
  EXPECT_FALSE(
      sessions_[0]->Begin(changed, server.manifest(), coordinator_->certificate().pem()).ok());
}

TEST_F(SecureSessionsTest, AGroupBelowTheSitesOwnPolicyIsRefused) {
  policy_.min_group = 4;
  policy_.min_members = 4;
  sessions_[0] = MakeSessions(*identities_[0], "east");
  const secagg::ServerSession server = MakeServer(Roster());
  EXPECT_THAT(secagg::RefusalOf(Begin(0, server).status()), Optional(RefusalCode::kGroupTooSmall));
}

TEST_F(SecureSessionsTest, WithoutASessionEveryStepSaysThatItsStateIsLost) {
  EXPECT_THAT(secagg::RefusalOf(sessions_[0]->GroupOf(owner_).status()),
              Optional(RefusalCode::kStateLost));
  EXPECT_THAT(
      secagg::RefusalOf(sessions_[0]->Answer(owner_, secagg::SurvivorsReceived{{1}}).status()),
      Optional(RefusalCode::kStateLost));
  // A process that starts again has none either.
  secagg::ServerSession server = MakeServer(Roster());
  SetUpSession(server);
  sessions_[0] = MakeSessions(*identities_[0], "east");
  EXPECT_THAT(secagg::RefusalOf(
                  sessions_[0]
                      ->StartRound(owner_, {OpenRound(server, 1), {1}, {2}}, {3}, kVectorBytes)
                      .status()),
              Optional(RefusalCode::kStateLost));
}

TEST_F(SecureSessionsTest, AManifestIsTakenOnce) {
  const secagg::ServerSession server = MakeServer(Roster());
  ASSERT_TRUE(Begin(0, server).ok());
  EXPECT_THAT(secagg::RefusalOf(Begin(0, server).status()),
              Optional(RefusalCode::kSessionReplayed));
}

TEST_F(SecureSessionsTest, ANonceIsTakenOnceAlsoAfterARestart) {
  const crypto::Digest nonce = DrawNonce();
  ASSERT_TRUE(Begin(0, MakeServer(Roster(), nonce)).ok());

  StartAgain(0);
  clock_.now += std::chrono::seconds(1);  // Another manifest, under the same nonce.

  EXPECT_THAT(secagg::RefusalOf(Begin(0, MakeServer(Roster(), nonce)).status()),
              Optional(RefusalCode::kSessionReplayed));
  EXPECT_TRUE(Begin(0, MakeServer(Roster())).ok());
}

TEST_F(SecureSessionsTest, ANonceThatCannotBeKeptLetsNoKeysOut) {
  const secagg::ServerSession server = MakeServer(Roster());
  BreakPromises("east", "nonces");

  const auto begun = Begin(0, server);

  EXPECT_FALSE(begun.ok());
  EXPECT_EQ(secagg::RefusalOf(begun.status()), std::nullopt);
  EXPECT_THAT(secagg::RefusalOf(sessions_[0]->GroupOf(owner_).status()),
              Optional(RefusalCode::kStateLost));
}

TEST_F(SecureSessionsTest, ARoundIsOpenedOnce) {
  secagg::ServerSession server = MakeServer(Roster());
  SetUpSession(server);
  const Bytes start = OpenRound(server, 1);
  ASSERT_TRUE(sessions_[0]->StartRound(owner_, {start, {1}, {2}}, {3}, kVectorBytes).ok());
  EXPECT_FALSE(sessions_[0]->StartRound(owner_, {start, {1}, {2}}, {3}, kVectorBytes).ok());
}

TEST_F(SecureSessionsTest, ARoundThatIsGivenUpIsNotSignedForAndTheNextOneOpens) {
  secagg::ServerSession server = MakeServer(Roster());
  SetUpSession(server);
  const Bytes first = OpenRound(server, 1);
  ASSERT_TRUE(sessions_[0]->StartRound(owner_, {first, {1}, {2}}, {3}, kVectorBytes).ok());
  sessions_[0]->GiveUp(owner_, 1);
  EXPECT_FALSE(sessions_[0]->Sign(owner_, 1, {4}).ok());
  ASSERT_TRUE(server.Step(secagg::RoundAborted{"a site gave up"}, clock_.now).ok());
  const Bytes second = OpenRound(server, 2);
  ASSERT_TRUE(sessions_[0]->StartRound(owner_, {second, {1}, {2}}, {3}, kVectorBytes).ok());
  EXPECT_TRUE(sessions_[0]->Sign(owner_, 2, {4}).ok());
  sessions_[0]->GiveUp(owner_, 2);  // Too late: it was signed for.
}

// Five sites, of which four suffice.
class DifferencingTest : public SecureSessionsTest {
 protected:
  DifferencingTest() {
    for (const char* name : {"valley", "west"}) {
      identities_.push_back(
          std::make_unique<identity::Identity>(pki_.Load(v1::PARTY_ROLE_SITE, name)));
      sessions_.push_back(MakeSessions(*identities_.back(), name));
    }
  }
  // Sets a session up, masks and says who survived. Returns what the server then asks each with.
  std::vector<secagg::ServerAction> Mask(secagg::ServerSession& server, std::size_t num_survivors) {
    const Bytes start = OpenRound(server, 1);
    for (std::size_t i = 0; i < num_survivors; ++i) {
      const auto member = static_cast<secagg::MemberIndex>(i);
      EXPECT_TRUE(sessions_[i]->StartRound(owner_, {start, {1}, {2}}, {3}, kVectorBytes).ok());
      const auto input = sessions_[i]->Sign(owner_, 1, {4}).value();
      EXPECT_TRUE(
          server
              .Step(secagg::MessageReceived{member, secagg::MessageKind::kMaskedInput, input},
                    clock_.now)
              .ok());
      EXPECT_TRUE(server.Step(secagg::VectorReceived{member}, clock_.now).ok());
    }
    return *server.Step(secagg::StepClosed{}, clock_.now);
  }
  // Everybody of the survivors signs. Returns what they are asked to unmask with.
  std::vector<secagg::ServerAction> Consent(secagg::ServerSession& server,
                                            const std::vector<secagg::ServerAction>& asked,
                                            std::size_t num_survivors) {
    std::vector<Bytes> messages(num_survivors);
    for (std::size_t i = 0; i < num_survivors; ++i) {
      messages[i] =
          sessions_[i]->Answer(owner_, secagg::SurvivorsReceived{MessageFor(asked, i)}).value();
    }
    return Close(server, secagg::MessageKind::kConsistencySignature, messages);
  }
  StatusOr<Bytes> Unmask(const std::vector<secagg::ServerAction>& asked) {
    return sessions_[0]->Answer(owner_, secagg::SignaturesReceived{MessageFor(asked, 0)});
  }
  StatusOr<Bytes> Reveal(std::size_t num_survivors) {
    secagg::ServerSession server = MakeServer(Roster());
    SetUpSession(server);
    return Unmask(Consent(server, Mask(server, num_survivors), num_survivors));
  }
  // What the first site says to survivors of a new session.
  std::optional<RefusalCode> RefusalOfSurvivors(std::size_t num_survivors) {
    secagg::ServerSession server = MakeServer(Roster());
    SetUpSession(server);
    const auto asked = Mask(server, num_survivors);
    return secagg::RefusalOf(
        sessions_[0]->Answer(owner_, secagg::SurvivorsReceived{MessageFor(asked, 0)}).status());
  }
};

TEST_F(DifferencingTest, ASumThatDiffersByOneSiteIsRefusedAlsoAfterARestart) {
  ASSERT_TRUE(Reveal(5).ok());

  StartAgain(0);

  EXPECT_EQ(RefusalOfSurvivors(4), RefusalCode::kDifferencing);
  EXPECT_EQ(RefusalOfSurvivors(5), std::nullopt);
}

TEST_F(DifferencingTest, ASumThatDiffersByOneSiteIsRefusedUnderAnotherNameOfTheJob) {
  ASSERT_TRUE(Reveal(5).ok());

  owner_.job = JobId("j2");

  EXPECT_EQ(RefusalOfSurvivors(4), RefusalCode::kDifferencing);
}

TEST_F(DifferencingTest, OfTwoSessionsThatWereConsentedToOneIsUnmasked) {
  secagg::ServerSession first = MakeServer(Roster());
  SetUpSession(first);
  const auto over_five = Consent(first, Mask(first, 5), 5);
  const SessionOwner before = std::exchange(owner_, {JobId("j2"), owner_.job_digest});
  secagg::ServerSession second = MakeServer(Roster());
  SetUpSession(second);
  const auto over_four = Consent(second, Mask(second, 4), 4);
  ASSERT_TRUE(Unmask(over_four).ok());

  owner_ = before;

  EXPECT_THAT(secagg::RefusalOf(Unmask(over_five).status()), Optional(RefusalCode::kDifferencing));
}

TEST_F(DifferencingTest, ASumThatCannotBeKeptIsNotUnmaskedAndEndsTheSession) {
  secagg::ServerSession server = MakeServer(Roster());
  SetUpSession(server);
  const auto asked = Consent(server, Mask(server, 5), 5);
  BreakPromises("east", "sums");

  EXPECT_FALSE(Unmask(asked).ok());
  EXPECT_THAT(secagg::RefusalOf(Unmask(asked).status()), Optional(RefusalCode::kStateLost));
}

TEST_F(SecureSessionsTest, OnlyTheLatestSessionsAreKept) {
  for (std::size_t i = 0; i <= SecureSessions::kMaxSessions; ++i) {
    owner_.job = JobId("j" + std::to_string(i));
    ASSERT_TRUE(Begin(0, MakeServer(Roster())).ok());
  }
  EXPECT_TRUE(sessions_[0]->GroupOf(owner_).ok());
  owner_.job = JobId("j0");
  EXPECT_FALSE(sessions_[0]->GroupOf(owner_).ok());
}

}  // namespace
}  // namespace chorale::site_agent
