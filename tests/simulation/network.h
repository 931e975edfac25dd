#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "chorale/v1/federation.pb.h"
#include "coordinator/site_channel.h"
#include "core/status.h"
#include "core/time.h"
#include "tests/simulation/world.h"

namespace chorale::simulation {

// How unkind the network is.
struct Weather {
  double drop = 0;         // Of a message: it does not arrive.
  double duplicate = 0;    // It arrives twice.
  double reorder = 0;      // It overtakes others, or is overtaken.
  double lose_call = 0;    // Of a call: the coordinator never hears of it.
  double lose_answer = 0;  // The caller never hears the answer.
  double repeat_call = 0;  // It is heard once more, later.
  Duration least_latency = std::chrono::milliseconds(1);
  Duration most_latency = std::chrono::milliseconds(5);
};

using StreamId = std::uint64_t;

// A site's end of its stream.
class SiteEnd {
 public:
  virtual ~SiteEnd() = default;
  virtual void StreamOpened(StreamId id) = 0;
  virtual void StreamReceived(StreamId id, const std::string& bytes) = 0;
  virtual void StreamClosed(StreamId id, const Status& why) = 0;
};

// The coordinator's end of every stream.
class CoordinatorEnd {
 public:
  virtual ~CoordinatorEnd() = default;
  [[nodiscard]] virtual bool IsUp() const = 0;
  virtual void StreamOpened(StreamId id, const std::string& site) = 0;
  virtual void StreamReceived(StreamId id, const std::string& bytes) = 0;
  virtual void StreamClosed(StreamId id) = 0;
};

// The lines between the sites and the coordinator. Streams keep order unless the weather says
// otherwise, and messages travel as bytes.
class Network {
 public:
  explicit Network(World& world) : world_(world) {}
  void Join(const std::string& site, SiteEnd& end) { sites_[site] = &end; }
  void Join(CoordinatorEnd& end) { coordinator_ = &end; }

  void SetWeather(const Weather& weather) { weather_ = weather; }
  [[nodiscard]] const Weather& weather() const { return weather_; }
  // Nothing gets through between this site and the coordinator until then.
  void Cut(const std::string& site, Time until) { cut_until_[site] = until; }
  void Mend() { cut_until_.clear(); }
  [[nodiscard]] bool IsCut(const std::string& site) const;

  // ---- streams, by sites
  StreamId Dial(const std::string& site);
  void SendUp(StreamId id, std::string bytes);
  void HangUp(StreamId id);
  // The site's process is gone; `is_silent`: nobody tells the coordinator.
  void SiteDied(const std::string& site, bool is_silent);

  // ---- streams, by the coordinator
  void SendDown(StreamId id, std::string bytes);
  void CloseDown(StreamId id, const Status& why);
  void CoordinatorDied(bool is_silent);

  // ---- calls
  enum class Fate { kArrives, kIsLost, kAnswerIsLost };
  [[nodiscard]] Fate FateOfCall(const std::string& site);
  // Of a call that has arrived.
  [[nodiscard]] bool LosesAnswer();
  // Whether this call is heard once more, and how much later.
  [[nodiscard]] std::optional<Duration> Repetition();
  [[nodiscard]] Duration Latency();

 private:
  struct Stream {
    std::string site;
    bool is_open_at_site = true;  // Until it is told that the stream has ended.
    bool is_open_at_coordinator = false;
    Time last_up{};
    Time last_down{};
  };
  [[nodiscard]] Stream* Find(StreamId id);
  // When a message arrives that is sent now, behind `last`.
  [[nodiscard]] Duration Travel(Time& last);
  void Carry(StreamId id, std::string bytes, bool is_up);
  void Arrive(StreamId id, const std::string& bytes, bool is_up);
  void EndAtSite(StreamId id, const Status& why);
  void EndAtCoordinator(StreamId id);
  // Both ends find out, each in its time.
  void Break(StreamId id);

  World& world_;
  Weather weather_;
  CoordinatorEnd* coordinator_ = nullptr;
  std::map<std::string, SiteEnd*> sites_;
  std::map<std::string, Time> cut_until_;
  std::map<StreamId, Stream> streams_;
  StreamId last_id_ = 0;
};

}  // namespace chorale::simulation
