#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "core/bytes.h"
#include "core/crypto/blob_digest.h"
#include "core/parameters.h"
#include "core/random.h"
#include "identity/identity.h"
#include "site_agent/journal.h"
#include "site_agent/release_guard.h"
#include "site_agent/work.h"
#include "tests/site_agent/fixtures.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/test_pki.h"

namespace chorale::site_agent {

// Serves what was put into it, by digest.
class MemorySource final : public BlobSource {
 public:
  Status Fetch(const TaskId& task, const crypto::BlobId& blob, std::uint64_t offset_bytes,
               const std::function<Status(const v1::Chunk&)>& accept,
               Cancellation& cancellation) override;
  v1::BlobDescriptor Add(ByteSpan content);
  // Other bytes under the name of a blob.
  void Swap(const v1::BlobDescriptor& name, ByteSpan content);

  int num_fetches = 0;

 private:
  std::map<std::string, Bytes> contents_;
};

// Work on a table of 40 training and 20 test rows, for the tasks of one job of researcher `ada`.
class WorkFixture : public testing::Test {
 protected:
  static void SetUpTestSuite();
  static void TearDownTestSuite();

  WorkFixture();
  // Tasks of job `j1`, first attempts, with a mean of 60 and a deviation of 10.
  v1::Task TrainingTask(std::uint32_t round = 1);
  v1::Task PreparationTask();
  v1::Task NewtonTask(const std::vector<double>& coefficients);
  v1::Task PersonalizationTask();

  WorkOutcome Run(const v1::Task& task);
  // Also lets the report pass the release guard. REQUIRES: work that is done.
  Report RunAndRelease(const v1::Task& task);
  // The report of work that is done.
  Report Done(const v1::Task& task);
  // "no refusal", or the code of it.
  std::string CodeOf(const v1::Task& task);
  // As after a restart: nothing but the disk is left.
  void Restart();

  static support::TestPki* pki_;
  static identity::Identity* ada_;

  support::TemporaryDirectory directory_;
  v1::SiteConfig config_ = MakeSiteConfig(directory_.path());
  v1::JobSpec spec_ = MakeJobSpec();
  ParameterVector model_ = {1, 2, 3};
  FakeTrainer trainer_;
  training::LocalTrainer* trainer_pointer_ = &trainer_;
  MemorySource source_;
  support::ManualClock clock_{SystemClock().WallNow()};  // Certificates are of today.
  SeededRandom random_{1};
  Cancellation cancellation_;
  int num_admitted_ = 0;
  RecordingOutlet outlet_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<Work> work_;
};

}  // namespace chorale::site_agent
