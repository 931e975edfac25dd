#include "privacy/ledger/step_curves.h"

#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "privacy/ledger/entry.h"
#include "privacy/ledger/event_codec.h"
#include "privacy/statement.h"

namespace chorale::privacy {
namespace {

constexpr std::size_t kMaxCurves = 1024;

struct Cache {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<const RdpCurve>> curves;
};

Cache& TheCache() {
  static Cache* const cache = new Cache();  // Never destroyed: threads may outlive main.
  return *cache;
}

}  // namespace

StatusOr<std::shared_ptr<const RdpCurve>> CurveOfStep(const Event& step,
                                                      NeighboringRelation relation) {
  std::string key = std::string(NameOf(relation)) + EncodeEvent(step).SerializeAsString();
  Cache& cache = TheCache();
  {
    const std::lock_guard lock(cache.mutex);
    if (const auto known = cache.curves.find(key); known != cache.curves.end()) {
      return known->second;
    }
  }
  CHORALE_ASSIGN_OR_RETURN(RdpCurve computed,
                           ComputeRdpCurve(EventOf(step, 1), relation, ExtendedOrders()));
  auto curve = std::make_shared<const RdpCurve>(std::move(computed));
  const std::lock_guard lock(cache.mutex);
  if (cache.curves.size() >= kMaxCurves) cache.curves.clear();
  cache.curves[std::move(key)] = curve;
  return curve;
}

}  // namespace chorale::privacy
