#include "tests/crash_points/stopping_agent.h"

namespace chorale::crash_points {

StatusOr<training::TrainResult> StoppingTrainer::Train(const training::TrainRequest& request) {
  constexpr double kHalf = 0.5;
  training::TrainRequest watched = request;
  bool is_past_half = false;
  watched.on_progress = [&](double share) {
    if (request.on_progress) request.on_progress(share);
    if (share < kHalf || std::exchange(is_past_half, true)) return;
    points_.Pass("in the middle of training");
  };
  if (request.on_checkpoint) {
    watched.wants_checkpoint = [] { return true; };
    watched.on_checkpoint = [&](const training::TrainCheckpoint& checkpoint) {
      points_
          .Around("checkpoint",
                  [&] {
                    request.on_checkpoint(checkpoint);
                    return OkStatus();
                  })
          .IgnoreError();
    };
  }
  return points_.Around("training", [&] { return trainer_->Train(watched); });
}

}  // namespace chorale::crash_points
