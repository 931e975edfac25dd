#include "tests/simulation/parties.h"

#include <algorithm>

#include "tests/site_agent/fixtures.h"

namespace chorale::simulation {
namespace {

constexpr std::size_t kFewestRows = 10;
constexpr std::size_t kMoreRows = 4;  // That each site has than the one before.

std::size_t RowsOf(std::size_t place) { return kFewestRows + kMoreRows * place; }

}  // namespace

const std::vector<std::string>& Parties::Sites() {
  static const std::vector<std::string> sites = {"east", "middle", "north", "south", "west"};
  return sites;
}

Parties::Parties()
    : coordinator_(
          std::make_unique<identity::Identity>(pki_.Load(v1::PARTY_ROLE_COORDINATOR, "main"))),
      researcher_(
          std::make_unique<identity::Identity>(pki_.Load(v1::PARTY_ROLE_RESEARCHER, "ada"))) {
  for (std::size_t i = 0; i < kMaxSites; ++i) {
    const std::string& name = Sites()[i];
    identity::Identity identity = pki_.Load(v1::PARTY_ROLE_SITE, name);
    auto certificate = std::make_shared<const crypto::Certificate>(identity.certificate());
    sites_.emplace(name, Site{std::move(identity), std::move(certificate)});
    site_agent::WriteFile(tables_.path() / (name + ".csv"),
                          site_agent::MakeCsv(static_cast<int>(RowsOf(i)), 0));
  }
}

std::uint64_t Parties::NumRows(const std::string& site) const {
  const auto place = std::find(Sites().begin(), Sites().end(), site) - Sites().begin();
  return RowsOf(static_cast<std::size_t>(place));
}

v1::SiteConfig Parties::ConfigOf(const std::string& site, bool has_budget) const {
  v1::SiteConfig config = site_agent::MakeSiteConfig(tables_.path());
  config.mutable_datasets(0)->mutable_csv()->set_path(site + ".csv");
  if (has_budget) {
    v1::PrivacyLimits& limits = *config.mutable_datasets(0)->mutable_privacy();
    limits.set_max_epsilon(5);
    limits.set_max_epsilon_per_job(2);
    limits.set_max_epsilon_per_project(5);
    limits.set_delta(1e-4);
    limits.set_relation("add-remove");
  }
  return config;
}

}  // namespace chorale::simulation
