#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "core/crypto/digest.h"
#include "privacy/ledger/ledger.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temporary_directory.h"

namespace chorale::privacy {

// 300 steps at a twentieth with noise 1.1: epsilon 5.37 at delta 1e-5.
inline ReserveRequest ValidRequest(const std::string& job_id = "job-1",
                                   const std::string& researcher = "ada") {
  return {.job = {.dataset = DatasetId("heart"),
                  .researcher = ResearcherId(researcher),
                  .job_id = JobId(job_id),
                  .job_digest = crypto::Sha256(AsBytes(job_id)),
                  .parts = {{.step = NoisySteps(Sampling::kPoisson, 0.05, 1.1, 1), .steps = 300}}},
          .limits = {.max_epsilon = 10,
                     .max_epsilon_per_job = 10,
                     .max_epsilon_per_researcher = 10,
                     .delta = 1e-5}};
}

inline double& NoiseOf(ReserveRequest& request) {
  return std::get<SampledGaussian>(request.job.parts[0].step.kind).noise_multiplier;
}

inline Started StepsOf(ReservationId reservation, const std::string& key, std::uint64_t steps) {
  return {.reservation = reservation,
          .step_key = key,
          .content = crypto::Sha256(AsBytes(key)),
          .steps = {steps}};
}

// Files and a clock that last longer than a ledger.
class LedgerHome {
 public:
  LedgerHome() {
    std::filesystem::create_directory(directory_.path() / "state");
    std::filesystem::create_directory(directory_.path() / "identity");
  }
  [[nodiscard]] StatusOr<std::unique_ptr<Ledger>> TryOpen() const {
    return Ledger::Open(files(), clock_);
  }
  [[nodiscard]] std::unique_ptr<Ledger> Open() const {
    StatusOr<std::unique_ptr<Ledger>> ledger = TryOpen();
    EXPECT_TRUE(ledger.ok()) << ledger.status();
    return *std::move(ledger);
  }
  [[nodiscard]] LedgerFiles files() const {
    return LedgerFilesIn(directory_.path() / "state", directory_.path() / "identity");
  }

 private:
  // No test here cuts the power.
  support::TemporaryDirectory directory_{support::Medium::kMemory};
  support::ManualClock clock_{Time(std::chrono::seconds(1'800'000'000))};
};

}  // namespace chorale::privacy
