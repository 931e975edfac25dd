#include "cli/enrolment_flow.h"

#include <CLI/CLI.hpp>
#include <istream>
#include <ostream>

#include "core/bytes.h"
#include "core/crypto/certificate.h"
#include "core/storage/file.h"
#include "identity/authority.h"
#include "identity/enrolment.h"
#include "identity/identity.h"
#include "identity/party.h"

namespace chorale::cli {
namespace {

constexpr std::uint64_t kMaxBundleBytes = 256 * 1024;
constexpr char kRequestFile[] = "enrolment-request.bin";

StatusOr<identity::Token> TokenOf(const EnrolmentOptions& options, const Terminal& terminal) {
  std::string text = options.token;
  if (text == "-" && !std::getline(terminal.in, text)) {
    return InvalidArgument("--token -: standard input holds no line");
  }
  return identity::ParseToken(text);
}

// A token for another role would give an identity that this party's programs refuse: say so before
// it is installed.
Status CheckRole(const std::string& bundle, v1::PartyRole role) {
  v1::EnrolmentBundle parsed;
  if (!parsed.ParseFromString(bundle))
    return InvalidArgument("the bundle is malformed; ask the authority to send it again");
  CHORALE_ASSIGN_OR_RETURN(const crypto::Certificate certificate,
                           crypto::Certificate::FromPem(parsed.certificate()));
  CHORALE_ASSIGN_OR_RETURN(const identity::Party party, identity::PartyOf(certificate));
  if (party.role == role) return OkStatus();
  return InvalidArgument("the token was made for a " + identity::RoleName(party.role) +
                         ", this verb enrols a " + identity::RoleName(role) +
                         "; ask the authority for another invitation");
}

Status Install(const EnrolmentOptions& options, const identity::Token& token,
               const std::string& bundle, v1::PartyRole role, const Terminal& terminal) {
  CHORALE_RETURN_IF_ERROR(CheckRole(bundle, role));
  const Time now = terminal.clock.WallNow();
  CHORALE_RETURN_IF_ERROR(
      identity::CompleteEnrolment(options.identity_directory, token, bundle, now));
  CHORALE_ASSIGN_OR_RETURN(const identity::Identity identity,
                           identity::Identity::Load(options.identity_directory, now));
  const identity::Party& party = identity.party();
  std::error_code ignored;
  std::filesystem::remove(options.directory / kRequestFile, ignored);
  terminal.out << "Enrolled: " << identity::RoleName(party.role) << " '" << party.name
               << "' of federation '" << party.federation << "'.\nThe certificate is valid until "
               << FormatTime(identity.certificate().fields().not_after)
               << "; keys and certificate are in " << options.identity_directory.string() << ".\n";
  return OkStatus();
}

}  // namespace

void AddEnrolmentOptions(CLI::App& verb, EnrolmentOptions& options) {
  verb.add_option("--token", options.token,
                  "The authority's one-time token; - reads it from standard input")
      ->required();
  CLI::Option* authority = verb.add_option(
      "--authority", options.authority, "The authority's directory, where it is on this machine");
  verb.add_option("--bundle", options.bundle, "The authority's answer to enrolment-request.bin")
      ->excludes(authority);
  verb.add_flag("--renew", options.renew, "Replaces an identity that is still valid");
}

Status Enrol(const EnrolmentOptions& options, v1::PartyRole role, const Terminal& terminal) {
  CHORALE_ASSIGN_OR_RETURN(const identity::Token token, TokenOf(options, terminal));
  if (!options.bundle.empty()) {
    CHORALE_ASSIGN_OR_RETURN(const std::string bundle,
                             storage::ReadFile(options.bundle, kMaxBundleBytes));
    return Install(options, token, bundle, role, terminal);
  }
  CHORALE_RETURN_IF_ERROR(storage::CreatePrivateDirectory(options.directory));
  CHORALE_ASSIGN_OR_RETURN(
      const std::string request,
      identity::RequestEnrolment(options.identity_directory, token, options.renew));
  if (!options.authority.empty()) {
    CHORALE_ASSIGN_OR_RETURN(identity::Authority authority,
                             identity::Authority::Open(options.authority));
    CHORALE_ASSIGN_OR_RETURN(const std::string bundle,
                             authority.Sign(request, terminal.clock.WallNow()));
    return Install(options, token, bundle, role, terminal);
  }
  const std::filesystem::path file = options.directory / kRequestFile;
  CHORALE_RETURN_IF_ERROR(
      storage::WriteFileAtomically(file, AsBytes(request), storage::FileMode::kPublic));
  terminal.out
      << "Keys made in " << options.identity_directory.string() << "; they stay there.\n"
      << "Request written to " << file.string() << " (it holds no secret). Next:\n"
      << "  1. send it to the federation authority, who runs\n"
      << "       chorale federation sign --dir AUTHORITY " << kRequestFile << " --out bundle.bin\n"
      << "  2. with the bundle that comes back, run this command again with --bundle bundle.bin\n";
  return OkStatus();
}

}  // namespace chorale::cli
