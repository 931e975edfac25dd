// What a site must have on disk before something happens: its ledger and its promises, read as a
// power cut at this moment would leave them.
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "core/crypto/digest.h"
#include "core/storage/file.h"
#include "jobs/privacy_spec.h"
#include "privacy/ledger/ledger.h"
#include "site_agent/promises.h"
#include "tests/simulation/witness.h"

namespace chorale::simulation {
namespace {

// A copy of some of a machine's files.
class Copy {
 public:
  Copy(Machine& machine, const std::string& database)
      : directory_(machine.directory().string() + "-copy"),
        disk_(machine.disk().AfterPowerCut(directory_, database)) {
    std::filesystem::create_directories(directory_);
    std::ofstream(directory_ / database).flush();  // Whoever reads looks whether it is there.
  }
  ~Copy() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& directory() const { return directory_; }

 private:
  const std::filesystem::path directory_;
  const std::unique_ptr<Disk> disk_;
};

std::string KeyOf(const std::string& task) { return "heart " + task; }

}  // namespace

void Witness::Started(const std::string& site, Machine& machine) {
  if (!charged_[site].empty()) CheckLedger(site, machine, "after a restart");
}

void Witness::ComputationBegins(const std::string& site, Machine& machine) {
  const auto task = tasks_.find(site);
  if (task == tasks_.end()) return world_.Violate("site " + site + " computes without a task");
  const JobAccount* const job = JobOf(task->second);
  if (job == nullptr || !jobs::IsPrivate(job->spec)) return;
  if (!computed_[site].insert(task->second).second) {
    world_.Violate("site " + site + " computes twice on one charge: " + task->second);
  }
  CheckCharged(site, task->second, machine, "before its rows are used");
}

void Witness::CheckCharged(const std::string& site, const std::string& task, Machine& machine,
                           std::string_view when) {
  if (charged_[site].insert(task).second) ++num_charges_;
  CheckLedger(site, machine, when);
}

void Witness::CheckLedger(const std::string& site, Machine& machine, std::string_view when) {
  const Copy copy(machine, "ledger.db");
  const StatusOr<privacy::LedgerSnapshot> ledger = privacy::ReadLedger(
      {.database = copy.directory() / "ledger.db", .head = machine.directory() / "ledger_head"});
  if (!ledger.ok()) {
    return world_.Violate("the ledger of site " + site + " cannot be read " + std::string(when) +
                          ": " + MessageOf(ledger.status()));
  }
  for (const std::string& task : charged_[site]) {
    if (ledger->state.IsUncommitted(KeyOf(task)).ok()) continue;
    return world_.Violate("the ledger of site " + site + " is not charged " + std::string(when) +
                          ": " + task);
  }
}

void Witness::CheckPromised(const std::string& site, const JobAccount& job, const TaskName& name,
                            Machine& machine) {
  const bool begins = name.step == "advertise-keys";
  if (!begins && name.step != "unmasking") return;
  const Copy copy(machine, "promises.db");
  StatusOr<site_agent::Promises> promises = site_agent::Promises::Open(copy.directory());
  if (!promises.ok()) {
    return world_.Violate("the promises of site " + site +
                          " cannot be read: " + MessageOf(promises.status()));
  }
  if (begins) {
    const auto nonces = promises->Nonces();
    if (!nonces.ok() || nonces->size() < ++sessions_begun_[site]) {
      world_.Violate("site " + site + " begins a session whose nonce it would forget");
    }
    return;
  }
  std::set<std::uint32_t>& rounds = unmasked_[{site, name.job}];
  rounds.insert(name.round);
  const auto sums = promises->SumsOf(crypto::Sha256(AsBytes(job.signed_spec)));
  if (!sums.ok() || sums->size() < rounds.size()) {
    world_.Violate("site " + site + " helps to reveal a sum that it would forget: round " +
                   std::to_string(name.round));
  }
}

}  // namespace chorale::simulation
