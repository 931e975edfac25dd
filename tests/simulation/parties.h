#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "chorale/v1/config.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "core/crypto/certificate.h"
#include "identity/identity.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/test_pki.h"

namespace chorale::simulation {

// Who takes part, with certificates and tables: made once for a program and the same in every
// simulation of it.
class Parties {
 public:
  static constexpr std::size_t kMaxSites = 5;

  Parties();
  [[nodiscard]] static const std::vector<std::string>& Sites();  // [kMaxSites], sorted.

  [[nodiscard]] std::filesystem::path roster_path() const { return pki_.roster_path(); }
  [[nodiscard]] const crypto::Certificate& root() const { return coordinator_->root(); }
  [[nodiscard]] const identity::Identity& coordinator() const { return *coordinator_; }
  [[nodiscard]] const identity::Identity& researcher() const { return *researcher_; }
  [[nodiscard]] const identity::Identity& site(const std::string& name) const {
    return sites_.at(name).identity;
  }
  // Shared with the sessions of the coordinator.
  [[nodiscard]] std::shared_ptr<const crypto::Certificate> CertificateOf(
      const std::string& site) const {
    return sites_.at(site).certificate;
  }
  // Rows that the site trains on.
  [[nodiscard]] std::uint64_t NumRows(const std::string& site) const;
  // A site's configuration, but for its directories; relative paths start at table_directory().
  [[nodiscard]] v1::SiteConfig ConfigOf(const std::string& site, bool has_budget) const;
  [[nodiscard]] std::filesystem::path table_directory() const { return tables_.path(); }

 private:
  struct Site {
    identity::Identity identity;
    std::shared_ptr<const crypto::Certificate> certificate;
  };
  support::TestPki pki_;
  support::TemporaryDirectory tables_{support::Medium::kMemory};
  std::unique_ptr<identity::Identity> coordinator_;
  std::unique_ptr<identity::Identity> researcher_;
  std::map<std::string, Site> sites_;
};

}  // namespace chorale::simulation
