#include "tests/support/test_pki.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "core/storage/file.h"
#include "identity/enrolment.h"
#include "identity/party.h"

namespace chorale::support {
namespace {

using std::chrono::hours;

constexpr Duration kDay = hours(24);
constexpr Duration kAgeOfAuthority = 60 * kDay;
constexpr Duration kAgeOfExpired = 40 * kDay;
constexpr Duration kValidityOfExpired = 10 * kDay;

void Require(const Status& status, const char* step) {
  if (status.ok()) return;
  std::fprintf(stderr, "TestPki: %s: %s\n", step, status.ToString().c_str());
  std::abort();
}

template <typename T>
T Require(StatusOr<T> result, const char* step) {
  Require(result.status(), step);
  return *std::move(result);
}

identity::Authority MakeAuthority(const std::filesystem::path& directory,
                                  std::string_view federation, Time now) {
  Require(identity::Authority::Create(directory, federation, now), "creating the authority");
  return Require(identity::Authority::Open(directory), "opening the authority");
}

}  // namespace

TestPki::TestPki(std::string_view federation)
    : now_(SystemClock().WallNow()),
      authority_(MakeAuthority(authority_directory(), federation, now_ - kAgeOfAuthority)) {}

std::filesystem::path TestPki::authority_directory() const {
  return directory_.path() / "authority";
}

std::filesystem::path TestPki::DirectoryOf(v1::PartyRole role, std::string_view name) const {
  return directory_.path() / identity::RoleName(role) / name;
}

void TestPki::EnrolAt(v1::PartyRole role, std::string_view name, Duration validity, Time when) {
  identity::Invitation invitation{.role = role,
                                  .name = std::string(name),
                                  .dns_names = {},
                                  .ip_addresses = {},
                                  .token_validity = kDay,
                                  .certificate_validity = validity};
  if (role == v1::PARTY_ROLE_COORDINATOR) {
    invitation.dns_names = {"localhost"};
    invitation.ip_addresses = {"127.0.0.1"};
  }
  const std::filesystem::path directory = DirectoryOf(role, name);
  Require(storage::CreatePrivateDirectory(directory), "creating an identity directory");
  const std::string text = Require(authority_.Invite(invitation, /*renew=*/true, when), "inviting");
  const identity::Token token = Require(identity::ParseToken(text), "parsing the token");
  const std::string request =
      Require(identity::RequestEnrolment(directory, token, /*renew=*/true), "requesting");
  const std::string bundle = Require(authority_.Sign(request, when), "signing");
  Require(identity::CompleteEnrolment(directory, token, bundle, when), "completing");
}

std::filesystem::path TestPki::Enrol(v1::PartyRole role, std::string_view name) {
  EnrolAt(role, name, 365 * kDay, now_ - hours(1));
  return DirectoryOf(role, name);
}

std::filesystem::path TestPki::EnrolExpired(v1::PartyRole role, std::string_view name) {
  EnrolAt(role, name, kValidityOfExpired, now_ - kAgeOfExpired);
  return DirectoryOf(role, name);
}

void TestPki::Revoke(v1::PartyRole role, std::string_view name, std::string_view reason) {
  Require(authority_.Revoke(role, name, reason, now_), "revoking");
}

identity::Identity TestPki::Load(v1::PartyRole role, std::string_view name) {
  if (!std::filesystem::exists(DirectoryOf(role, name) / "certificate.pem")) Enrol(role, name);
  return Require(identity::Identity::Load(DirectoryOf(role, name), now_), "loading");
}

identity::Identity TestPki::LoadExpired(v1::PartyRole role, std::string_view name) {
  EnrolExpired(role, name);
  return Require(identity::Identity::Load(DirectoryOf(role, name), now_ - kAgeOfExpired + kDay),
                 "loading an expired identity");
}

rpc::TlsIdentity TlsOf(const identity::Identity& identity) {
  return {.certificate_pem = identity.certificate().pem(),
          .key_pem = identity.tls_key_pem(),
          .root_pem = identity.root().pem()};
}

}  // namespace chorale::support
