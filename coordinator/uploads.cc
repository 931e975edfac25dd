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
  uploads_->turn_ended_.notify_all();
}

std::unique_ptr<PartialPayload> Uploads::Turn::TakePartial(const crypto::BlobId& id) {
  std::unique_ptr<PartialPayload> taken;  // One of another model goes after the lock.
  {
    const std::scoped_lock lock(uploads_->mutex_);
    uploads_->under_way_.at(researcher_).id = id;
    const auto partial = uploads_->partials_.find(researcher_);
    if (partial == uploads_->partials_.end()) return nullptr;
    taken = std::move(partial->second.payload);
    uploads_->partials_.erase(partial);
  }
  return taken->receiver.expected() == id ? std::move(taken) : nullptr;
}

void Uploads::Turn::KeepPartial(std::unique_ptr<PartialPayload> partial, Time now) {
  const std::scoped_lock lock(uploads_->mutex_);
  uploads_->partials_[researcher_] = {.payload = std::move(partial), .since = now};
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
  under_way_.emplace(researcher, UnderWay{.since = now, .cancel = std::move(cancel), .id = {}});
  return Turn(*this, researcher);
}

StatusOr<std::uint64_t> Uploads::FindReceived(const ResearcherId& researcher,
                                              const crypto::BlobId& id, Duration patience) {
  std::unique_lock lock(mutex_);
  const auto is_under_way = [&] {
    const auto turn = under_way_.find(researcher);
    return turn != under_way_.end() && turn->second.id.value_or(id) == id;
  };
  if (is_under_way()) {
    under_way_.at(researcher).cancel();
    if (!turn_ended_.wait_for(lock, patience, [&] { return !is_under_way(); })) {
      return ResourceExhausted("an earlier transfer of this model has not ended: try again");
    }
  }
  const auto upload = uploads_.find(researcher);
  if (upload != uploads_.end() && upload->second.model->id() == id) return id.size_bytes;
  const auto partial = partials_.find(researcher);
  if (partial == partials_.end() || partial->second.payload->receiver.expected() != id) return 0;
  return partial->second.payload->receiver.received_bytes();
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
  std::vector<std::shared_ptr<const HeldPayload>> expired;  // These go after the lock.
  std::vector<std::unique_ptr<PartialPayload>> expired_partials;
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
  for (auto partial = partials_.begin(); partial != partials_.end();) {
    if (now - partial->second.since < kLifetime) {
      ++partial;
      continue;
    }
    expired_partials.push_back(std::move(partial->second.payload));
    partial = partials_.erase(partial);
  }
}

}  // namespace chorale::coordinator
