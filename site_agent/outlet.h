#pragma once

#include <utility>
#include <variant>

#include "chorale/v1/federation.pb.h"
#include "core/bytes.h"
#include "core/status.h"
#include "core/storage/blob_store.h"

namespace chorale::site_agent {

class ReleaseGuard;

// Something the release guard let pass. Only the guard can make one, so that a function that takes
// a Released<T> cannot be called with anything else.
template <typename T>
class Released {
 public:
  [[nodiscard]] const T& value() const& { return value_; }
  [[nodiscard]] T Take() && { return std::move(value_); }

 private:
  friend class ReleaseGuard;
  explicit Released(T value) : value_(std::move(value)) {}
  T value_;
};

// A report as the journal holds it: small payloads in memory, large ones on disk.
struct OutgoingReport {
  v1::ReportHeader header;
  std::variant<Bytes, storage::BlobReader> payload;
};

// The way out of the site. It takes released things alone; the release guard is its only user.
class Outlet {
 public:
  virtual ~Outlet() = default;

  // Into the session. UNAVAILABLE when there is none. Called by one thread at a time.
  [[nodiscard]] virtual Status Send(Released<v1::SiteMessage> message) = 0;

  // Blocks until the coordinator answered; its status is the answer. Called by one thread at a
  // time, which may be another one than Send's.
  [[nodiscard]] virtual Status Report(Released<OutgoingReport> report) = 0;
};

}  // namespace chorale::site_agent
