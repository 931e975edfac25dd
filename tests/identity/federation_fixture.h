#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "core/time.h"
#include "identity/authority.h"
#include "identity/enrolment.h"
#include "identity/identity.h"
#include "identity/party.h"
#include "identity/roster.h"
#include "tests/support/temporary_directory.h"

// A federation authority in a directory of its own, and parties that enrol with it.
namespace chorale::identity {

inline constexpr Time kNow = Time(std::chrono::sys_days(std::chrono::year(2026) / 11 / 20));
inline constexpr Duration kHour = std::chrono::hours(1);
inline constexpr Duration kDay = std::chrono::hours(24);

inline Invitation InviteSite(std::string name) {
  Invitation invitation;
  invitation.role = v1::PARTY_ROLE_SITE;
  invitation.name = std::move(name);
  return invitation;
}

inline Invitation InviteCoordinator(std::string name) {
  Invitation invitation;
  invitation.role = v1::PARTY_ROLE_COORDINATOR;
  invitation.name = std::move(name);
  invitation.dns_names = {"localhost"};
  invitation.ip_addresses = {"127.0.0.1"};
  return invitation;
}

inline std::string ReadAll(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class FederationTest : public testing::Test {
 protected:
  FederationTest() {
    const Status created = Authority::Create(authority_directory(), "test-federation", kNow);
    EXPECT_TRUE(created.ok()) << created;
    OpenAuthority();
  }

  void OpenAuthority() {
    StatusOr<Authority> opened = Authority::Open(authority_directory());
    ASSERT_TRUE(opened.ok()) << opened.status();
    authority_.emplace(*std::move(opened));
  }

  [[nodiscard]] std::filesystem::path authority_directory() const {
    return directory_.path() / "authority";
  }
  [[nodiscard]] std::filesystem::path PartyDirectory(const std::string& name) const {
    return directory_.path() / name;
  }

  // A token's text and what it says.
  std::string InviteText(const Invitation& invitation, bool renew = false) {
    StatusOr<std::string> text = authority_->Invite(invitation, renew, kNow);
    EXPECT_TRUE(text.ok()) << text.status();
    return text.ok() ? *std::move(text) : std::string();
  }
  Token InviteToken(const Invitation& invitation, bool renew = false) {
    return *ParseToken(InviteText(invitation, renew));
  }
  std::string Request(const std::string& name, const Token& token, bool renew = false) {
    StatusOr<std::string> request = RequestEnrolment(PartyDirectory(name), token, renew);
    EXPECT_TRUE(request.ok()) << request.status();
    return request.ok() ? *std::move(request) : std::string();
  }

  // All of enrolment, at `now`.
  Identity Enrol(const Invitation& invitation, Time now = kNow, bool renew = false) {
    const Token token = *ParseToken(*authority_->Invite(invitation, renew, now));
    const std::string request = Request(invitation.name, token, renew);
    const StatusOr<std::string> bundle = authority_->Sign(request, now);
    EXPECT_TRUE(bundle.ok()) << bundle.status();
    const Status completed =
        CompleteEnrolment(PartyDirectory(invitation.name), token, *bundle, now);
    EXPECT_TRUE(completed.ok()) << completed;
    return *Identity::Load(PartyDirectory(invitation.name), now);
  }

  // The roster as a coordinator would read it.
  [[nodiscard]] Roster ReadRoster(const crypto::Certificate& root) const {
    StatusOr<Roster> roster = Roster::Parse(ReadAll(authority_->roster_path()), root);
    EXPECT_TRUE(roster.ok()) << roster.status();
    return *std::move(roster);
  }

  support::TemporaryDirectory directory_;
  std::optional<Authority> authority_;
};

}  // namespace chorale::identity
