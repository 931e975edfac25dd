#include "tests/simulation/witness.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <span>
#include <utility>

#include "coordinator/task_table.h"
#include "core/storage/file.h"
#include "jobs/masking.h"
#include "jobs/privacy_spec.h"
#include "privacy/ledger/ledger.h"
#include "secagg/vector_spec.h"
#include "site_agent/promises.h"

namespace chorale::simulation {
namespace {

constexpr std::uint32_t kMostJobs = 100;
// Elements that are equal by chance once in 2^32 pairs: two of a vector, practically never.
constexpr std::size_t kMostEqualElements = 1;

std::string TaskNamed(const JobId& job, const v1::SiteReported& reported) {
  return coordinator::TaskIdOf(job,
                               {RoundNumber(reported.round()), reported.attempt(),
                                static_cast<coordinator::RoundStep>(reported.step())},
                               SiteId(reported.site()))
      .value();
}

// One mask in the ring of each element: what was added.
Bytes MaskOf(const secagg::VectorSpec& spec, const Bytes& masked, const Bytes& plain) {
  Bytes mask(masked.size());
  std::size_t at = 0;
  for (const secagg::Section& section : spec.sections()) {
    const std::size_t width = secagg::ElementBytes(section.bits);
    for (std::uint64_t i = 0; i < section.count; ++i, at += width) {
      int borrow = 0;
      for (std::size_t k = 0; k < width; ++k) {
        const int digit = int{masked[at + k]} - int{plain[at + k]} - borrow;
        mask[at + k] = static_cast<std::uint8_t>(digit);
        borrow = digit < 0 ? 1 : 0;
      }
    }
  }
  return mask;
}

std::size_t NumZeroElements(const secagg::VectorSpec& spec, const Bytes& mask) {
  std::size_t num_zero = 0;
  std::size_t at = 0;
  for (const secagg::Section& section : spec.sections()) {
    const std::size_t width = secagg::ElementBytes(section.bits);
    for (std::uint64_t i = 0; i < section.count; ++i, at += width) {
      const auto begin = mask.begin() + static_cast<std::ptrdiff_t>(at);
      num_zero += std::all_of(begin, begin + static_cast<std::ptrdiff_t>(width),
                              [](std::uint8_t byte) { return byte == 0; })
                      ? 1
                      : 0;
    }
  }
  return num_zero;
}

}  // namespace

std::optional<Witness::TaskName> Witness::Parse(const std::string& task) {
  std::vector<std::string> parts(1);
  for (const char c : task) {
    if (c == '/') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  if (parts.size() != 4 && parts.size() != 5) return std::nullopt;
  TaskName name{.job = parts[0], .is_step = parts.size() == 5, .step = ""};
  if (name.is_step) name.step = parts[3];
  std::from_chars(parts[1].data(), parts[1].data() + parts[1].size(), name.round);
  return name;
}

Witness::JobAccount* Witness::JobOf(const std::string& task) {
  const std::optional<TaskName> name = Parse(task);
  const auto job = name.has_value() ? jobs_.find(JobId(name->job)) : jobs_.end();
  return job == jobs_.end() ? nullptr : &job->second;
}

// ---------------------------------------------------------------------------- the coordinator

void Witness::AddJob(const coordinator::StoredSubmission& submission) {
  JobAccount account;
  if (!account.spec.ParseFromString(submission.envelope.spec())) {
    return world_.Violate("a stored job cannot be read");
  }
  account.signed_spec = submission.envelope.spec();
  account.rounds = RoundWitness(account.spec, parties_);
  for (const auto& [id, other] : jobs_) {
    if (other.spec.name() == account.spec.name()) {
      world_.Violate("one submission became two jobs: " + account.spec.name());
    }
  }
  jobs_.emplace(submission.id, std::move(account));
}

void Witness::Add(const JobId& id, const v1::JobEvent& event) {
  const auto job = jobs_.find(id);
  if (job == jobs_.end()) return world_.Violate("an event of a job that nobody stored");
  job->second.events.push_back(event.SerializeAsString());
  if (event.has_site_reported()) reported_.insert(TaskNamed(id, event.site_reported()));
  const std::size_t before = job->second.rounds.published().size();
  if (const Status sound = job->second.rounds.Add(event, blobs_); !sound.ok()) {
    world_.Violate("job " + job->second.spec.name() + ": " + MessageOf(sound));
  }
  if (job->second.rounds.published().size() == before) return;
  ++num_published_;
  world_.Tell("coordinator", "has published a round of ", id.value());
}

void Witness::Stored(const coordinator::Batch& batch) {
  for (const coordinator::StoredSubmission& submission : batch.submissions) AddJob(submission);
  for (const coordinator::Batch::Blob& blob : batch.kept) {
    if (blob.bytes != nullptr) blobs_[blob.id.digest] = *blob.bytes;
  }
  for (const coordinator::Batch::Event& event : batch.events) Add(event.job, event.event);
}

void Witness::Recovered(coordinator::JobStore& store, coordinator::Engine& engine) {
  const auto listed = store.ListJobs(kMostJobs);
  if (!listed.ok()) return;  // Told by whoever asked the store first.
  const auto blobs = store.ListBlobs();
  for (const crypto::BlobId& id : blobs.ok() ? *blobs : std::vector<crypto::BlobId>{}) {
    if (blobs_.contains(id.digest)) continue;
    if (const auto bytes = store.LoadBlob(id); bytes.ok()) blobs_[id.digest] = *bytes;
  }
  std::set<JobId> found;
  for (const v1::JobSummary& summary : *listed) {
    const JobId id(summary.job_id());
    const auto stored = store.LoadJob(id);
    if (!stored.ok()) return world_.Violate("a job cannot be read back: " + id.value());
    found.insert(id);
    if (!jobs_.contains(id)) AddJob(stored->submission);
    const std::vector<std::string>& known = jobs_.at(id).events;
    for (std::size_t i = 0; i < known.size(); ++i) {
      if (i >= stored->events.size() || stored->events[i].SerializeAsString() != known[i]) {
        return world_.Violate("a crash has lost event " + std::to_string(i + 1) + " of " +
                              std::to_string(known.size()) + " of job " + jobs_.at(id).spec.name());
      }
    }
    for (std::size_t i = known.size(); i < stored->events.size(); ++i) Add(id, stored->events[i]);
    // The process knows them too, and shows the rounds that are published.
    const auto shown = engine.Show(id);
    if (!shown.ok()) return world_.Violate("a job is not shown: " + MessageOf(shown.status()));
    std::vector<std::string> models;
    for (const v1::RoundRecord& record : shown->rounds()) {
      if (record.published() && !record.model_digest().empty()) {
        models.push_back(record.model_digest());
      }
    }
    const std::vector<PublishedRound>& published = jobs_.at(id).rounds.published();
    bool is_same = models.size() == published.size();
    for (std::size_t i = 0; is_same && i < models.size(); ++i) {
      is_same = models[i] == ToString(published[i].model);
    }
    if (!is_same) {
      return world_.Violate("after a restart job " + jobs_.at(id).spec.name() + " shows " +
                            std::to_string(models.size()) + " published rounds of " +
                            std::to_string(published.size()));
    }
    if (published.empty()) continue;
    const auto model = engine.FindModel(id);
    if (!model.ok() || model->id.digest != published.back().model) {
      return world_.Violate("after a restart the published model of job " +
                            jobs_.at(id).spec.name() + " is gone");
    }
  }
  for (const auto& [id, job] : jobs_) {
    if (!found.contains(id)) return world_.Violate("a crash has lost job " + job.spec.name());
  }
}

void Witness::Accepted(const JobId& job) {
  if (!jobs_.contains(job)) world_.Violate("a job is accepted that is not stored");
}

std::vector<JobId> Witness::Jobs() const {
  std::vector<JobId> ids;
  for (const auto& [id, job] : jobs_) ids.push_back(id);
  return ids;
}

// ---------------------------------------------------------------------------- sites

void Witness::Leaves(const std::string& site, const v1::SiteMessage& message) {
  if (message.message_case() == v1::SiteMessage::MESSAGE_NOT_SET) {
    world_.Violate("site " + site + " says something of no known kind");
  }
}

void Witness::Leaves(const std::string& site, const v1::ReportHeader& header, const Bytes& payload,
                     Machine& machine) {
  const std::string& task = header.task_id();
  const std::string frame = header.SerializeAsString() + ToString(payload);
  if (const auto [known, is_new] = frames_.emplace(task, frame); !is_new) {
    if (known->second != frame) {
      world_.Violate("site " + site + " sends other bytes than before for " + task);
    }
    return;
  }
  const JobAccount* const job = JobOf(task);
  if (job == nullptr) return world_.Violate("a report of no job: " + task);
  const TaskName name = *Parse(task);
  if (name.is_step) return CheckPromised(site, *job, name, machine);
  if (jobs::IsPrivate(job->spec)) CheckCharged(site, task, machine, "before its report leaves");
  if (jobs::IsMasked(job->spec)) {
    CheckMasked(site, *job, name, header, payload);
  } else {
    CheckPlain(site, *job, name, header, payload);
  }
}

void Witness::CheckPlain(const std::string& site, const JobAccount& job, const TaskName& task,
                         const v1::ReportHeader& header, const Bytes& payload) {
  const ParameterVector update = job.rounds.UpdateOf(site, task.round);
  const ByteSpan expected = AsBytes(std::span(update));
  if (!std::equal(payload.begin(), payload.end(), expected.begin(), expected.end())) {
    world_.Violate("site " + site + " reports another update than it computed");
  }
  if (header.num_examples() != parties_.NumRows(site)) {
    world_.Violate("site " + site + " reports another number of rows than it has");
  }
}

void Witness::CheckMasked(const std::string& site, const JobAccount& job, const TaskName& task,
                          const v1::ReportHeader& header, const Bytes& payload) {
  ++num_masked_reports_;
  if (header.num_examples() != 0 || header.metrics_size() > 0 || header.masked_input().empty()) {
    world_.Violate("site " + site + " tells numbers beside a masked report");
  }
  const StatusOr<jobs::MaskedLayout> layout = job.rounds.Layout(job.rounds.session_size());
  if (!layout.ok()) return world_.Violate("no layout: " + MessageOf(layout.status()));
  if (payload.size() != layout->vector().size_bytes()) return;  // Of an earlier session's size.
  Bytes plain(payload.size(), 0);
  if (!jobs::IsPrivate(job.spec)) {
    const StatusOr<Bytes> encoded =
        job.rounds.PlainVector(site, task.round, job.rounds.session_size());
    if (!encoded.ok()) return world_.Violate("no vector: " + MessageOf(encoded.status()));
    plain = *encoded;
  }
  const Bytes mask = MaskOf(layout->vector(), payload, plain);
  if (NumZeroElements(layout->vector(), mask) > kMostEqualElements) {
    world_.Violate("site " + site + " lets numbers leave without a mask: " + header.task_id());
  }
  if (!masks_[site].insert(mask).second) {
    world_.Violate("site " + site + " uses a mask twice: " + header.task_id());
  }
}

void Witness::Answered(const std::string& site, const std::string& task, const Status& answer) {
  const bool is_taken = answer.ok() || answer.code() == StatusCode::kAlreadyExists;
  world_.Tell(site, "is told of ", task, ": ", answer.ok() ? "OK" : MessageOf(answer));
  if (is_taken && !reported_.contains(task)) {
    world_.Violate("site " + site +
                   " is told that its report is kept, and it is not durable: " + task);
  }
}

}  // namespace chorale::simulation
