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
    return x.mean == y.mean && x.standard_deviation == y.standard_deviation;
  });
}

// A column that the job, not the site's own configuration, asks for in vain.
bool LacksColumn(const data::CsvTable& table, const v1::DataSpec& spec) {
  const auto lacks = [&table](const std::string& column) {
    return std::ranges::find(table.columns, column) == table.columns.end();
  };
  return lacks(spec.target().column()) ||
         std::ranges::any_of(spec.features(), [&lacks](const v1::FeatureSpec& feature) {
           return lacks(feature.column());
         });
}

ReasonCode Refuse(const v1::DatasetConfig& config, ReasonCode code, const Status& problem) {
  log::Warning("dataset.unusable",
               {{"dataset", config.id()}, {"code", NameOf(code)}, {"problem", MessageOf(problem)}});
  return code;
}

}  // namespace

const PreparedExamples& LoadedDataset::Prepare(
    const std::optional<std::vector<data::Moments>>& moments) {
  const bool is_same = moments.has_value() == moments_.has_value() &&
                       (!moments.has_value() || SameMoments(*moments, *moments_));
  if (prepared_.has_value() && is_same) return *prepared_;
  prepared_.reset();
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

std::variant<LoadedDataset*, ReasonCode> DatasetCache::Load(const v1::DatasetConfig& config,
                                                            const v1::DataSpec& spec) {
  const std::filesystem::path path = config_directory_ / config.csv().path();
  std::error_code error;
  Key key{.dataset_id = config.id(),
          .spec_digest = crypto::Sha256(AsBytes(spec.SerializeAsString())),
          .modified = std::filesystem::last_write_time(path, error),
          .size_bytes = std::filesystem::file_size(path, error)};
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
  StatusOr<data::Dataset> dataset = data::Dataset::Create(*table, config, spec);
  if (!dataset.ok()) {
    return Refuse(
        config, LacksColumn(*table, spec) ? ReasonCode::kSchemaMismatch : ReasonCode::kDataInvalid,
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
