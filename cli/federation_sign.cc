#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>

#include "cli/verbs.h"
#include "core/bytes.h"
#include "core/storage/file.h"
#include "identity/authority.h"

namespace chorale::cli {
namespace {

constexpr std::uint64_t kMaxRequestBytes = 64 * 1024;

struct Options {
  std::filesystem::path directory;
  std::filesystem::path request;
  std::filesystem::path bundle;
};

Status Run(const Options& options, const Terminal& terminal) {
  CHORALE_ASSIGN_OR_RETURN(const std::string request,
                           storage::ReadFile(options.request, kMaxRequestBytes));
  // A token serves once: find out that the answer cannot be written before it is spent.
  std::error_code error;
  const std::filesystem::path parent = std::filesystem::absolute(options.bundle).parent_path();
  if (!std::filesystem::is_directory(parent, error)) {
    return InvalidArgument("--out: the directory " + parent.string() +
                           " does not exist; create it first");
  }
  CHORALE_ASSIGN_OR_RETURN(identity::Authority authority,
                           identity::Authority::Open(options.directory));
  CHORALE_ASSIGN_OR_RETURN(const std::string bundle,
                           authority.Sign(request, terminal.clock.WallNow()));
  CHORALE_RETURN_IF_ERROR(
      storage::WriteFileAtomically(options.bundle, AsBytes(bundle), storage::FileMode::kPublic));
  terminal.out << "Bundle written to " << options.bundle.string()
               << ": send it back to the party (it holds no secret).\n"
               << "Give the coordinator the new roster: " << authority.roster_path().string()
               << "\n";
  return OkStatus();
}

}  // namespace

void AddFederationSign(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb = group.add_subcommand(
      "sign", "Answers an enrolment request with a certificate, once per token");
  verb->add_option("--dir", options->directory, "The authority's directory")->required();
  verb->add_option("request", options->request, "The party's enrolment-request.bin")->required();
  verb->add_option("--out", options->bundle, "Where the bundle for the party goes")->required();
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
