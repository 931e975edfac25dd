#include "coordinator/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "coordinator/job_event_codec.h"
#include "core/crypto/signature.h"
#include "tests/support/test_pki.h"
#include "tests/support/valid_job.h"

namespace chorale::coordinator {
namespace {

using testing::ElementsAre;

const Time kNow{std::chrono::seconds(1'000'000)};
const crypto::BlobId kModel{.size_bytes = 16, .digest = {0xab}};

JobEntry EntryOf(const v1::JobSpec& spec) {
  StoredSubmission submission{.id = JobId("j1"),
                              .researcher = ResearcherId("ada"),
                              .idempotency_key = "key",
                              .envelope = {},
                              .submitted_at = kNow};
  submission.envelope.set_spec(spec.SerializeAsString());
  return *MakeEntry(std::move(submission), {});
}

void Step(JobEntry& entry, const JobEvent& event) {
  const auto actions = entry.machine.Step(event, kNow);
  ASSERT_TRUE(actions.ok()) << actions.status();
}

// A job of three sites whose rounds publish with north and south while east refuses.
JobEntry EntryAfter(int num_rounds) {
  v1::JobSpec spec = support::ValidJob();
  spec.mutable_rounds()->set_count(10000);
  JobEntry entry = EntryOf(spec);
  Step(entry, JobStarted{kModel});
  for (int i = 0; i < num_rounds; ++i) {
    Step(entry, CohortSelected{{SiteId("east"), SiteId("north"), SiteId("south")}});
    const RoundKey key = entry.machine.round()->key();
    Step(entry, SiteRefused{key, SiteId("east"), {"BUSY", "later"}});
    Step(entry, SiteReported{key, SiteId("north"), {.payload = kModel, .num_examples = 3}});
    Step(entry, SiteReported{key, SiteId("south"), {.payload = kModel, .num_examples = 4}});
    Step(entry, RoundAggregated{kModel});
  }
  return entry;
}

TEST(ManifestTest, SaysWhatMadeTheModel) {
  const auto manifest = nlohmann::json::parse(MakeManifest(EntryAfter(2), kModel));

  EXPECT_EQ(manifest["job"], "j1");
  EXPECT_EQ(manifest["researcher"], "ada");
  EXPECT_EQ(manifest["seed"], 7);
  EXPECT_EQ(manifest["published_rounds"], 2);
  EXPECT_EQ(manifest["weights"]["num_parameters"], 4);
  EXPECT_EQ(manifest["weights"]["digest"], ToHex(kModel.digest));
  ASSERT_EQ(manifest["rounds"].size(), 2u);
  EXPECT_THAT(manifest["rounds"][0]["participants"], ElementsAre("north", "south"));
  EXPECT_EQ(manifest["rounds"][0]["excluded"][0]["site"], "east");
  EXPECT_EQ(manifest["rounds"][0]["excluded"][0]["code"], "BUSY");
  EXPECT_EQ(manifest["rounds"][0]["num_examples"], 7);
  EXPECT_EQ(manifest["rounds_omitted"], 0);
}

TEST(ManifestTest, SaysHowTheModelWasMade) {
  const JobEntry entry = EntryAfter(1);
  const auto manifest = nlohmann::json::parse(MakeManifest(entry, kModel));

  EXPECT_EQ(manifest["graph_sha256"], ToHex(entry.graph_digest));
  EXPECT_EQ(manifest["algorithm"]["name"], "fedavg");
  EXPECT_FALSE(manifest["algorithm"].contains("drift_control"));
  EXPECT_EQ(manifest["weights"]["numbers"], "float32");
  EXPECT_EQ(manifest["has_ended"], false);
  EXPECT_EQ(manifest["end_reason"], "");
}

TEST(ManifestTest, SaysHowASolutionWasFound) {
  v1::JobSpec spec = support::ValidJob();
  spec.clear_training();
  spec.clear_aggregation();
  spec.mutable_newton()->set_l2_penalty(0.5);
  JobEntry entry = EntryOf(spec);
  Step(entry, JobStarted{kModel});
  Step(entry, CohortSelected{{SiteId("north"), SiteId("south")}});
  const RoundKey key = entry.machine.round()->key();
  Step(entry, SiteReported{key, SiteId("north"), {.payload = kModel, .num_examples = 3}});
  Step(entry, SiteReported{key, SiteId("south"), {.payload = kModel, .num_examples = 4}});
  Step(entry,
       RoundAggregated{.result = kModel, .converged = "converged", .note = "collinear columns"});

  const auto manifest = nlohmann::json::parse(MakeManifest(entry, kModel));

  EXPECT_EQ(manifest["algorithm"]["name"], "newton");
  EXPECT_EQ(manifest["algorithm"]["l2_penalty"], 0.5);
  EXPECT_EQ(manifest["algorithm"]["tolerance"], 1e-10);
  EXPECT_EQ(manifest["weights"]["numbers"], "float64");
  EXPECT_EQ(manifest["end_reason"], "converged; collinear columns");
  EXPECT_EQ(manifest["rounds"][0]["phase"], "newton");
  EXPECT_EQ(manifest["rounds"][0]["reason"], "collinear columns");
}

TEST(ManifestTest, IsTheSameForTheSameJob) {
  EXPECT_EQ(MakeManifest(EntryAfter(2), kModel), MakeManifest(EntryAfter(2), kModel));
}

TEST(ManifestTest, StaysWithinItsBoundAndAccountsForEveryRound) {
  const std::string text = MakeManifest(EntryAfter(5000), kModel);
  const auto manifest = nlohmann::json::parse(text);

  EXPECT_LE(text.size(), 1u << 20);
  EXPECT_GT(manifest["rounds_omitted"], 0);
  EXPECT_EQ(manifest["rounds"].size() + manifest["rounds_omitted"].get<std::size_t>(), 5000u);
  EXPECT_EQ(manifest["rounds"].back()["round"], 5000);
  EXPECT_EQ(manifest["site_totals"]["north"]["reported"], 5000);
  EXPECT_EQ(manifest["site_totals"]["east"]["refused"], 5000);
}

TEST(ManifestTest, IsSignedByTheCoordinator) {
  support::TestPki pki;
  const identity::Identity coordinator = pki.Load(v1::PARTY_ROLE_COORDINATOR, "hub");

  const v1::PullModelHeader header = MakePullHeader(EntryAfter(1), kModel, coordinator);

  EXPECT_TRUE(crypto::VerifySignature(coordinator.party().signing_key, "chorale/v1/manifest",
                                      AsBytes(header.manifest()), AsBytes(header.signature()))
                  .ok());
  EXPECT_EQ(header.certificate(), coordinator.certificate().pem());
  EXPECT_EQ(header.weights().size_bytes(), 16u);
  EXPECT_EQ(header.layout().tensors_size(), 2);
}

}  // namespace
}  // namespace chorale::coordinator
