#include "tests/simulation/network.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace chorale::simulation {
namespace {

// What a transport's keepalive needs to see that nobody is there.
constexpr Duration kKeepalive = std::chrono::seconds(30);
constexpr Duration kMostDelayOfRepetition = std::chrono::minutes(2);

}  // namespace

bool Network::IsCut(const std::string& site) const {
  const auto until = cut_until_.find(site);
  return until != cut_until_.end() && world_.now() < until->second;
}

Duration Network::Latency() {
  return world_.Between(weather_.least_latency, weather_.most_latency);
}

Network::Stream* Network::Find(StreamId id) {
  const auto stream = streams_.find(id);
  return stream == streams_.end() ? nullptr : &stream->second;
}

// ---------------------------------------------------------------------------- opening and ending

StreamId Network::Dial(const std::string& site) {
  const StreamId id = ++last_id_;
  streams_.emplace(id, Stream{.site = site});
  world_.After(Latency(), [this, id, site] {
    if (Find(id) == nullptr) return;
    if (IsCut(site)) {
      return world_.After(kKeepalive, [this, id] { EndAtSite(id, Unavailable("timed out")); });
    }
    if (!coordinator_->IsUp()) {
      return world_.After(Latency(),
                          [this, id] { EndAtSite(id, Unavailable("connection refused")); });
    }
    Stream& stream = streams_.at(id);
    if (!stream.is_open_at_site) return;
    stream.is_open_at_coordinator = true;
    coordinator_->StreamOpened(id, site);
    Stream* const opened = Find(id);
    if (opened == nullptr) return;
    world_.After(Travel(opened->last_down), [this, id] {
      const Stream* stream_now = Find(id);
      if (stream_now == nullptr || !stream_now->is_open_at_site) return;
      sites_.at(stream_now->site)->StreamOpened(id);
    });
  });
  return id;
}

void Network::EndAtSite(StreamId id, const Status& why) {
  Stream* stream = Find(id);
  if (stream == nullptr || !stream->is_open_at_site) return;
  stream->is_open_at_site = false;
  SiteEnd& end = *sites_.at(stream->site);
  if (!stream->is_open_at_coordinator) streams_.erase(id);
  end.StreamClosed(id, why);
}

void Network::EndAtCoordinator(StreamId id) {
  Stream* stream = Find(id);
  if (stream == nullptr || !stream->is_open_at_coordinator) return;
  stream->is_open_at_coordinator = false;
  if (!stream->is_open_at_site) streams_.erase(id);
  coordinator_->StreamClosed(id);
}

void Network::Break(StreamId id) {
  world_.After(world_.Between(Duration(0), kKeepalive),
               [this, id] { EndAtSite(id, Unavailable("the connection is lost")); });
  world_.After(world_.Between(Duration(0), kKeepalive), [this, id] { EndAtCoordinator(id); });
}

void Network::HangUp(StreamId id) {
  world_.After(Latency(), [this, id] {
    EndAtCoordinator(id);
    world_.After(Latency(), [this, id] { EndAtSite(id, Cancelled("hung up")); });
  });
}

void Network::CloseDown(StreamId id, const Status& why) {
  Stream* stream = Find(id);
  if (stream == nullptr || !stream->is_open_at_coordinator) return;
  world_.After(Travel(stream->last_down), [this, id, why] {
    EndAtSite(id, why.ok() ? Cancelled("the coordinator has ended the stream") : why);
  });
  world_.After(Latency(), [this, id] { EndAtCoordinator(id); });
}

void Network::SiteDied(const std::string& site, bool is_silent) {
  for (auto& [id, stream] : streams_) {
    if (stream.site != site) continue;
    stream.is_open_at_site = false;
    if (!is_silent) world_.After(Latency(), [this, id = id] { EndAtCoordinator(id); });
  }
}

void Network::CoordinatorDied(bool is_silent) {
  for (auto& [id, stream] : streams_) {
    stream.is_open_at_coordinator = false;
    const Duration until = is_silent ? world_.Between(Duration(0), kKeepalive) : Latency();
    world_.After(until,
                 [this, id = id] { EndAtSite(id, Unavailable("the connection was reset")); });
  }
}

// ---------------------------------------------------------------------------- messages

Duration Network::Travel(Time& last) {
  Time arrival = world_.now() + Latency();
  if (world_.Chance(weather_.reorder)) return arrival - world_.now();
  arrival = std::max(arrival, last);
  last = arrival;
  return arrival - world_.now();
}

void Network::SendUp(StreamId id, std::string bytes) { Carry(id, std::move(bytes), true); }
void Network::SendDown(StreamId id, std::string bytes) { Carry(id, std::move(bytes), false); }

void Network::Carry(StreamId id, std::string bytes, bool is_up) {
  Stream* stream = Find(id);
  if (stream == nullptr) return;
  if (world_.Chance(weather_.drop)) return world_.Tell("network", "drops a message");
  const int copies = world_.Chance(weather_.duplicate) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    const Duration travel = Travel(is_up ? stream->last_up : stream->last_down);
    world_.After(travel, [this, id, bytes, is_up] { Arrive(id, bytes, is_up); });
  }
}

void Network::Arrive(StreamId id, const std::string& bytes, bool is_up) {
  Stream* stream = Find(id);
  if (stream == nullptr) return;
  if (IsCut(stream->site)) return Break(id);
  if (is_up) {
    if (stream->is_open_at_coordinator) coordinator_->StreamReceived(id, bytes);
  } else if (stream->is_open_at_site) {
    sites_.at(stream->site)->StreamReceived(id, bytes);
  }
}

// ---------------------------------------------------------------------------- calls

Network::Fate Network::FateOfCall(const std::string& site) {
  if (IsCut(site) || !coordinator_->IsUp() || world_.Chance(weather_.lose_call)) {
    return Fate::kIsLost;
  }
  return LosesAnswer() ? Fate::kAnswerIsLost : Fate::kArrives;
}

bool Network::LosesAnswer() { return world_.Chance(weather_.lose_answer); }

std::optional<Duration> Network::Repetition() {
  if (!world_.Chance(weather_.repeat_call)) return std::nullopt;
  return world_.Between(Duration(0), kMostDelayOfRepetition);
}

}  // namespace chorale::simulation
