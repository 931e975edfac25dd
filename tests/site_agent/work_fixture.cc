#include "tests/site_agent/work_fixture.h"

#include "core/rpc/chunks.h"
#include "jobs/signed_job.h"

namespace chorale::site_agent {
namespace {

void SetMoments(google::protobuf::RepeatedPtrField<v1::FeatureMoments>& moments) {
  v1::FeatureMoments& age = *moments.Add();
  age.set_mean(60);
  age.set_standard_deviation(10);
}

}  // namespace

Status MemorySource::Fetch(const TaskId&, const crypto::BlobId& blob, std::uint64_t,
                           const std::function<Status(const v1::Chunk&)>& accept, Cancellation&) {
  ++num_fetches;
  const auto found = contents_.find(ToString(blob.digest));
  if (found == contents_.end()) return NotFound("no such blob");
  Status refused;
  (void)rpc::SendBytes(found->second, [&](v1::Chunk&& chunk) {
    refused = accept(chunk);
    return refused.ok();
  });
  return refused;
}

v1::BlobDescriptor MemorySource::Add(ByteSpan content) {
  v1::BlobDescriptor name = rpc::ToProto(crypto::IdentifyBlob(content));
  Swap(name, content);
  return name;
}

void MemorySource::Swap(const v1::BlobDescriptor& name, ByteSpan content) {
  contents_[name.digest()] = Bytes(content.begin(), content.end());
}

support::TestPki* WorkFixture::pki_ = nullptr;
identity::Identity* WorkFixture::ada_ = nullptr;

void WorkFixture::SetUpTestSuite() {
  pki_ = new support::TestPki();
  ada_ = new identity::Identity(pki_->Load(v1::PARTY_ROLE_RESEARCHER, "ada"));
}

void WorkFixture::TearDownTestSuite() {
  delete ada_;
  delete pki_;
}

WorkFixture::WorkFixture() { WriteFile(directory_.path() / "heart.csv", MakeCsv(40, 20)); }

v1::Task WorkFixture::TrainingTask(std::uint32_t round) {
  v1::Task task;
  task.set_task_id("j1/" + std::to_string(round) + "/1/north");
  task.set_job_id("j1");
  task.set_round(round);
  *task.mutable_job() = jobs::SignJob(spec_, *ada_);
  *task.mutable_training()->mutable_global_model() = source_.Add(AsBytes(model_));
  SetMoments(*task.mutable_training()->mutable_moments());
  return task;
}

v1::Task WorkFixture::PreparationTask() {
  v1::Task task = TrainingTask(0);
  task.mutable_preparation();
  return task;
}

v1::Task WorkFixture::NewtonTask(const std::vector<double>& coefficients) {
  v1::Task task = TrainingTask();
  *task.mutable_newton()->mutable_coefficients() = source_.Add(AsBytes(coefficients));
  SetMoments(*task.mutable_newton()->mutable_moments());
  return task;
}

v1::Task WorkFixture::PersonalizationTask() {
  v1::Task task = TrainingTask(spec_.rounds().count() + 1);
  *task.mutable_personalization()->mutable_global_model() = source_.Add(AsBytes(model_));
  SetMoments(*task.mutable_personalization()->mutable_moments());
  return task;
}

WorkOutcome WorkFixture::Run(const v1::Task& task) {
  if (work_ == nullptr) {
    journal_ = *Journal::Open(config_.state_directory());
    work_ = std::make_unique<Work>(WorkParts{.config = config_,
                                             .config_directory = directory_.path(),
                                             .root = ada_->root(),
                                             .site = "north",
                                             .trainer = trainer_pointer_,
                                             .blobs = source_,
                                             .clock = clock_,
                                             .random = random_,
                                             .journal = *journal_});
  }
  return work_->Run(task, cancellation_,
                    {.on_admitted = [this] { ++num_admitted_; }, .on_progress = [](double) {}});
}

Report WorkFixture::Done(const v1::Task& task) {
  WorkOutcome outcome = Run(task);
  if (auto* done = std::get_if<WorkDone>(&outcome)) return std::move(done->report);
  const auto* refusal = std::get_if<Refusal>(&outcome);
  ADD_FAILURE() << (refusal == nullptr ? "cancelled" : NameOf(refusal->code));
  return {};
}

Report WorkFixture::RunAndRelease(const v1::Task& task) {
  WorkOutcome outcome = Run(task);
  auto* done = std::get_if<WorkDone>(&outcome);
  if (done == nullptr) {
    ADD_FAILURE() << "not done";
    return {};
  }
  ReleaseGuard guard(outlet_, *journal_, clock_, {});
  const Status passed = guard.Release(done->terms, done->report);
  EXPECT_TRUE(passed.ok()) << passed;
  return std::move(done->report);
}

std::string WorkFixture::CodeOf(const v1::Task& task) {
  const WorkOutcome outcome = Run(task);
  const auto* refusal = std::get_if<Refusal>(&outcome);
  return refusal == nullptr ? "no refusal" : std::string(NameOf(refusal->code));
}

void WorkFixture::Restart() {
  work_.reset();
  journal_.reset();
}

}  // namespace chorale::site_agent
