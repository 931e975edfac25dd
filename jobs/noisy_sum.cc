#include "jobs/noisy_sum.h"

#include <string>

#include "core/config/yaml.h"

namespace chorale::jobs {
namespace {

constexpr double kDefaultInflation = 1.001;
// Of a site: far more than there are, and far from what the ring holds.
constexpr std::uint64_t kMostPatients = std::uint64_t{1} << 32;

}  // namespace

StatusOr<privacy::Grid> GridOf(const NoisySum& sum, const v1::PrivacySpec& privacy) {
  StatusOr<privacy::Grid> grid = privacy::Grid::Create(
      {.max_grad_norm = sum.norm,
       .num_parameters = sum.num_values,
       .grid_inflation =
           privacy.grid_inflation() == 0 ? kDefaultInflation : privacy.grid_inflation()});
  if (grid.ok()) return grid;
  return config::FieldError(std::string(sum.field), MessageOf(grid.status()));
}

StatusOr<privacy::NoiseShare> NoiseShareOf(const NoisySum& sum, const v1::PrivacySpec& privacy,
                                           std::uint32_t honest_sites) {
  CHORALE_ASSIGN_OR_RETURN(const privacy::Grid grid, GridOf(sum, privacy));
  StatusOr<privacy::NoiseShare> share =
      privacy::PlanNoiseShare(grid, {.encoding = privacy::GridEncoding::kVerified,
                                     .noise_multiplier = sum.noise_multiplier,
                                     .num_sites = honest_sites,
                                     .max_batch = kMostPatients,
                                     .ring_bits = 64});
  if (share.ok()) return share;
  return config::FieldError(std::string(sum.field), MessageOf(share.status()));
}

privacy::Event EventOf(const NoisySum& sum) {
  return {.kind = privacy::Gaussian{.noise_multiplier = sum.noise_multiplier}};
}

}  // namespace chorale::jobs
