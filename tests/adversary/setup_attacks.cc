#include <algorithm>
#include <utility>

#include "core/storage/file.h"
#include "tests/adversary/attacks.h"
#include "tests/support/test_pki.h"

// Lies while a session is set up.
namespace chorale::adversary {
namespace {

Bytes ByCoordinator(Stage& stage, MessageKind kind, const Bytes& body) {
  return secagg::SignMessage(kind, body, stage.world().coordinator.signing_key());
}

secagg::AdvertisedKeys KeysIn(const Bytes& message) {
  return secagg::DecodeAdvertiseKeys(
             secagg::SplitMessage(MessageKind::kAdvertiseKeys, message)->body)
      .value();
}

std::vector<MemberIndex> AcknowledgedBy(const Answer& answer) {
  const auto parts = secagg::SplitMessage(MessageKind::kShareKeysAck, answer.message);
  if (!parts.ok()) return {99};
  const auto ack = secagg::DecodeShareKeysAck(parts->body);
  return ack.ok() ? ack->dealers : std::vector<MemberIndex>{99};
}

void HonestRound(World& world, Finding& finding) {
  finding.Did("ran one honest round over all five, as a control of the search itself");
  Stage stage(world, "control");
  finding.Require("a session is set up", stage.SetUp());
  finding.Require("a round is revealed", stage.Reveal(1, Everybody()));
  const Learned learned = stage.Search();
  const auto has = [&](Members members) {
    return std::find(learned.sums.begin(), learned.sums.end(), members) != learned.sums.end();
  };
  finding.Require("the sum over all is learned, and is that of the planted tables", has(0b11111));
  finding.Require("the colluder's own vector is recovered, as a victim's would be",
                  has(Bit(kColluder)));
  finding.Learn(learned);
}

void SubstitutesAKey(World& world, Finding& finding) {
  finding.Did(
      "gave a site another member's key under its own signature, and a list without the site's "
      "own");
  Stage stage(world, "key");
  finding.Require("keys come", stage.Advertise());
  std::vector<Bytes> messages = stage.advertisements();
  secagg::AdvertisedKeys substitute = KeysIn(messages[kVictim]);
  substitute.channel_key = crypto::X25519PrivateKey::Generate().public_key();
  messages[kVictim] = ByCoordinator(stage, MessageKind::kAdvertiseKeys, secagg::Encode(substitute));
  finding.Expect("another's key", stage.GiveKeys(kFirst, Stage::Directory(messages)),
                 "BAD_SIGNATURE");
  messages = stage.advertisements();
  messages.erase(messages.begin());
  finding.Expect("a list without the site", stage.GiveKeys(kFirst, Stage::Directory(messages)),
                 "KEY_INVALID");
  finding.Learn(stage.Search());
}

// The first site sees keys of four, everybody else of all five.
void ShowsDifferentLists(World& world, Finding& finding) {
  finding.Did(
      "showed one site a shorter list of keys, gave its seals to others, opened a round in "
      "its session and asked for unmasking");
  Stage stage(world, "lists");
  finding.Require("keys come", stage.Advertise());
  const std::vector<Bytes>& all = stage.advertisements();
  const Bytes shorter = Stage::Directory({all[kFirst], all[kVictim], all[kSecond], all[kColluder]});
  const Answer apart = stage.GiveKeys(kFirst, shorter);
  finding.Expect("a shorter list", apart, "done");
  const Bytes full = Stage::Directory(all);
  finding.Expect("the full list", stage.GiveKeys(kVictim, full), "done");
  const auto dealt =
      secagg::DecodeShareKeys(secagg::SplitMessage(MessageKind::kShareKeys, apart.message)->body);

  const auto others = stage.ViewOf(full);
  const ByteSpan sealed = dealt->shares.Of(kVictim);
  const Answer ack = stage.GiveShares(
      kVictim, {.session = others->id(),
                .member = kVictim,
                .shares = {.members = {kFirst}, .sealed = Bytes(sealed.begin(), sealed.end())}});
  finding.Expect("its seals", ack, "done");
  finding.Require("nobody can open them", AcknowledgedBy(ack).empty());

  stage.Follow(stage.ViewOf(shorter));
  stage.dealt().emplace(kFirst, *dealt);
  finding.Expect(
      "no shares at all",
      stage.GiveShares(kFirst, {.session = stage.view().id(), .member = kFirst, .shares = {}}),
      "done");
  const std::vector<MemberIndex> four = {kFirst, kVictim, kSecond, kColluder};
  const secagg::RoundTerms terms = stage.Terms(1, four);
  finding.Expect("a round of its session", stage.Open(kFirst, terms), "done");
  finding.Expect("the same for another", stage.Open(kVictim, terms), "SESSION_LOST");
  const Answer own = stage.Tell(kFirst, 1, four);
  finding.Expect("survivors", own, "done");
  finding.Expect("unmasking on two signatures",
                 stage.Unmask(kFirst, 1, {own.message, stage.ColludersSignature(terms, four)}),
                 "NOT_ENOUGH_SIGNATURES");
  finding.Learn(stage.Search());
}

void AddsASybil(World& world, Finding& finding) {
  finding.Did(
      "added members whom the authority does not know: of another authority with the same "
      "name, and itself; then with that authority's roster");
  support::TestPki foreign(world.coordinator.party().federation);
  const identity::Identity sybil = foreign.Load(v1::PARTY_ROLE_SITE, "zz-sybil");
  Stage stage(world, "sybil");
  v1::SessionManifest manifest = stage.Manifest();
  v1::ManifestMember* member = manifest.add_members();
  member->set_site("zz-sybil");
  member->set_certificate(sybil.certificate().pem());
  manifest.set_threshold(4);
  finding.Expect("another authority's site", stage.Begin(kFirst, stage.Signed(manifest)),
                 "UNKNOWN_CERTIFICATE");
  member->set_certificate(world.coordinator.certificate().pem());
  finding.Expect("the coordinator as a site", stage.Begin(kFirst, stage.Signed(manifest)),
                 "UNKNOWN_CERTIFICATE");
  member->set_certificate(sybil.certificate().pem());
  manifest.set_roster(storage::ReadFile(foreign.roster_path(), 1u << 20).value());
  finding.Expect("another authority's roster", stage.Begin(kFirst, stage.Signed(manifest)),
                 "UNKNOWN_CERTIFICATE");
}

// One manifest for each change.
template <typename... Changes>
void ExpectOfManifests(World& world, Finding& finding, const std::string& job,
                       std::string_view reason, Changes... changes) {
  Stage stage(world, job);
  const auto expect = [&](auto change) {
    v1::SessionManifest manifest = stage.Manifest();
    change(manifest);
    finding.Expect("a manifest", stage.Begin(kFirst, stage.Signed(manifest)), reason);
  };
  (expect(changes), ...);
}

void LowersTheThreshold(World& world, Finding& finding) {
  finding.Did("began sessions with a threshold of two, of one, and with no colluders planned for");
  ExpectOfManifests(
      world, finding, "threshold", "THRESHOLD_TOO_LOW", [](auto& m) { m.set_threshold(2); },
      [](auto& m) { m.set_threshold(1); },
      [](auto& m) {
        m.set_colluders(0);
        m.set_threshold(3);
      });
}

void MakesTheGroupTooSmall(World& world, Finding& finding) {
  finding.Did(
      "began a session that may reveal sums over two, one of two members, and rounds over "
      "three participants or without the site");
  ExpectOfManifests(world, finding, "group", "GROUP_TOO_SMALL",
                    [](auto& m) { m.set_min_group(2); });
  ExpectOfManifests(world, finding, "pair", "MALFORMED",
                    [](auto& m) { m.mutable_members()->DeleteSubrange(2, 3); });
  Stage stage(world, "few");
  finding.Require("a session is set up", stage.SetUp());
  const auto open = [&](const std::vector<MemberIndex>& participants) {
    return stage.Open(kFirst, stage.Terms(1, participants));
  };
  finding.Expect("three participants", open({kFirst, kVictim, kColluder}), "GROUP_TOO_SMALL");
  finding.Expect("without the site", open(Without(kFirst)), "NOT_A_PARTICIPANT");
  finding.Expect("with nobody known", open({0, 1, 2, 3, 5}), "NOT_A_PARTICIPANT");
  finding.Learn(stage.Search());
}

void RepeatsSitesAndKeys(World& world, Finding& finding) {
  finding.Did(
      "named a site twice, gave two members one certificate, and let the colluder repeat "
      "the victim's mask keys as its own");
  ExpectOfManifests(
      world, finding, "twice", "UNKNOWN_CERTIFICATE",
      [](auto& m) { *m.mutable_members(2) = m.members(1); },
      [](auto& m) { m.mutable_members(2)->set_certificate(m.members(1).certificate()); });
  Stage stage(world, "repeated");
  finding.Require("keys come", stage.Advertise());
  std::vector<Bytes> messages = stage.advertisements();
  secagg::AdvertisedKeys copied = KeysIn(messages[kColluder]);
  copied.mask_keys = KeysIn(messages[kVictim]).mask_keys;
  messages[kColluder] = stage.colluder().Sign(MessageKind::kAdvertiseKeys, secagg::Encode(copied));
  finding.Expect("the victim's keys twice", stage.GiveKeys(kFirst, Stage::Directory(messages)),
                 "KEY_INVALID");
}

void OffersPointsOfLowOrder(World& world, Finding& finding) {
  finding.Did("let the colluder advertise a channel key and a mask key of low order");
  Stage stage(world, "low");
  finding.Require("keys come", stage.Advertise());
  std::vector<Bytes> messages = stage.advertisements();
  const auto advertise = [&](auto change) {
    secagg::AdvertisedKeys low = KeysIn(stage.advertisements()[kColluder]);
    change(low);
    messages[kColluder] = stage.colluder().Sign(MessageKind::kAdvertiseKeys, secagg::Encode(low));
    return Stage::Directory(messages);
  };
  finding.Expect("a channel key of low order",
                 stage.GiveKeys(kFirst, advertise([](auto& keys) { keys.channel_key = {}; })),
                 "KEY_INVALID");
  const Bytes directory = advertise([](auto& keys) { keys.mask_keys[0] = {1}; });
  finding.Expect("a mask key of low order", stage.GiveKeys(kFirst, directory), "done");
  stage.Follow(stage.ViewOf(directory));
  finding.Expect(
      "no shares",
      stage.GiveShares(kFirst, {.session = stage.view().id(), .member = kFirst, .shares = {}}),
      "done");
  finding.Expect("a round with that key", stage.Open(kFirst, stage.Terms(1, Everybody())),
                 "KEY_INVALID");
  finding.Learn(stage.Search());
}

void SwapsSeals(World& world, Finding& finding) {
  finding.Did("swapped seals between receivers, dealers, rounds and sessions");
  Stage stage(world, "seals");
  finding.Require("shares come", stage.Advertise() && stage.Deal());
  secagg::DeliveredShares delivery{.session = stage.view().id(), .member = kFirst, .shares = {}};
  const auto append = [&](MemberIndex dealer, ByteSpan sealed) {
    delivery.shares.members.push_back(dealer);
    delivery.shares.sealed.insert(delivery.shares.sealed.end(), sealed.begin(), sealed.end());
  };
  append(kVictim, stage.dealt().at(kVictim).shares.Of(kSecond));  // For another receiver.
  append(kSecond, stage.dealt().at(kVictim).shares.Of(kFirst));   // Of another dealer.
  const ByteSpan third = stage.dealt().at(kThird).shares.Of(kFirst);
  Bytes turned(third.begin() + secagg::kSealedSharesBytes, third.end());  // Rounds 2, 3, …, 1.
  turned.insert(turned.end(), third.begin(), third.begin() + secagg::kSealedSharesBytes);
  append(kThird, turned);
  append(kColluder, stage.dealt().at(kColluder).shares.Of(kFirst));  // Untouched.
  const Answer ack = stage.GiveShares(kFirst, delivery);
  finding.Expect("swapped seals", ack, "done");
  finding.Require("only the untouched ones are taken",
                  AcknowledgedBy(ack) == std::vector<MemberIndex>{kColluder});

  Stage other(world, "seals");
  finding.Require("shares come", other.Advertise() && other.Deal());
  delivery = stage.DeliveryTo(kFirst, Everybody());
  finding.Expect("another session's delivery", other.GiveShares(kFirst, delivery), "SESSION_LOST");
  delivery.session = other.view().id();
  const Answer none = other.GiveShares(kFirst, delivery);
  finding.Expect("another session's seals", none, "done");
  finding.Require("none is taken", AcknowledgedBy(none).empty());
}

void RepeatsANonceOverAKill(World& world, Finding& finding) {
  finding.Did("had a site's agent killed, and began a session under a nonce of before");
  Stage stage(world, "nonce-kill");
  v1::SessionManifest manifest = stage.Manifest();
  finding.Expect("a session", stage.Begin(kFirst, stage.Signed(manifest)), "done");
  finding.Require("the agent is back", KillAndAwait(stage, kFirst));
  finding.Expect("the nonce again", stage.Begin(kFirst, stage.Signed(manifest)),
                 "SESSION_REPLAYED");
}

void ChoosesNeighbours(World& world, Finding& finding) {
  finding.Did("began a session in which sites share with neighbours of its choice");
  ExpectOfManifests(world, finding, "neighbours", "PARAMETERS_NOT_APPROVED", [](auto& m) {
    m.mutable_neighbors()->set_out_degree(2);
    m.mutable_neighbors()->set_share_threshold(2);
    m.mutable_neighbors()->set_dropout_permille(100);
  });
}

void RepeatsANonce(World& world, Finding& finding) {
  finding.Did(
      "began sessions under a nonce used before: the same manifest, another one, another "
      "job's");
  Stage stage(world, "nonce");
  v1::SessionManifest manifest = stage.Manifest();
  finding.Expect("a session", stage.Begin(kFirst, stage.Signed(manifest)), "done");
  finding.Expect("the same manifest", stage.Begin(kFirst, stage.Signed(manifest)),
                 "SESSION_REPLAYED");
  const std::string nonce = manifest.nonce();
  manifest = stage.Manifest();
  manifest.set_nonce(nonce);
  manifest.set_num_rounds(2);
  finding.Expect("another manifest", stage.Begin(kFirst, stage.Signed(manifest)),
                 "SESSION_REPLAYED");
  Stage other(world, "another-job");
  manifest = other.Manifest();
  manifest.set_nonce(nonce);
  finding.Expect("another job's", other.Begin(kFirst, other.Signed(manifest)), "SESSION_REPLAYED");
}

}  // namespace

std::vector<Attack> SetupAttacks() {
  return {{0, "no attack", HonestRound},
          {1, "another's key", SubstitutesAKey},
          {2, "different lists of keys", ShowsDifferentLists},
          {3, "invented members", AddsASybil},
          {4, "low threshold", LowersTheThreshold},
          {5, "small group", MakesTheGroupTooSmall},
          {6, "a site or a key twice", RepeatsSitesAndKeys},
          {7, "points of low order", OffersPointsOfLowOrder},
          {20, "swapped seals", SwapsSeals},
          {23, "chosen neighbours", ChoosesNeighbours},
          {24, "used nonce", RepeatsANonce},
          {24, "used nonce, after kill -9", RepeatsANonceOverAKill, /*kills=*/true}};
}

}  // namespace chorale::adversary
