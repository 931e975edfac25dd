#include <algorithm>
#include <array>
#include <chrono>
#include <thread>
#include <utility>

#include "tests/adversary/attacks.h"

// Lies during a round: five sites, threshold four, one of them on the coordinator's side.
namespace chorale::adversary {
namespace {

constexpr std::array<MemberIndex, 4> kRealSites = {kFirst, kVictim, kSecond, kThird};

// Everybody has masked for round 1.
secagg::RoundTerms MaskAll(Stage& stage, Finding& finding) {
  finding.Require("a session is set up", stage.SetUp());
  secagg::RoundTerms terms = stage.Terms(1, Everybody());
  finding.Require("everybody masks", stage.OpenAll(terms));
  return terms;
}

Bytes ModelBeginningWith(const Stage& stage, std::uint8_t first) {
  Bytes model(stage.model_bytes());  // Zeros; the first number is tiny.
  model[0] = first;
  return model;
}

crypto::Digest DigestOf(const Bytes& content) {
  return crypto::DigestFromBytes(AsBytes(Named(content).first.digest())).value();
}

void GivesAnotherModel(World& world, Finding& finding) {
  finding.Did(
      "sent a site other bytes than it named, another model than the round's, and, with "
      "every digest to match, a model of its own to one site");
  Stage stage(world, "model");
  finding.Require("a session is set up", stage.SetUp());
  const Bytes model = ModelBeginningWith(stage, 1);
  const Bytes other = ModelBeginningWith(stage, 2);
  const v1::BlobDescriptor named = Named(model).first;
  const v1::BlobDescriptor other_named = Named(other).first;
  secagg::RoundTerms terms = stage.Terms(1, Everybody(), Work::kTraining);
  terms.model = DigestOf(model);
  finding.Expect("another model than the round's",
                 stage.OpenTraining(kFirst, terms, other, other_named), "MODEL_MISMATCH");
  finding.Expect("other bytes than named", stage.OpenTraining(kFirst, terms, other, named),
                 "TASK_INVALID");

  terms = stage.Terms(2, Everybody(), Work::kTraining);
  terms.model = DigestOf(model);
  secagg::RoundTerms own = terms;
  own.model = DigestOf(other);
  for (const MemberIndex member : Everybody()) {
    const bool is_victim = member == kVictim;
    finding.Expect("a round",
                   stage.OpenTraining(member, is_victim ? own : terms, is_victim ? other : model,
                                      is_victim ? other_named : named),
                   "done");
  }
  std::vector<Bytes> signatures;
  for (const MemberIndex member : kRealSites) {
    const Answer answer = stage.Tell(member, 2, Everybody());
    finding.Expect("survivors", answer, "done");
    signatures.push_back(answer.message);
  }
  signatures.push_back(stage.ColludersSignature(terms, Everybody()));
  for (const MemberIndex member : kRealSites) {
    finding.Expect("signatures that differ", stage.Unmask(member, 2, signatures), "EQUIVOCATION");
  }
  finding.Learn(stage.Search());
}

void AsksForAnotherTask(World& world, Finding& finding) {
  finding.Did(
      "opened rounds of another task, encoding or size than the site approved, began a "
      "session of another job, and changed the signed job");
  Stage stage(world, "task");
  finding.Require("a session is set up", stage.SetUp());
  const auto open = [&](auto change) {
    secagg::RoundTerms terms = stage.Terms(1, Everybody());
    change(terms);
    return stage.Open(kFirst, terms);
  };
  constexpr std::string_view kNot = "PARAMETERS_NOT_APPROVED";
  finding.Expect("another task", open([](auto& terms) { terms.task[31] ^= 1; }), kNot);
  finding.Expect("another encoding", open([](auto& terms) { terms.encoding[0] ^= 1; }), kNot);
  finding.Expect("another size", open([](auto& terms) { terms.vector_bytes += 8; }), kNot);
  v1::SessionManifest manifest = stage.Manifest();
  manifest.mutable_job_digest()->front() ^= 1;
  finding.Expect("another job", stage.Begin(kFirst, stage.Signed(manifest)), kNot);
  v1::JobSpec spec = world.job;
  spec.mutable_training()->set_batch_size(1);
  stage.signed_job().set_spec(spec.SerializeAsString());
  finding.Expect("a changed job", stage.Open(kFirst, stage.Terms(1, Everybody())),
                 "SIGNATURE_INVALID");
  finding.Learn(stage.Search());
}

void OpensARoundTwice(World& world, Finding& finding) {
  finding.Did("opened one round twice, with and without a participant");
  Stage stage(world, "open-twice");
  finding.Require("a session is set up", stage.SetUp());
  finding.Expect("a round", stage.Open(kFirst, stage.Terms(1, Everybody())), "done");
  finding.Expect("the round with others", stage.Open(kFirst, stage.Terms(1, Without(kThird))),
                 "EQUIVOCATION");
  finding.Expect("survivors of it", stage.Tell(kFirst, 1, Everybody()), "ROUND_ABORTED");
  finding.Learn(stage.Search());
}

void Replays(World& world, Finding& finding) {
  finding.Did(
      "replayed an earlier round and one of an earlier session, and opened a round beyond the "
      "last");
  Stage stage(world, "replay");
  finding.Require("a session is set up", stage.SetUp());
  const secagg::RoundTerms early = stage.Terms(1, Everybody());
  const std::string task = stage.NextTaskId(kFirst);
  finding.Expect("round 2", stage.OpenAs(task, kFirst, stage.Terms(2, Everybody())), "done");
  finding.Expect("round 1 after it", stage.Open(kFirst, early), "ROUND_REPLAYED");
  finding.Expect("a round beyond the last",
                 stage.Open(kFirst, stage.Terms(kNumRounds + 1, Everybody())), "ROUND_REPLAYED");
  Stage later(world, "replay");
  finding.Require("a later session is set up", later.SetUp());
  finding.Expect("the earlier session's round", stage.Open(kFirst, stage.Terms(3, Everybody())),
                 "SESSION_LOST");
  finding.Expect("the earlier session's survivors", stage.Tell(kFirst, 2, Everybody()),
                 "SESSION_LOST");
  finding.Learn(stage.Search());
  finding.Learn(later.Search());
}

// What the real sites are told of the victim: bit set, that it is in the sum.
struct Split {
  std::map<bool, std::vector<Bytes>> signatures;
};
Split TellSplit(Stage& stage, Finding& finding, const secagg::RoundTerms& terms, unsigned told) {
  Split split;
  for (const MemberIndex member : kRealSites) {
    const bool is_in = member == kVictim || (told >> member & 1) != 0;
    const Answer answer = stage.Tell(member, 1, is_in ? Everybody() : Without(kVictim));
    finding.Expect("survivors", answer, "done");
    split.signatures[is_in].push_back(answer.message);
  }
  for (const bool is_in : {false, true}) {
    split.signatures[is_in].push_back(
        stage.ColludersSignature(terms, is_in ? Everybody() : Without(kVictim)));
  }
  return split;
}

void TellsOfTwoSums(World& world, Finding& finding) {
  finding.Did(
      "told two sites that the victim is in the sum and two that it is not; the colluder "
      "signed both");
  Stage stage(world, "two-sums");
  const secagg::RoundTerms terms = MaskAll(stage, finding);
  const Split split = TellSplit(stage, finding, terms, Bit(kFirst));
  finding.Expect("for it", stage.Unmask(kFirst, 1, split.signatures.at(true)),
                 "NOT_ENOUGH_SIGNATURES");
  finding.Expect("against it", stage.Unmask(kSecond, 1, split.signatures.at(false)),
                 "NOT_ENOUGH_SIGNATURES");
  std::vector<Bytes> all = split.signatures.at(true);
  all.insert(all.end(), split.signatures.at(false).begin(), split.signatures.at(false).end());
  for (const MemberIndex member : kRealSites) {
    finding.Expect("all of them", stage.Unmask(member, 1, all), "EQUIVOCATION");
  }
  finding.Learn(stage.Search());
}

// Every way to split the sites, each in a session and a job of its own.
void AsksForBothShares(World& world, Finding& finding) {
  finding.Did(
      "asked for the seed of the victim from some and for its key from the others, in each "
      "of eight splits; the colluder signed both and gave both");
  for (unsigned pattern = 0; pattern < 8; ++pattern) {
    const unsigned told = (pattern & 1) | (pattern & 2) << 1 | (pattern & 4) << 1;  // 0, 2 and 3.
    Stage stage(world, "split-" + std::to_string(pattern));
    const secagg::RoundTerms terms = MaskAll(stage, finding);
    const Split split = TellSplit(stage, finding, terms, told);
    for (const MemberIndex member : kRealSites) {
      const bool is_in = member == kVictim || (told >> member & 1) != 0;
      const bool has_enough = split.signatures.at(is_in).size() >= kThreshold;
      finding.Expect("shares", stage.Unmask(member, 1, split.signatures.at(is_in)),
                     has_enough ? "done" : "NOT_ENOUGH_SIGNATURES");
    }
    finding.LearnApart(stage.Search());
  }
}

void NamesOddSurvivors(World& world, Finding& finding) {
  finding.Did("named survivors twice, from outside of the round, and without the site itself");
  Stage stage(world, "survivors");
  finding.Require("a session is set up", stage.SetUp());
  const std::vector<MemberIndex> four = {kFirst, kVictim, kSecond, kColluder};
  finding.Require("four mask", stage.OpenAll(stage.Terms(1, four)));
  finding.Expect("twice", stage.Tell(kFirst, 1, {0, 1, 1, 2, 4}), "MALFORMED");
  finding.Expect("from outside", stage.Tell(kFirst, 1, {0, 1, 2, 3}), "CONFLICTING_SETS");
  finding.Expect("nobody known", stage.Tell(kFirst, 1, {0, 1, 2, 4, 999}), "CONFLICTING_SETS");
  finding.Expect("without the site", stage.Tell(kFirst, 1, {1, 2, 4}), "NOT_A_PARTICIPANT");
  finding.Learn(stage.Search());
}

void NamesTooFewSurvivors(World& world, Finding& finding) {
  finding.Did("named three survivors, and the victim alone");
  Stage stage(world, "few-survivors");
  MaskAll(stage, finding);
  finding.Expect("three", stage.Tell(kFirst, 1, {0, 1, 4}), "GROUP_TOO_SMALL");
  finding.Expect("the victim alone", stage.Tell(kVictim, 1, {1}), "GROUP_TOO_SMALL");
  finding.Learn(stage.Search());
}

void TakesALateVector(World& world, Finding& finding) {
  finding.Did(
      "declared the victim lost, had its key opened, and then used its vector, which had "
      "come");
  Stage stage(world, "late");
  const secagg::RoundTerms terms = MaskAll(stage, finding);
  const std::vector<Bytes> signatures = stage.TellAll(terms, Without(kVictim));
  finding.Require("all but the victim sign", signatures.size() == 4);
  for (const MemberIndex member : {kFirst, kSecond, kThird}) {
    finding.Expect("shares", stage.Unmask(member, 1, signatures), "done");
  }
  finding.Expect("the victim's shares", stage.Unmask(kVictim, 1, signatures), "ROUND_ABORTED");
  finding.Learn(stage.Search());
}

void UnmasksTwice(World& world, Finding& finding) {
  finding.Did("asked to unmask again: on fewer signatures, then for other survivors");
  Stage stage(world, "unmask-twice");
  const secagg::RoundTerms terms = MaskAll(stage, finding);
  std::vector<Bytes> signatures = stage.TellAll(terms, Everybody());
  for (const MemberIndex member : kRealSites) {
    finding.Expect("shares", stage.Unmask(member, 1, signatures), "done");
  }
  signatures.pop_back();
  finding.Expect("on fewer signatures", stage.Unmask(kFirst, 1, signatures), "ALREADY_UNMASKED");
  finding.Expect("for other survivors", stage.Tell(kFirst, 1, Without(kVictim)), "EQUIVOCATION");
  finding.Expect("once more", stage.Unmask(kFirst, 1, signatures), "ROUND_ABORTED");
  finding.Learn(stage.Search());
}

void UnmasksWhatIsOver(World& world, Finding& finding) {
  finding.Did("asked to unmask a round after the next had been opened, and one past its deadline");
  Stage stage(world, "over");
  const secagg::RoundTerms terms = MaskAll(stage, finding);
  const std::vector<Bytes> signatures = stage.TellAll(terms, Everybody());
  secagg::RoundTerms second = stage.Terms(2, Everybody());
  second.deadline = second.sent_at + std::chrono::seconds(1);
  for (const MemberIndex member : {kFirst, kSecond}) {
    finding.Expect("the next round", stage.Open(member, second), "done");
    finding.Expect("shares of the first", stage.Unmask(member, 1, signatures), "ROUND_ABORTED");
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  finding.Expect("survivors after the deadline", stage.Tell(kFirst, 2, Everybody()),
                 "ROUND_ABORTED");
  finding.Learn(stage.Search());
}

void AsksForRetransmission(World& world, Finding& finding) {
  finding.Did(
      "lost a vector on the way and had it sent again, then asked for it once more, and "
      "over other participants");
  Stage stage(world, "again");
  finding.Require("a session is set up", stage.SetUp());
  const secagg::RoundTerms terms = stage.Terms(1, Everybody());
  const std::string task = stage.NextTaskId(kVictim);
  stage.wire().LoseFirstReport(task);
  const Answer vector = stage.OpenAs(task, kVictim, terms);
  finding.Expect("a vector that is lost", vector, "done");
  finding.Require("it came twice, with the same bytes",
                  vector.num_copies == 2 && vector.are_copies_equal);
  finding.Expect("the same round again", stage.Open(kVictim, terms), "ROUND_REPLAYED");
  finding.Expect("over others", stage.Open(kVictim, stage.Terms(1, Without(kThird))),
                 "EQUIVOCATION");
  finding.Learn(stage.Search());
}

void ForgesSignatures(World& world, Finding& finding) {
  finding.Did("asked for shares on no, three, repeated, spoiled and borrowed signatures");
  Stage stage(world, "signatures");
  const secagg::RoundTerms terms = MaskAll(stage, finding);
  const std::vector<Bytes> all = stage.TellAll(terms, Everybody());
  finding.Require("everybody signs", all.size() == 5);
  const Bytes& own = all[kFirst];
  const std::vector<Bytes> three = {own, all[kSecond], all[kColluder]};
  const auto with = [&](const Bytes& fourth) {
    std::vector<Bytes> signatures = three;
    signatures.push_back(fourth);
    return signatures;
  };
  Bytes spoiled = all[kThird];
  spoiled.back() ^= 1;
  const auto statement = secagg::DecodeConsistencySignature(
      secagg::SplitMessage(MessageKind::kConsistencySignature, all[kThird])->body);
  const Bytes by_coordinator =
      secagg::SignMessage(MessageKind::kConsistencySignature, secagg::Encode(*statement),
                          world.coordinator.signing_key());
  const Bytes by_colluder =
      stage.colluder().Sign(MessageKind::kConsistencySignature, secagg::Encode(*statement));
  constexpr std::string_view kTooFew = "NOT_ENOUGH_SIGNATURES";
  finding.Expect("none", stage.Unmask(kFirst, 1, {}), kTooFew);
  finding.Expect("three", stage.Unmask(kFirst, 1, three), kTooFew);
  finding.Expect("one five times", stage.Unmask(kFirst, 1, {own, own, own, own, own}), kTooFew);
  finding.Expect("a spoiled one", stage.Unmask(kFirst, 1, with(spoiled)), kTooFew);
  finding.Expect("another's, by the coordinator", stage.Unmask(kFirst, 1, with(by_coordinator)),
                 kTooFew);
  finding.Expect("another's, by the colluder", stage.Unmask(kFirst, 1, with(by_colluder)), kTooFew);
  finding.Learn(stage.Search());
}

// For the sum without the victim; and on to its end, should sites consent.
void AsksForTheRest(Stage& stage, std::uint32_t round, Finding& finding) {
  const secagg::RoundTerms terms = stage.Terms(round, Everybody());
  finding.Require("everybody masks", stage.OpenAll(terms));
  std::vector<Bytes> signatures;
  for (const MemberIndex member : {kFirst, kSecond, kThird}) {
    const Answer answer = stage.Tell(member, round, Without(kVictim));
    finding.Expect("the sum without the victim", answer, "DIFFERENCING");
    if (!answer.is_refused()) signatures.push_back(answer.message);
  }
  if (!signatures.empty()) {
    signatures.push_back(stage.ColludersSignature(terms, Without(kVictim)));
    for (const MemberIndex member : {kFirst, kSecond, kThird}) {
      (void)stage.Unmask(member, round, signatures);
    }
  }
  finding.Learn(stage.Search());
}

void SubtractsSumsOverAKill(World& world, Finding& finding) {
  finding.Did(
      "revealed the sum over all, had a site's agent killed, and asked for the sum without "
      "the victim in a new session");
  Stage stage(world, "difference-kill");
  finding.Require("a session is set up", stage.SetUp());
  finding.Require("the first sum is revealed", stage.Reveal(1, Everybody()));
  finding.Learn(stage.Search());
  finding.Require("the agent is back", KillAndAwait(stage, kFirst));
  Stage later(world, "difference-kill");
  finding.Require("a new session is set up", later.SetUp());
  AsksForTheRest(later, 1, finding);
}

void SubtractsSums(World& world, Finding& finding) {
  finding.Did(
      "revealed the sum over all, then asked for the one without the victim: in the next "
      "round, in a new session, and in one of the same signed job under another name");
  Stage stage(world, "difference");
  finding.Require("a session is set up", stage.SetUp());
  finding.Require("the first sum is revealed", stage.Reveal(1, Everybody()));
  AsksForTheRest(stage, 2, finding);
  Stage later(world, "difference");
  finding.Require("a new session is set up", later.SetUp());
  AsksForTheRest(later, 1, finding);
  Stage renamed(world, "difference", "difference-2");
  finding.Require("a session under another name is set up", renamed.SetUp());
  AsksForTheRest(renamed, 1, finding);
}

void ClaimsAResult(World& world, Finding& finding) {
  finding.Did(
      "took the shares of two sites and of the colluder, one short of the threshold, and "
      "tried everything");
  Stage stage(world, "claim");
  const secagg::RoundTerms terms = MaskAll(stage, finding);
  const std::vector<Bytes> signatures = stage.TellAll(terms, Everybody());
  for (const MemberIndex member : {kFirst, kVictim}) {
    finding.Expect("shares", stage.Unmask(member, 1, signatures), "done");
  }
  const Learned learned = stage.Search();
  finding.Require("no sum comes out", std::ranges::all_of(learned.sums, [](Members sum) {
                    return sum == Bit(kColluder);
                  }));
  finding.Learn(learned);
}

}  // namespace

std::vector<Attack> RoundAttacks() {
  return {{8, "another model for one site", GivesAnotherModel},
          {9, "another task or encoding", AsksForAnotherTask},
          {10, "one round opened twice", OpensARoundTwice},
          {11, "replays", Replays},
          {12, "two sets of survivors", TellsOfTwoSums},
          {13, "both kinds of share", AsksForBothShares},
          {14, "odd survivors", NamesOddSurvivors},
          {15, "too few survivors", NamesTooFewSurvivors},
          {16, "a late vector", TakesALateVector},
          {17, "unmasking twice", UnmasksTwice},
          {18, "unmasking what is over", UnmasksWhatIsOver},
          {19, "retransmission", AsksForRetransmission},
          {21, "forged signatures", ForgesSignatures},
          {22, "sums that differ by one site", SubtractsSums},
          {22, "such sums, after kill -9", SubtractsSumsOverAKill, /*kills=*/true},
          {25, "a result without shares", ClaimsAResult}};
}

}  // namespace chorale::adversary
