#include "coordinator/site_sessions.h"

#include <utility>

namespace chorale::coordinator {

void SiteSessions::Open(SessionId id, SiteSession session) {
  sessions_.insert_or_assign(id, std::move(session));
}

bool SiteSessions::Greet(SessionId id, SiteGreeting greeting) {
  const auto session = sessions_.find(id);
  if (session == sessions_.end()) return false;
  session->second.greeting = std::move(greeting);
  const SiteId site = session->second.site;
  if (const auto older = current_.find(site); older != current_.end() && older->second != id) {
    End(SessionId(older->second),
        Aborted("a newer session of site " + site.value() + " took the place of this one"));
  }
  current_[site] = id;
  return true;
}

std::optional<SiteId> SiteSessions::Close(SessionId id) {
  const auto session = sessions_.find(id);
  if (session == sessions_.end()) return std::nullopt;
  const SiteId site = session->second.site;
  sessions_.erase(session);
  const auto current = current_.find(site);
  if (current == current_.end() || current->second != id) return std::nullopt;
  current_.erase(current);
  return site;
}

std::optional<SiteId> SiteSessions::End(SessionId id, const Status& why) {
  const SiteSession* session = Find(id);
  if (session == nullptr) return std::nullopt;
  session->channel->Close(why);
  ending_.push_back(session->channel);
  return Close(id);
}

void SiteSessions::KillEnding() {
  for (const auto& channel : ending_) channel->Kill();
  ending_.clear();
}

const SiteSession* SiteSessions::Find(SessionId id) const {
  const auto session = sessions_.find(id);
  return session == sessions_.end() ? nullptr : &session->second;
}

const SiteSession* SiteSessions::FindSite(const SiteId& site) const {
  const auto current = current_.find(site);
  return current == current_.end() ? nullptr : Find(current->second);
}

std::vector<SiteId> SiteSessions::ConnectedSites() const {
  std::vector<SiteId> sites;
  for (const auto& [site, id] : current_) sites.push_back(site);
  return sites;
}

}  // namespace chorale::coordinator
