#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>

#include "cli/new_file.h"
#include "cli/site_file.h"
#include "cli/verbs.h"
#include "core/bytes.h"
#include "core/storage/file.h"
#include "privacy/ledger/entry.h"
#include "site_agent/config.h"
#include "site_agent/privacy_accounts.h"

namespace chorale::cli {
namespace {

constexpr std::uint64_t kMaxReceiptBytes = 256;

Status Run(const std::filesystem::path& directory, const Terminal& terminal) {
  const std::filesystem::path site = Absolute(directory);
  CHORALE_ASSIGN_OR_RETURN(v1::SiteConfig config, LoadSiteFile(site));
  site_agent::FillDefaults(config);
  const std::filesystem::path state = site / config.state_directory();
  const auto lock = storage::DirectoryLock::Acquire(state);
  if (!lock.ok()) return Annotate(lock.status(), "the agent must be stopped");
  const StatusOr<std::string> text =
      storage::ReadFile(state / site_agent::kRefusedReceiptFile, kMaxReceiptBytes);
  if (text.status().code() == StatusCode::kNotFound) {
    return FailedPrecondition(
        "the coordinator has told this agent of no row that its ledger lacks: there is no loss to "
        "accept");
  }
  if (!text.ok()) return text.status();
  const std::optional<privacy::LedgerHead> receipt = privacy::DecodeHead(*text);
  if (!receipt.has_value()) {
    return DataLoss((state / site_agent::kRefusedReceiptFile).string() +
                    " is damaged: remove it, start the agent once, and try again");
  }
  CHORALE_RETURN_IF_ERROR(storage::WriteFileAtomically(
      state / site_agent::kAcceptedReceiptFile, AsBytes(*text), storage::FileMode::kPrivate));
  terminal.out
      << "Accepted: what the privacy ledger held up to row " << receipt->seq
      << " and does not hold any more is lost. Private jobs are taken again.\n"
      << "What they were charged there is spent all the same: lower max_epsilon of every "
         "dataset in site.yaml by what may be missing (docs/privacy.md, \"The ledger\").\n";
  return OkStatus();
}

}  // namespace

void AddSiteAcceptLoss(CLI::App& group, Command& command) {
  const auto directory = std::make_shared<std::filesystem::path>();
  CLI::App* verb = group.add_subcommand(
      "accept-loss",
      "Says that rows of the privacy ledger, which the coordinator was told of, are lost for good");
  verb->add_option("--dir", *directory, "The site's directory")->required();
  verb->callback([directory, &command] {
    command.Choose([directory, &command] { return Run(*directory, command.terminal()); });
  });
}

}  // namespace chorale::cli
