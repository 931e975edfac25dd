#pragma once

#include <filesystem>
#include <string>

#include "chorale/v1/identity.pb.h"
#include "cli/command_line.h"
#include "core/status.h"

// Enrolment as every party types it: `chorale site|coordinator|researcher enrol`.
namespace chorale::cli {

struct EnrolmentOptions {
  std::filesystem::path directory;           // The party's: enrolment-request.bin goes here.
  std::filesystem::path identity_directory;  // Keys and certificate.
  std::string token;                         // "-": one line of standard input.
  std::string authority;  // The authority's directory, where it is on this machine.
  std::string bundle;     // The authority's answer.
  bool renew = false;
};

void AddEnrolmentOptions(CLI::App& verb, EnrolmentOptions& options);

// Three ways, after what is given:
//   neither    makes the keys, writes enrolment-request.bin and says what to do with it
//   bundle     checks the authority's answer and installs the identity
//   authority  request, signature and installation in one step, on one machine
// The private keys stay in the identity directory in each of them. `role` is what the caller's verb
// enrols: an answer for another role is refused.
[[nodiscard]] Status Enrol(const EnrolmentOptions& options, v1::PartyRole role,
                           const Terminal& terminal);

}  // namespace chorale::cli
