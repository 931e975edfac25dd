#include "site_agent/dataset_cache.h"

#include <algorithm>
#include <utility>

#include "core/bytes.h"
#include "core/log.h"
#include "core/status.h"
#include "data/csv_reader.h"

namespace chorale::site_agent {
namespace {

constexpr std::size_t kMaxEntries = 4;

bool SameMoments(const std::vector<data::Moments>& a, const std::vector<data::Moments>& b) {
  return std::ranges::equal(a, b, [](const data::Moments& x, const data::Moments& y) {
    return x.mean == y.mean && x.standard_deviation == y.standard_deviation &&
           x.imputed == y.imputed;
  });
}

// A column that the job, not the site's own configuration, asks for in vain.
bool LacksColumn(const data::CsvTable& table, const v1::DatasetConfig& config,
                 const v1::DataSpec& spec) {
  const auto lacks = [&table](const std::string& column) {
    return std::ranges::find(table.columns, column) == table.columns.end();
  };
  const auto lacks_array = [&config](const std::string& column) {
    return std::ranges::none_of(config.arrays(), [&column](const v1::ArrayFile& array) {
      return array.column() == column;
    });
  };
  const v1::TargetSpec& target = spec.target();
  return lacks(target.column()) ||
         (target.has_survival() && lacks(target.survival().time_column())) ||
         std::ranges::any_of(spec.features(), [&](const v1::FeatureSpec& feature) {
           return lacks(feature.column()) || (feature.has_array() && lacks_array(feature.column()));
         });
}

ReasonCode Refuse(const v1::DatasetConfig& config, ReasonCode code, const Status& problem) {
  log::Warning("dataset.unusable",
               {{"dataset", config.id()}, {"code", NameOf(code)}, {"problem", MessageOf(problem)}});
  return code;
}

}  // namespace

bool LoadedDataset::IsPreparedWith(const std::optional<std::vector<data::Moments>>& moments) const {
  return moments.has_value() == moments_.has_value() &&
         (!moments.has_value() || SameMoments(*moments, *moments_));
}

const PreparedExamples& LoadedDataset::Prepare(
    const std::optional<std::vector<data::Moments>>& moments) {
  if (prepared_.has_value() && IsPreparedWith(moments)) return *prepared_;
  DropPrepared();
  if (moments.has_value()) {
    prepared_ = PreparedExamples{.train = dataset_.Standardized(v1::SPLIT_TRAIN, *moments),
                                 .test = dataset_.Standardized(v1::SPLIT_TEST, *moments)};
  } else {
    prepared_ = PreparedExamples{.train = dataset_.PerSite(v1::SPLIT_TRAIN),
                                 .test = dataset_.PerSite(v1::SPLIT_TEST)};
  }
  moments_ = moments;
  return *prepared_;
}

const data::ExactExamples& LoadedDataset::PrepareExact(
    const std::optional<std::vector<data::Moments>>& moments) {
  if (exact_.has_value() && IsPreparedWith(moments)) return *exact_;
  DropPrepared();
  exact_ = moments.has_value() ? dataset_.StandardizedExact(v1::SPLIT_TRAIN, *moments)
                               : dataset_.PerSiteExact(v1::SPLIT_TRAIN);
  moments_ = moments;
  return *exact_;
}

std::uint64_t LoadedDataset::PreparedBytes() const {
  const std::uint64_t bytes = dataset_.ExamplesBytes();
  return (prepared_.has_value() ? bytes : 0) + (exact_.has_value() ? 2 * bytes : 0);
}

void LoadedDataset::DropPrepared() {
  prepared_.reset();
  exact_.reset();
}

std::uint64_t DatasetCache::PreparedBytesBeside(const LoadedDataset& dataset) const {
  std::uint64_t bytes = 0;
  for (const Entry& entry : entries_) {
    if (&entry.dataset != &dataset) bytes += entry.dataset.PreparedBytes();
  }
  return bytes;
}

void DatasetCache::DropPreparedBeside(const LoadedDataset& dataset) {
  for (Entry& entry : entries_) {
    if (&entry.dataset != &dataset) entry.dataset.DropPrepared();
  }
}

DatasetCache::FileVersion DatasetCache::VersionOf(const std::string& path) const {
  std::error_code error;  // A file that is not there is told when it is read.
  const std::filesystem::path file = config_directory_ / path;
  return {.modified = std::filesystem::last_write_time(file, error),
          .size_bytes = std::filesystem::file_size(file, error)};
}

std::variant<LoadedDataset*, ReasonCode> DatasetCache::Load(const v1::DatasetConfig& config,
                                                            const v1::DataSpec& spec) {
  const std::filesystem::path path = config_directory_ / config.csv().path();
  Key key{.dataset_id = config.id(),
          .spec_digest = crypto::Sha256(AsBytes(spec.SerializeAsString())),
          .files = {VersionOf(config.csv().path())}};
  for (const v1::ArrayFile& array : config.arrays()) key.files.push_back(VersionOf(array.path()));
  const auto found =
      std::ranges::find_if(entries_, [&key](const Entry& entry) { return entry.key == key; });
  if (found != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, found);
    return &entries_.front().dataset;
  }

  const StatusOr<data::CsvTable> table = data::ReadCsv(path, config.csv());
  if (!table.ok()) {
    const bool is_too_large = table.status().code() == StatusCode::kResourceExhausted;
    return Refuse(config, is_too_large ? ReasonCode::kResourceLimit : ReasonCode::kDataInvalid,
                  table.status());
  }
  StatusOr<data::Dataset> dataset = data::Dataset::Create(*table, config, config_directory_, spec);
  if (!dataset.ok()) {
    return Refuse(
        config,
        LacksColumn(*table, config, spec) ? ReasonCode::kSchemaMismatch : ReasonCode::kDataInvalid,
        dataset.status());
  }
  // An older reading of the same table goes, so that memory holds one.
  std::erase_if(entries_, [&key](const Entry& entry) {
    return entry.key.dataset_id == key.dataset_id && entry.key.spec_digest == key.spec_digest;
  });
  entries_.push_front(Entry{.key = std::move(key), .dataset = LoadedDataset(*std::move(dataset))});
  if (entries_.size() > kMaxEntries) entries_.pop_back();
  log::Info("dataset.loaded",
            {{"dataset", config.id()},
             {"training_rows", entries_.front().dataset.dataset().num_training_rows()},
             {"test_rows", entries_.front().dataset.dataset().num_test_rows()},
             {"dropped_rows", entries_.front().dataset.dataset().num_dropped_rows()}});
  return &entries_.front().dataset;
}

}  // namespace chorale::site_agent
