#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "core/rpc/tls.h"
#include "core/storage/file.h"
#include "core/time.h"
#include "identity/party.h"
#include "jobs/job_spec.h"
#include "tests/adversary/attacks.h"

// A coordinator that holds its federation's real certificate and lies in every way that
// tests/secagg/README.md lists, to real site agents. Begins with "listening <port>" on the standard
// output; "kill <site>" asks for that agent to be killed and started again. Prints what each was
// answered with and what it learned. Exit code 0: every lie met the refusal that it should, and no
// site's vector was learned.
namespace chorale::adversary {
namespace {

struct Options {
  std::string coordinator, researcher, roster, job, colluder;
  std::vector<std::string> sites;   // Identity directories, by name.
  std::vector<std::string> tables;  // Of the same sites.
  std::vector<int> only;
};

int Fail(const Status& why) {
  std::fprintf(stderr, "chorale-compromised-coordinator: %s\n", MessageOf(why).c_str());
  return 2;
}

// The public part of a site's identity.
StatusOr<Seat> SeatOf(const std::string& directory, const std::string& table) {
  CHORALE_ASSIGN_OR_RETURN(const std::string pem,
                           storage::ReadFile(directory + "/certificate.pem", 1u << 16));
  CHORALE_ASSIGN_OR_RETURN(crypto::Certificate certificate, crypto::Certificate::FromPem(pem));
  CHORALE_ASSIGN_OR_RETURN(const identity::Party party, identity::PartyOf(certificate));
  return Seat{.name = party.name,
              .certificate = std::move(certificate),
              .signing_key = party.signing_key,
              .table = table};
}

bool Perform(const Attack& attack, World& world, std::vector<std::string>& table) {
  Finding finding;
  attack.run(world, finding);
  const bool is_safe = !finding.gives_one_vector();
  const bool is_good = is_safe && finding.is_as_expected();
  std::printf("%2d %s: %s\n   answered: %s\n   learned: %s\n", attack.number, attack.name.c_str(),
              finding.did().c_str(), finding.Answers().c_str(), finding.LearnedText().c_str());
  for (const std::string& surprise : finding.surprises()) {
    std::printf("   UNEXPECTED: %s\n", surprise.c_str());
  }
  std::fflush(stdout);
  char row[256];
  std::snprintf(row, sizeof(row), "| %2d | %-28s | %-22s | %s |", attack.number,
                attack.name.c_str(), finding.LearnedText().c_str(),
                is_good ? "as it should" : "NOT AS IT SHOULD");
  table.emplace_back(row);
  return is_good;
}

StatusOr<bool> Run(const Options& options) {
  const Time now = SystemClock().WallNow();
  CHORALE_ASSIGN_OR_RETURN(const identity::Identity coordinator,
                           identity::Identity::Load(options.coordinator, now));
  CHORALE_ASSIGN_OR_RETURN(const identity::Identity researcher,
                           identity::Identity::Load(options.researcher, now));
  CHORALE_ASSIGN_OR_RETURN(const identity::Identity colluder,
                           identity::Identity::Load(options.colluder, now));
  CHORALE_ASSIGN_OR_RETURN(const std::unique_ptr<Wire> wire, Wire::Listen(coordinator));
  World world{.wire = *wire,
              .coordinator = coordinator,
              .researcher = researcher,
              .colluder = colluder,
              .seats = {},
              .roster = {},
              .job = {}};
  CHORALE_ASSIGN_OR_RETURN(world.roster, storage::ReadFile(options.roster, 1u << 20));
  CHORALE_ASSIGN_OR_RETURN(world.job, jobs::LoadJobFile(options.job));
  for (std::size_t i = 0; i < options.sites.size(); ++i) {
    CHORALE_ASSIGN_OR_RETURN(Seat seat, SeatOf(options.sites[i], options.tables[i]));
    world.seats.push_back(std::move(seat));
  }
  CHORALE_ASSIGN_OR_RETURN(Seat seat, SeatOf(options.colluder, ""));
  world.seats.push_back(std::move(seat));

  std::printf("listening %d\n", wire->port());
  std::fflush(stdout);
  if (!wire->WaitForSites(options.sites.size())) return Unavailable("the sites do not come");

  std::vector<Attack> attacks = SetupAttacks();
  for (Attack& attack : RoundAttacks()) attacks.push_back(std::move(attack));
  // Whoever survives all others is killed last.
  std::ranges::stable_sort(
      attacks, {}, [](const Attack& attack) { return std::pair(attack.kills, attack.number); });
  std::vector<std::string> table;
  bool is_good = true;
  for (const Attack& attack : attacks) {
    if (!options.only.empty() &&
        std::ranges::find(options.only, attack.number) == options.only.end()) {
      continue;
    }
    is_good = Perform(attack, world, table) && is_good;
  }
  std::printf("\n");
  for (const std::string& row : table) std::printf("%s\n", row.c_str());
  std::printf("\n%s\n", is_good ? "no site's vector was learned"
                                : "THE SITES DID NOT DEFEND THEMSELVES AS THEY SHOULD");
  return is_good;
}

}  // namespace
}  // namespace chorale::adversary

int main(int argc, char** argv) {
  chorale::adversary::Options options;
  CLI::App app("A coordinator that lies to real site agents.");
  app.add_option("--coordinator", options.coordinator, "Its identity directory")->required();
  app.add_option("--researcher", options.researcher, "Who signs the jobs")->required();
  app.add_option("--roster", options.roster, "The authority's file")->required();
  app.add_option("--job", options.job, "job.yaml, with federated standardization")->required();
  app.add_option("--site", options.sites, "Identity directories of four sites, by name")
      ->required()
      ->expected(4);
  app.add_option("--table", options.tables, "Their CSV files")->required()->expected(4);
  app.add_option("--colluder", options.colluder, "The fifth site, last by name")->required();
  app.add_option("--only", options.only, "Numbers of attacks");
  CLI11_PARSE(app, argc, argv);
  chorale::rpc::InitializeRpc();
  const auto is_good = chorale::adversary::Run(options);
  if (!is_good.ok()) return chorale::adversary::Fail(is_good.status());
  return *is_good ? 0 : 1;
}
