#include "cli/backup_flow.h"

#include <CLI/CLI.hpp>
#include <array>
#include <chrono>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "backup/backup.h"
#include "backup/staging.h"
#include "cli/new_file.h"
#include "core/bytes.h"
#include "core/crypto/certificate.h"
#include "core/crypto/random.h"
#include "core/storage/file.h"
#include "identity/party.h"

namespace chorale::cli {
namespace {

constexpr std::uint64_t kMaxCertificateBytes = 16 * 1024;
constexpr std::array kIdentityFiles = {"certificate.pem", "root.pem", "signing.key", "tls.key"};

struct Options {
  std::filesystem::path directory;
  std::filesystem::path file;
  bool with_keys = false;
  OutputFormat format = OutputFormat::kText;
};

std::string Replaced(std::string text, const std::string& what, const std::string& with) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size()) {
    text.replace(at, what.size(), with);
  }
  return text;
}

void Print(const backup::Written& written, OutputFormat format, std::ostream& out) {
  const v1::BackupHeader& header = written.header;
  const std::string state = ToHex(AsBytes(header.state_digest()));
  if (format == OutputFormat::kJson) {
    out << nlohmann::ordered_json{{"role", identity::RoleName(header.role())},
                                  {"party", header.party()},
                                  {"federation", header.federation()},
                                  {"created_at", FormatTime(TimeOf(header.created_at()))},
                                  {"program_version", header.program_version()},
                                  {"has_keys", header.has_keys()},
                                  {"state_digest", state},
                                  {"file_digest", ToHex(written.digest)}}
               .dump(1)
        << '\n';
    return;
  }
  out << "party         " << identity::RoleName(header.role()) << " " << Printable(header.party())
      << " of federation " << Printable(header.federation()) << '\n'
      << "made          " << TimeCell(true, header.created_at()) << " UTC by version "
      << Printable(header.program_version()) << '\n'
      << "private keys  " << (header.has_keys() ? "in it: guard it like the keys themselves" : "no")
      << '\n'
      << "state digest  " << state << '\n'
      << "file digest   " << ToHex(written.digest) << '\n';
}

Status BackUp(const BackupVerbs& verbs, const Options& options, const Terminal& terminal) {
  CHORALE_ASSIGN_OR_RETURN(const PartyDirectory party, verbs.open(Absolute(options.directory)));
  CHORALE_ASSIGN_OR_RETURN(
      const std::string pem,
      storage::ReadFile(party.identity_directory / kIdentityFiles[0], kMaxCertificateBytes));
  CHORALE_ASSIGN_OR_RETURN(const crypto::Certificate certificate,
                           crypto::Certificate::FromPem(pem));
  CHORALE_ASSIGN_OR_RETURN(const identity::Party who, identity::PartyOf(certificate));

  backup::Request request{.header = {},
                          .layout = party.layout,
                          .state_directory = party.state_directory,
                          .further = {},
                          .file = Absolute(options.file)};
  request.header.set_role(who.role);
  request.header.set_party(who.name);
  request.header.set_federation(who.federation);
  const auto since_epoch = terminal.clock.WallNow().time_since_epoch();
  request.header.mutable_created_at()->set_seconds(
      std::chrono::floor<std::chrono::seconds>(since_epoch).count());
  request.further["config/" + verbs.config] = party.config_file;
  if (options.with_keys) {
    for (const char* const name : kIdentityFiles) {
      request.further[std::string("identity/") + name] = party.identity_directory / name;
    }
  }
  CHORALE_ASSIGN_OR_RETURN(const backup::Written written, backup::Write(request));
  if (options.format == OutputFormat::kText) {
    terminal.out << "Backup written: " << request.file.string() << '\n';
  }
  Print(written, options.format, terminal.out);
  return OkStatus();
}

