#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/rpc/chunks.h"
#include "tests/coordinator/engine_fixture.h"
#include "tests/coordinator/masked_site.h"

// Jobs under secure aggregation, from submission to their end, with everything real but network,
// clock and training.
namespace chorale::coordinator {

constexpr std::size_t kNumParameters = 4;
const std::vector<std::string> kSites = {"east", "north", "south", "west"};

class EngineMaskingTest : public EngineTest {
 protected:
  EngineMaskingTest() {
    std::uint64_t seed = 1;
    for (const std::string& site : kSites) {
      sites_[site] = std::make_unique<MaskedSite>(Pki().Load(v1::PARTY_ROLE_SITE, site),
                                                  Coordinator().party().signing_key, seed++);
      Connect(site);
    }
  }

  static v1::JobSpec MaskedSpec(std::uint32_t num_rounds = 2) {
    v1::JobSpec spec = Spec();
    spec.clear_secure_aggregation();
    spec.mutable_rounds()->set_count(num_rounds);
    spec.mutable_rounds()->set_max_abandoned(2);
    return spec;
  }

  Status Send(const std::string& site, ByteSpan payload, std::string masked_input) {
    const auto task = tasks_->Find(TaskId(Task(site).task_id()), SiteId(site));
    if (!task.ok()) return task.status();
    CHORALE_ASSIGN_OR_RETURN(HeldPayload held, Write(*payloads_, payload));
    coordinator::Report report{.payload = held.id(), .masked_input = std::move(masked_input)};
    std::optional<Status> answer;
    engine_->Reported(*task, std::move(report), std::move(held),
                      [&answer](Status status) { answer = std::move(status); });
    (void)Commit();
    return answer.value_or(Internal("no answer"));
  }

  Bytes Read(const v1::BlobDescriptor& descriptor) {
    const auto reader = payloads_->Find(*rpc::FromProto(descriptor));
    EXPECT_TRUE(reader.ok()) << reader.status();
    Bytes bytes(descriptor.size_bytes());
    EXPECT_TRUE(reader->ReadAt(0, bytes).ok());
    return bytes;
  }

  // Answers the site's present task: a message, or a report of updates that are all `value`.
  Status Do(const std::string& site, float value = 1, std::uint64_t num_examples = 10) {
    const v1::Task task = Task(site);
    if (task.has_training()) {
      const std::vector<float> update(kNumParameters, value);
      std::vector<std::int64_t> gradients(kNumParameters + 1, 0);
      gradients.back() = votes_;
      const jobs::SiteNumbers numbers =
          spec_.has_privacy() ? jobs::SiteNumbers{.gradient_sum = gradients}
                              : jobs::SiteNumbers{.update = update, .num_examples = num_examples};
      CHORALE_ASSIGN_OR_RETURN(
          const MaskedSite::MaskedReport report,
          sites_.at(site)->Report(
              task, spec_,
              crypto::DigestFromBytes(AsBytes(task.training().global_model().digest())).value(),
              jobs::MaskedKind::kUpdate, kNumParameters, numbers, clock_.WallNow()));
      return Send(site, report.vector, report.masked_input);
    }
    const v1::BlobDescriptor& message =
        task.has_advertise_keys()       ? task.advertise_keys().manifest()
        : task.has_share_keys()         ? task.share_keys().directory()
        : task.has_acknowledge_shares() ? task.acknowledge_shares().delivery()
        : task.has_consistency_check()  ? task.consistency_check().survivors()
                                        : task.unmasking().signatures();
    CHORALE_ASSIGN_OR_RETURN(const Bytes answer,
                             sites_.at(site)->Answer(task, Read(message), clock_.WallNow()));
    return Send(site, answer, "");
  }
  // One step with these sites, each with another value and number of examples.
  void DoStep(const std::vector<std::string>& sites) {
    for (const std::string& site : sites) {
      const auto place =
          static_cast<float>(std::find(kSites.begin(), kSites.end(), site) - kSites.begin());
      const Status done = Do(site, place + 1, 10 * static_cast<std::uint64_t>(place + 1));
      EXPECT_TRUE(done.ok()) << site << ": " << done;
    }
  }
  // The steps of a session's beginning, then those of a round.
  void ExchangeKeys(const std::vector<std::string>& sites = kSites) {
    for (int step = 0; step < 3; ++step) {
      DoStep(sites);
      DoWork();
    }
  }
  void DoRound(const std::vector<std::string>& sites = kSites) {
    for (int step = 0; step < 3; ++step) {
      DoStep(sites);
      DoWork();
    }
  }

  JobId Start(const v1::JobSpec& spec) {
    spec_ = spec;
    const JobId id = Submit(spec);
    DoWork();
    return id;
  }
  std::vector<float> ModelOf(const JobId& id) {
    const auto model = engine_->FindModel(id);
    EXPECT_TRUE(model.ok()) << model.status();
    Bytes bytes(model->reader.size_bytes());
    EXPECT_TRUE(model->reader.ReadAt(0, bytes).ok());
    return *ParametersFromBytes(bytes);
  }
  std::map<std::string, v1::SiteState> StatesOf(const v1::RoundRecord& record) {
    std::map<std::string, v1::SiteState> states;
    for (const v1::SiteProgress& site : record.sites()) states[site.site()] = site.state();
    return states;
  }
  v1::ShowJobResponse Shown(const JobId& id) { return *engine_->Show(id); }

  v1::JobSpec spec_;
  std::int64_t votes_ = 0;  // Of every site, in steps; of private jobs whose clipping adapts.
  std::map<std::string, std::unique_ptr<MaskedSite>> sites_;
};

}  // namespace chorale::coordinator
