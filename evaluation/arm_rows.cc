#include "evaluation/arm_rows.h"

namespace chorale::evaluation {

Preparation Preparation::Of(std::span<const Site> sites, const v1::DataSpec& spec) {
  std::vector<double> total(data::PreparationSize(spec));
  for (const Site& site : sites) {
    const std::vector<double> sums = site.dataset->PreparationSums();
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += sums[i];
  }
  Preparation preparation;
  preparation.moments_ = data::PreparationOf(data::StatisticsOf(total, spec), spec);
  return preparation;
}

Preparation Preparation::By(std::span<const data::Moments> moments) {
  Preparation preparation;
  preparation.moments_.emplace(moments.begin(), moments.end());
  return preparation;
}

data::Examples Preparation::Rows(const Site& site, v1::Split split) const {
  return moments_ ? site.dataset->Standardized(split, *moments_) : site.dataset->PerSite(split);
}

data::ExactExamples Preparation::ExactRows(const Site& site, v1::Split split) const {
  return moments_ ? site.dataset->StandardizedExact(split, *moments_)
                  : site.dataset->PerSiteExact(split);
}

std::vector<data::Examples> Preparation::TestRows(std::span<const Site> sites) const {
  std::vector<data::Examples> tests;
  for (const Site& site : sites) tests.push_back(Rows(site, v1::SPLIT_TEST));
  return tests;
}

}  // namespace chorale::evaluation
