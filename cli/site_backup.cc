#include <CLI/CLI.hpp>

#include "chorale/v1/config.pb.h"
#include "cli/backup_flow.h"
#include "cli/restored_config.h"
#include "cli/site_file.h"
#include "cli/verbs.h"
#include "site_agent/config.h"
#include "site_agent/state_layout.h"

namespace chorale::cli {
namespace {

StatusOr<PartyDirectory> Open(const std::filesystem::path& directory) {
  CHORALE_ASSIGN_OR_RETURN(v1::SiteConfig config, LoadSiteFile(directory));
  site_agent::FillDefaults(config);
  return PartyDirectory{.role = v1::PARTY_ROLE_SITE,
                        .config_file = SiteFilePath(directory),
                        .state_directory = directory / config.state_directory(),
                        .identity_directory = directory / config.identity_directory(),
                        .layout = site_agent::SiteStateLayout()};
}

}  // namespace

void AddSiteBackup(CLI::App& group, Command& command) {
  AddBackupVerbs(
      group, command,
      {.party = "site",
       .config = "site.yaml",
       .role = v1::PARTY_ROLE_SITE,
       .layout = site_agent::SiteStateLayout(),
       .open = Open,
       .adapt = UseFoldersBeside<v1::SiteConfig>,
       .next =
           "  see that site.yaml finds the datasets, which are no part of a backup: chorale site "
           "check --dir DIR\n"
           "  see that the agent it was made of never starts again\n"
           "  chorale-site-agent --config DIR/site.yaml\n"
           "Private jobs are refused if the ledger was charged after the backup: "
           "docs/privacy.md, \"The ledger\"\n"});
}

}  // namespace chorale::cli
