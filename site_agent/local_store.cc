#include "site_agent/local_store.h"

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "core/log.h"
#include "core/storage/file.h"
#include "models/safetensors.h"

namespace chorale::site_agent {
namespace {

using Metadata = std::map<std::string, std::string>;

constexpr std::string_view kCurrent = "current.safetensors";
constexpr std::string_view kNext = "next.safetensors";
constexpr std::string_view kPersonal = "personal.safetensors";
constexpr std::string_view kControlVariate = "control_variate";
constexpr std::string_view kNormalization = "normalization";
constexpr std::uint64_t kMaxHeaderBytes = 16u << 20;

std::string DigestOf(std::span<const float> values) {
  return ToHex(crypto::Sha256(AsBytes(values)));
}

std::string ValueOf(const Metadata& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? std::string() : found->second;
}

std::optional<std::uint32_t> ParseRound(std::string_view text) {
  std::uint32_t round = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), round);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return round;
}

Status WritePrivate(const std::filesystem::path& path, const ParameterLayout& layout,
                    std::span<const float> values, const Metadata& metadata) {
  const std::string header = models::SafetensorsHeader(layout, metadata);
  const ByteSpan data = AsBytes(values);
  Bytes file;
  file.reserve(header.size() + data.size());
  file.insert(file.end(), header.begin(), header.end());
  file.insert(file.end(), data.begin(), data.end());
  return storage::WriteFileAtomically(path, file, storage::FileMode::kPrivate);
}

// Nothing when there is no such file. DATA_LOSS: not what was written; PERMISSION_DENIED: another
// job's.
StatusOr<std::optional<models::SafetensorsContent>> ReadPrivate(const std::filesystem::path& path,
                                                                const JobKey& job,
                                                                std::uint64_t max_parameters) {
  StatusOr<models::SafetensorsContent> content =
      models::LoadSafetensors(path, kMaxHeaderBytes + max_parameters * sizeof(float));
  if (content.status().code() == StatusCode::kNotFound) return std::nullopt;
  if (!content.ok()) {
    return DataLoss(
        "what the site keeps of job " + job.id.value() +
        " cannot be read; without the file the site starts anew: " + MessageOf(content.status()));
  }
  if (ValueOf(content->metadata, "sha256") != DigestOf(content->values)) {
    return DataLoss(path.string() +
                    " is damaged: its numbers do not have its digest; without the file the site "
                    "starts anew");
  }
  if (ValueOf(content->metadata, "job_digest") != ToHex(job.spec_digest)) {
    return PermissionDenied("the id " + job.id.value() + " is that of another job at this site");
  }
  return *std::move(content);
}

// The directory of one job, with nothing in it but `keep`: an interrupted write may have left more.
StatusOr<std::filesystem::path> PrepareDirectory(const std::filesystem::path& parent,
                                                 const JobKey& job,
                                                 std::initializer_list<std::string_view> keep) {
  CHORALE_RETURN_IF_ERROR(ValidateName("task.job_id", job.id.value()));
  std::filesystem::path directory = parent / job.id.value();
  CHORALE_RETURN_IF_ERROR(storage::CreatePrivateDirectory(directory));
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    if (std::ranges::find(keep, entry.path().filename().string()) != keep.end()) continue;
    std::error_code ignored;  // What stays is removed next time.
    std::filesystem::remove(entry.path(), ignored);
  }
  return directory;
}

// Removes the jobs that were written longest ago, but never `in_hand`.
void Trim(const std::filesystem::path& parent, const JobId& in_hand) {
  struct Kept {
    std::filesystem::file_time_type modified;
    std::filesystem::path path;
  };
  std::vector<Kept> others;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(parent, error)) {
    if (entry.path().filename() == in_hand.value()) continue;
    std::error_code gone;
    others.push_back({.modified = entry.last_write_time(gone), .path = entry.path()});
  }
  if (others.size() < LocalStore::kMaxJobs) return;
  std::ranges::sort(others, [](const Kept& a, const Kept& b) {
    return std::pair(b.modified, b.path) < std::pair(a.modified, a.path);
  });
  for (std::size_t i = LocalStore::kMaxJobs - 1; i < others.size(); ++i) {
    std::error_code failed;
    std::filesystem::remove_all(others[i].path, failed);
    log::Info("job.state_removed", {{"job", others[i].path.filename().string()}});
  }
}

}  // namespace

LocalStore::LocalStore(std::filesystem::path state_directory, Journal& journal)
    : jobs_(state_directory / "jobs"), models_(state_directory / "models"), journal_(journal) {}

