#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "data/dataset.h"
#include "data/preparation.h"

namespace {

chorale::v1::DataSpec SpecFrom(std::uint8_t choices) {
  chorale::v1::DataSpec spec;
  const auto add = [&spec](const char* column) {
    spec.add_features()->set_column(column);
    return spec.mutable_features(spec.features_size() - 1);
  };
  const auto impute =
      (choices & 2) != 0 ? chorale::v1::IMPUTATION_MEAN : chorale::v1::IMPUTATION_UNSPECIFIED;
  add("age")->mutable_numeric()->set_impute(impute);
  if ((choices & 4) != 0) {
    auto* categorical = add("stage")->mutable_categorical();
    for (const char* level : {"1", "2", "3"}) categorical->add_levels(level);
  }
  if ((choices & 8) != 0) add("pulse")->mutable_numeric()->set_impute(impute);
  spec.set_standardization((choices & 1) != 0 ? chorale::v1::STANDARDIZATION_FEDERATED_ROBUST
                                              : chorale::v1::STANDARDIZATION_FEDERATED);
  return spec;
}

}  // namespace

// The first byte chooses the specification, the next four give the rows, the rest is a payload: as
// it is, or, for histograms, made long enough with zeros. What is accepted must give moments that a
// site can use, also when a thousand sites send the same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 5) return 0;
  const chorale::v1::DataSpec spec = SpecFrom(data[0]);
  std::uint32_t num_examples = 0;
  std::memcpy(&num_examples, data + 1, sizeof(num_examples));
  std::vector<double> sums((size - 5) / sizeof(double));
  if (!sums.empty()) std::memcpy(sums.data(), data + 5, sums.size() * sizeof(double));
  if ((data[0] & 16) != 0) sums.resize(chorale::data::PreparationSize(spec));
  if (!chorale::data::CheckPreparation(sums, spec, num_examples).ok()) return 0;
  for (double& sum : sums) sum *= 1024;
  const auto statistics = chorale::data::StatisticsOf(sums, spec);
  const auto moments = chorale::data::PreparationOf(statistics, spec);
  if (!chorale::data::Validate(moments, spec).ok()) std::abort();
  for (const auto& column : statistics) {
    for (std::size_t i = 1; i < column.quantiles.size(); ++i) {
      if (column.quantiles[i] < column.quantiles[i - 1]) std::abort();
    }
  }
  return 0;
}