Status Restore(const BackupVerbs& verbs, const Options& options, const Terminal& terminal) {
  const std::filesystem::path directory = Absolute(options.directory);
  crypto::SecureRandom random;
  CHORALE_ASSIGN_OR_RETURN(
      const backup::Written written,
      backup::Restore(Absolute(options.file),
                      {.role = verbs.role, .layout = verbs.layout, .directory = directory},
                      random));
  CHORALE_ASSIGN_OR_RETURN(const bool is_adapted, verbs.adapt(directory / verbs.config));
  if (options.format == OutputFormat::kText) {
    terminal.out << "Restored: " << directory.string() << '\n';
  }
  Print(written, options.format, terminal.out);
  if (options.format == OutputFormat::kJson) return OkStatus();
  if (is_adapted) {
    terminal.out << verbs.config
                 << " now names the folders state and identity beside it; as it was: "
                 << verbs.config << ".before\n";
  }
  terminal.out << "Next:\n";
  if (!written.header.has_keys()) {
    terminal.out << "  put the identity directory, which is no part of this backup, at "
                 << (directory / "identity").string() << "\n";
  }
  terminal.out << Replaced(verbs.next, "DIR", directory.string());
  return OkStatus();
}

Status Verify(const BackupVerbs& verbs, const Options& options, const Terminal& terminal) {
  if (options.file.empty() == options.directory.empty()) {
    return InvalidArgument(
        "give either --from FILE, to check a backup, or --dir DIR, to check a "
        "directory");
  }
  if (!options.file.empty()) {
    CHORALE_ASSIGN_OR_RETURN(const backup::Written written, backup::Check(options.file));
    if (written.header.role() != verbs.role) {
      return InvalidArgument("the backup is that of a " +
                             identity::RoleName(written.header.role()));
    }
    Print(written, options.format, terminal.out);
    return OkStatus();
  }
  CHORALE_ASSIGN_OR_RETURN(const PartyDirectory party, verbs.open(Absolute(options.directory)));
  CHORALE_ASSIGN_OR_RETURN(const backup::Staging staging,
                           backup::Staging::Take(party.layout, party.state_directory));
  CHORALE_ASSIGN_OR_RETURN(const crypto::Digest digest,
                           backup::DigestState(party.layout, staging.content()));
  if (options.format == OutputFormat::kJson) {
    terminal.out << nlohmann::ordered_json{{"state_digest", ToHex(digest)}}.dump(1) << '\n';
  } else {
    terminal.out << "state digest  " << ToHex(digest) << '\n';
  }
  return OkStatus();
}

using Action = Status (*)(const BackupVerbs&, const Options&, const Terminal&);

void Bind(CLI::App& verb, Command& command, const BackupVerbs& verbs,
          std::shared_ptr<Options> options, Action action) {
  AddFormatOption(verb, options->format);
  verb.callback([=, &command] {
    command.Choose([=, &command] { return action(verbs, *options, command.terminal()); });
  });
}

}  // namespace

void AddBackupVerbs(CLI::App& group, Command& command, const BackupVerbs& verbs) {
  const std::string of_party = "The " + verbs.party + "'s directory";
  auto options = std::make_shared<Options>();
  CLI::App* verb = group.add_subcommand(
      "backup",
      "Writes everything that must not be lost into one file, also while the program runs");
  verb->add_option("--dir", options->directory, of_party)->required();
  verb->add_option("--out", options->file, "The file to write; must not exist")->required();
  verb->add_flag("--with-keys", options->with_keys,
                 "Also the private keys: whoever has the file can then act as this " + verbs.party);
  Bind(*verb, command, verbs, options, BackUp);

  options = std::make_shared<Options>();
  verb = group.add_subcommand("restore", "Makes a new directory of a backup");
  verb->add_option("--dir", options->directory,
                   "The directory to make; must not exist, or be empty")
      ->required();
  verb->add_option("--from", options->file, "The backup")->required();
  Bind(*verb, command, verbs, options, Restore);

  options = std::make_shared<Options>();
  verb = group.add_subcommand(
      "verify", "Reads a backup or a directory from end to end and prints the digest of its state");
  verb->add_option("--dir", options->directory, of_party);
  verb->add_option("--from", options->file, "A backup");
  Bind(*verb, command, verbs, options, Verify);
}

}  // namespace chorale::cli