StatusOr<std::optional<LocalStore::Stored>> LocalStore::Read(const std::filesystem::path& path,
                                                             const JobKey& job,
                                                             std::uint64_t max_parameters) const {
  CHORALE_ASSIGN_OR_RETURN(std::optional<models::SafetensorsContent> content,
                           ReadPrivate(path, job, max_parameters));
  if (!content.has_value()) return std::nullopt;
  const std::optional<std::uint32_t> round = ParseRound(ValueOf(content->metadata, "round"));
  if (!round.has_value()) return DataLoss(path.string() + " is damaged: it tells no round");
  Stored stored{.task = TaskId(ValueOf(content->metadata, "task")), .round = *round, .state = {}};
  for (const TensorLayout& tensor : content->layout.tensors()) {
    const auto begin = content->values.begin() + static_cast<std::ptrdiff_t>(tensor.offset);
    ParameterVector values(begin, begin + static_cast<std::ptrdiff_t>(tensor.size));
    if (tensor.name == kControlVariate) stored.state.control_variate = std::move(values);
    if (tensor.name == kNormalization) stored.state.normalization = std::move(values);
  }
  return stored;
}

StatusOr<LocalState> LocalStore::Load(const JobKey& job, std::uint32_t round,
                                      std::uint64_t max_parameters) {
  CHORALE_RETURN_IF_ERROR(ValidateName("task.job_id", job.id.value()));
  const std::filesystem::path directory = jobs_ / job.id.value();
  CHORALE_ASSIGN_OR_RETURN(std::optional<Stored> next,
                           Read(directory / kNext, job, max_parameters));
  if (next.has_value()) {
    CHORALE_ASSIGN_OR_RETURN(const ReportState report, journal_.FindReport(next->task));
    const bool counts = report == ReportState::kPending || report == ReportState::kAcknowledged;
    if (counts && round > next->round) {
      // Whether the rename survives a crash or not, the same decision is taken again.
      std::error_code error;
      std::filesystem::rename(directory / kNext, directory / kCurrent, error);
      if (error) return Unavailable("cannot rename " + (directory / kNext).string());
      return std::move(next->state);
    }
  }
  CHORALE_ASSIGN_OR_RETURN(std::optional<Stored> current,
                           Read(directory / kCurrent, job, max_parameters));
  return current.has_value() ? std::move(current->state) : LocalState();
}

Status LocalStore::Propose(const JobKey& job, std::uint32_t round, const TaskId& task,
                           const LocalState& state) {
  CHORALE_ASSIGN_OR_RETURN(const std::filesystem::path directory,
                           PrepareDirectory(jobs_, job, {kCurrent, kNext}));
  std::vector<ParameterLayout::Tensor> tensors;
  ParameterVector values;
  const auto add = [&](std::string_view name, const ParameterVector& numbers) {
    if (numbers.empty()) return;
    tensors.push_back({.name = std::string(name), .shape = {numbers.size()}});
    values.insert(values.end(), numbers.begin(), numbers.end());
  };
  values.reserve(state.control_variate.size() + state.normalization.size());
  add(kControlVariate, state.control_variate);
  add(kNormalization, state.normalization);
  CHORALE_ASSIGN_OR_RETURN(const ParameterLayout layout,
                           ParameterLayout::Create(std::move(tensors)));
  CHORALE_RETURN_IF_ERROR(WritePrivate(directory / kNext, layout, values,
                                       {{"job_digest", ToHex(job.spec_digest)},
                                        {"round", std::to_string(round)},
                                        {"sha256", DigestOf(values)},
                                        {"task", task.value()}}));
  Trim(jobs_, job.id);
  return OkStatus();
}

StatusOr<std::filesystem::path> LocalStore::SaveModel(const JobKey& job,
                                                      const ParameterLayout& layout,
                                                      std::span<const float> values,
                                                      Metadata metadata) {
  CHORALE_ASSIGN_OR_RETURN(const std::filesystem::path directory,
                           PrepareDirectory(models_, job, {kPersonal}));
  const std::filesystem::path path = directory / kPersonal;
  CHORALE_RETURN_IF_ERROR(ReadPrivate(path, job, values.size()).status());
  metadata["job_digest"] = ToHex(job.spec_digest);
  metadata["sha256"] = DigestOf(values);
  CHORALE_RETURN_IF_ERROR(WritePrivate(path, layout, values, metadata));
  Trim(models_, job.id);
  return path;
}

}  // namespace chorale::site_agent
