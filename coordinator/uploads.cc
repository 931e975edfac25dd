#include "coordinator/uploads.h"

#include <utility>
#include <vector>

namespace chorale::coordinator {

Uploads::Turn::Turn(Turn&& other) noexcept
    : uploads_(std::exchange(other.uploads_, nullptr)), researcher_(std::move(other.researcher_)) {}

Uploads::Turn::~Turn() {
  if (uploads_ == nullptr) return;
  const std::scoped_lock lock(uploads_->mutex_);
  uploads_->under_way_.erase(researcher_);
}

StatusOr<Uploads::Turn> Uploads::Begin(const ResearcherId& researcher, Time now,
                                       std::function<void()> cancel) {
  const std::scoped_lock lock(mutex_);
  if (under_way_.contains(researcher)) {
    return ResourceExhausted("a model of yours is being uploaded: try again after it");
  }
  if (under_way_.size() >= kMaxAtOnce) {
    return ResourceExhausted("too many models are being uploaded: try again");
  }
  under_way_.emplace(researcher, UnderWay{.since = now, .cancel = std::move(cancel)});
  return Turn(*this, researcher);
}

void Uploads::Put(const ResearcherId& researcher, HeldPayload model, Time now) {
  auto held = std::make_shared<const HeldPayload>(std::move(model));
  {
    const std::scoped_lock lock(mutex_);
    Upload& upload = uploads_[researcher];
    std::swap(upload.model, held);
    upload.since = now;
  }
  // The one before goes here, outside the lock: its file may be removed.
}

std::shared_ptr<const HeldPayload> Uploads::Find(const ResearcherId& researcher,
                                                 const crypto::BlobId& id) const {
  const std::scoped_lock lock(mutex_);
  const auto upload = uploads_.find(researcher);
  return upload == uploads_.end() || upload->second.model->id() != id ? nullptr
                                                                      : upload->second.model;
}

void Uploads::Expire(Time now) {
  std::vector<std::shared_ptr<const HeldPayload>> expired;  // Go after the lock.
  const std::scoped_lock lock(mutex_);
  for (const auto& [researcher, upload] : under_way_) {
    if (now - upload.since >= kLifetime) upload.cancel();
  }
  for (auto upload = uploads_.begin(); upload != uploads_.end();) {
    if (now - upload->second.since < kLifetime) {
      ++upload;
      continue;
    }
    expired.push_back(std::move(upload->second.model));
    upload = uploads_.erase(upload);
  }
}

}  // namespace chorale::coordinator
