// A specification as sites and coordinator take it from a researcher: what is valid has a layout.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "jobs/job_spec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace chorale;
  v1::JobSpec spec;
  if (!spec.ParseFromArray(data, static_cast<int>(size)) || !jobs::Validate(spec).ok()) return 0;
  (void)jobs::NeedsPreparation(spec);
  (void)jobs::WithDefaults(spec.aggregation());
  const auto plan = jobs::PlanOf(spec);
  if (!plan.ok() || plan->layout().num_parameters() == 0) std::abort();
  if (spec.has_newton() && jobs::BytesPerParameter(spec) != sizeof(double)) std::abort();
  return 0;
}
