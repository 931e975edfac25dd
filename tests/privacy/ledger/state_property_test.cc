#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

#include "tests/privacy/ledger/fixtures.h"

// Random work of an agent, checked against the simplest account of it that there is.
namespace chorale::privacy {
namespace {

class RandomWork {
 public:
  explicit RandomWork(unsigned seed) : random_(seed), ledger_(home_.Open()) {}

  void Step() {
    switch (Below(8)) {
      case 0:
      case 1:
        return Reserve();
      case 2:
      case 3:
      case 4:
        return Start();
      case 5:
        return Commit();
      case 6:
        return Release();
      default:
        ledger_.reset();
        ledger_ = home_.Open();
    }
  }

  void Check() {
    const BurnDown burn = ledger_->BurnDownOf(DatasetId("heart"), ValidRequest().limits);
    EXPECT_LE(burn.share_held, 1 + 1e-12);
    EXPECT_GE(burn.epsilon_held, burn.epsilon_spent);
    EXPECT_GE(burn.epsilon_spent, spent_) << "spending is monotone";
    spent_ = burn.epsilon_spent;
    ASSERT_EQ(burn.jobs.size(), jobs_.size());
    for (const JobSpending& job : burn.jobs) {
      const Job& expected = jobs_.at(job.job_id.value());
      EXPECT_EQ(job.steps_reserved, expected.reserved);
      EXPECT_EQ(job.steps_started, expected.started);
      EXPECT_EQ(job.is_released, expected.is_released);
    }
  }

 private:
  struct Job {
    ReservationId id;
    std::uint64_t reserved = 0;
    std::uint64_t started = 0;
    bool is_released = false;
  };

  std::uint64_t Below(std::uint64_t bound) { return random_() % bound; }

  void Reserve() {
    // Ids repeat, so that some ask again for what they have.
    ReserveRequest request = ValidRequest("job-" + std::to_string(Below(12)));
    NoiseOf(request) = 0.8 + 0.1 * static_cast<double>(Below(8));
    request.job.parts[0].steps = 1 + Below(60);
    const StatusOr<ReservationId> id = ledger_->Reserve(request);
    const auto known = jobs_.find(request.job.job_id.value());
    if (known != jobs_.end()) {
      if (id.ok()) {
        EXPECT_EQ(*id, known->second.id);
      }
      return;
    }
    if (id.ok()) {
      jobs_[request.job.job_id.value()] = {.id = *id, .reserved = request.job.parts[0].steps};
    } else {
      EXPECT_EQ(id.status().code(), StatusCode::kResourceExhausted) << id.status();
    }
  }

  void Start() {
    if (jobs_.empty()) return;
    Job& job = PickJob();
    const Started started = StepsOf(job.id, "task-" + std::to_string(Below(60)), 1 + Below(20));
    const Status status = ledger_->Start(started);
    if (const auto known = started_.find(started.step_key); known != started_.end()) {
      const bool is_same =
          known->second.reservation == started.reservation && known->second.steps == started.steps;
      EXPECT_EQ(status.code(),
                is_same ? StatusCode::kAlreadyExists : StatusCode::kFailedPrecondition);
    } else if (job.is_released) {
      EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
    } else if (started.steps[0] > job.reserved - job.started) {
      EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
    } else {
      EXPECT_TRUE(status.ok()) << status;
      job.started += started.steps[0];
      started_.emplace(started.step_key, started);
    }
  }

  void Commit() {
    const std::string key = "task-" + std::to_string(Below(60));
    EXPECT_EQ(ledger_->Commit(key).code(),
              started_.contains(key) ? StatusCode::kOk : StatusCode::kNotFound);
  }

  void Release() {
    if (jobs_.empty()) return;
    Job& job = PickJob();
    EXPECT_TRUE(ledger_->Release(job.id).ok());
    job.is_released = true;
  }

  Job& PickJob() {
    auto at = jobs_.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(Below(jobs_.size())));
    return at->second;
  }

  std::mt19937_64 random_;
  LedgerHome home_;
  std::unique_ptr<Ledger> ledger_;
  std::map<std::string, Job> jobs_;
  std::map<std::string, Started> started_;
  double spent_ = 0;
};

TEST(LedgerPropertyTest, AnyOrderOfCallsKeepsTheAccount) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomWork work(seed);
    for (int i = 0; i < 80; ++i) {
      work.Step();
      work.Check();
    }
  }
}

}  // namespace
}  // namespace chorale::privacy
