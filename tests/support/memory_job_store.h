#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/store.h"

namespace chorale::support {

// A JobStore in memory, with a switch that makes writing fail. Keeps the same contract as
// SqliteJobStore.
class MemoryJobStore final : public coordinator::JobStore {
 public:
  // While set, Append and LoadJob fail with this.
  Status append_failure;
  Status load_failure;
  int num_appends = 0;  // Of batches that were not empty.

  StatusOr<std::vector<crypto::BlobId>> Append(const coordinator::Batch& batch) override {
    if (batch.empty()) return std::vector<crypto::BlobId>{};
    if (!append_failure.ok()) return append_failure;
    State next = state_;
    CHORALE_ASSIGN_OR_RETURN(std::vector<crypto::BlobId> removed, Apply(batch, next));
    state_ = std::move(next);
    ++num_appends;
    return removed;
  }

  StatusOr<std::vector<coordinator::StoredJob>> LoadUnfinished() override {
    std::vector<coordinator::StoredJob> jobs;
    for (const Row& row : state_.jobs) {
      if (!row.is_ended) jobs.push_back(row.job);
    }
    return jobs;
  }

  StatusOr<coordinator::StoredJob> LoadJob(const JobId& id) override {
    if (!load_failure.ok()) return load_failure;
    for (const Row& row : state_.jobs) {
      if (row.job.submission.id == id) return row.job;
    }
    return NotFound("there is no such job");
  }

  StatusOr<bool> HasEnded(const JobId& id) override {
    for (const Row& row : state_.jobs) {
      if (row.job.submission.id == id) return row.is_ended;
    }
    return false;
  }

  StatusOr<std::vector<v1::JobSummary>> ListJobs(std::uint32_t limit) override {
    std::vector<v1::JobSummary> summaries;
    for (auto row = state_.jobs.rbegin(); row != state_.jobs.rend(); ++row) {
      if (summaries.size() >= limit) break;
      v1::JobSummary summary = row->summary;
      summary.set_job_id(row->job.submission.id.value());
      summaries.push_back(std::move(summary));
    }
    return summaries;
  }

  StatusOr<coordinator::StoredSubmission> FindSubmission(const ResearcherId& researcher,
                                                         std::string_view key) override {
    for (const Row& row : state_.jobs) {
      const coordinator::StoredSubmission& submission = row.job.submission;
      if (submission.researcher == researcher && submission.idempotency_key == key) {
        return submission;
      }
    }
    return NotFound("no job was submitted under this key");
  }

  StatusOr<std::vector<crypto::BlobId>> ListBlobs() override {
    std::vector<crypto::BlobId> ids;
    for (const auto& [digest, blob] : state_.blobs) ids.push_back(blob.id);
    return ids;
  }

  StatusOr<std::vector<coordinator::KeptBlob>> LoadBlobsOfUnfinished() override {
    std::map<crypto::Digest, coordinator::KeptBlob> found;
    for (const auto& [name, digest] : state_.names) {
      for (const Row& row : state_.jobs) {
        if (row.job.submission.id == name.first && !row.is_ended) {
          found[digest] = state_.blobs.at(digest);
        }
      }
    }
    std::vector<coordinator::KeptBlob> blobs;
    for (auto& [digest, blob] : found) blobs.push_back(std::move(blob));
    return blobs;
  }

  StatusOr<Bytes> LoadBlob(const crypto::BlobId& id) override {
    const auto blob = state_.blobs.find(id.digest);
    if (blob == state_.blobs.end() || blob->second.bytes == nullptr) {
      return NotFound("no small payload of this digest is kept");
    }
    return *blob->second.bytes;
  }

  StatusOr<std::map<SiteId, coordinator::StoredSite>> LoadSites() override { return state_.sites; }
  StatusOr<std::uint64_t> RosterVersion() override { return state_.roster_version; }

  Status RecordStart(Time when) override {
    state_.starts.push_back(when);
    if (state_.starts.size() > kMostStarts) state_.starts.erase(state_.starts.begin());
    return OkStatus();
  }
  StatusOr<std::vector<Time>> LoadStarts() override { return state_.starts; }
  StatusOr<std::uint64_t> NumEvents() override {
    std::uint64_t num_events = 0;
    for (const Row& row : state_.jobs) num_events += row.job.events.size();
    return num_events;
  }

 private:
  struct Row {
    coordinator::StoredJob job;
    v1::JobSummary summary;
    bool is_ended = false;
  };
  struct State {
    std::vector<Row> jobs;
    std::map<crypto::Digest, coordinator::KeptBlob> blobs;
    std::map<std::pair<JobId, std::string>, crypto::Digest> names;
    std::map<SiteId, coordinator::StoredSite> sites;
    std::uint64_t roster_version = 0;
    std::vector<Time> starts;

    Row* Find(const JobId& id) {
      const auto row = std::find_if(jobs.begin(), jobs.end(), [&](const Row& candidate) {
        return candidate.job.submission.id == id;
      });
      return row == jobs.end() ? nullptr : &*row;
    }
  };

  static StatusOr<std::vector<crypto::BlobId>> Apply(const coordinator::Batch& batch,
                                                     State& state) {
    for (const coordinator::StoredSubmission& submission : batch.submissions) {
      for (const Row& row : state.jobs) {
        const coordinator::StoredSubmission& known = row.job.submission;
        const bool is_same_key = known.researcher == submission.researcher &&
                                 known.idempotency_key == submission.idempotency_key;
        if (known.id == submission.id || is_same_key) return AlreadyExists("taken");
      }
      state.jobs.push_back({.job = {submission, {}}, .summary = {}, .is_ended = false});
    }
    for (const coordinator::Batch::Event& event : batch.events) {
      Row* row = state.Find(event.job);
      if (row == nullptr) return FailedPrecondition("no such job");
      row->job.events.push_back(event.event);
    }
    for (const coordinator::Batch::Blob& blob : batch.kept) {
      if (state.Find(blob.job) == nullptr) return FailedPrecondition("no such job");
      if (!state.names.emplace(std::pair(blob.job, blob.name), blob.id.digest).second) {
        return AlreadyExists("the blob's name is taken");
      }
      state.blobs.emplace(blob.id.digest, coordinator::KeptBlob{blob.id, blob.bytes});
    }
    std::vector<crypto::BlobId> removed;
    for (const coordinator::Batch::DroppedBlobs& dropped : batch.dropped) {
      std::erase_if(state.names, [&](const auto& name) {
        return name.first.first == dropped.job &&
               name.first.second.starts_with(dropped.name_prefix);
      });
    }
    std::erase_if(state.blobs, [&](const auto& blob) {
      const bool is_named =
          std::any_of(state.names.begin(), state.names.end(),
                      [&](const auto& name) { return name.second == blob.first; });
      if (!is_named) removed.push_back(blob.second.id);
      return !is_named;
    });
    for (const coordinator::Batch::EndedJob& ended : batch.ended) {
      if (Row* row = state.Find(ended.id)) {
        row->summary = ended.summary;
        row->is_ended = true;
      }
    }
    for (const auto& [id, site] : batch.sites) state.sites[id] = site;
    if (batch.roster_version.has_value()) state.roster_version = *batch.roster_version;
    return removed;
  }

  State state_;
};

}  // namespace chorale::support
