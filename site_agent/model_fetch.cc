#include "site_agent/model_fetch.h"

#include <cstring>

#include "core/log.h"
#include "core/rpc/channel.h"
#include "core/rpc/chunks.h"

namespace chorale::site_agent {
namespace {

constexpr Duration kFirstPause = std::chrono::milliseconds(200);
constexpr Duration kLongestPause = std::chrono::seconds(10);

// The coordinator, or what it sent, will be no different next time.
bool IsFinal(StatusCode code) {
  switch (code) {
    case StatusCode::kInvalidArgument:
    case StatusCode::kNotFound:
    case StatusCode::kPermissionDenied:
    case StatusCode::kFailedPrecondition:
    case StatusCode::kOutOfRange:
    case StatusCode::kUnimplemented:
    case StatusCode::kDataLoss:
      return true;
    default:
      return false;
  }
}

template <typename Number>
StatusOr<std::vector<Number>> FetchNumbers(BlobSource& source, const TaskId& task,
                                           const crypto::BlobId& blob, RandomSource& random,
                                           Cancellation& cancellation) {
  std::vector<Number> values(blob.size_bytes / sizeof(Number));
  rpc::ChunkReceiver receiver(blob);
  rpc::Backoff backoff(kFirstPause, kLongestPause, random);
  const auto accept = [&](const v1::Chunk& chunk) {
    const std::uint64_t offset = receiver.received_bytes();
    CHORALE_RETURN_IF_ERROR(receiver.Accept(chunk));
    std::memcpy(reinterpret_cast<std::uint8_t*>(values.data()) + offset, chunk.data().data(),
                chunk.data().size());
    return OkStatus();
  };
  while (true) {
    const std::uint64_t before = receiver.received_bytes();
    Status status = source.Fetch(task, blob, before, accept, cancellation);
    if (cancellation.is_cancelled()) return Cancelled("the transfer was cancelled");
    // Where only the call's end was lost, there is nothing left to ask for.
    if (status.ok() || receiver.received_bytes() == blob.size_bytes) status = receiver.Finish();
    if (status.ok()) return values;
    if (IsFinal(status.code())) return status;
    if (receiver.received_bytes() > before) backoff.Reset();
    const Duration pause = backoff.Next();
    log::Warning("transfer.interrupted", {{"task", task.value()},
                                          {"received_bytes", receiver.received_bytes()},
                                          {"size_bytes", blob.size_bytes},
                                          {"reason", MessageOf(status)},
                                          {"retry_in", FormatDuration(pause)}});
    if (cancellation.WaitFor(pause)) return Cancelled("the transfer was cancelled");
  }
}

}  // namespace

StatusOr<ParameterVector> FetchParameters(BlobSource& source, const TaskId& task,
                                          const crypto::BlobId& blob, RandomSource& random,
                                          Cancellation& cancellation) {
  return FetchNumbers<float>(source, task, blob, random, cancellation);
}

StatusOr<std::vector<double>> FetchCoefficients(BlobSource& source, const TaskId& task,
                                                const crypto::BlobId& blob, RandomSource& random,
                                                Cancellation& cancellation) {
  return FetchNumbers<double>(source, task, blob, random, cancellation);
}

StatusOr<Bytes> FetchMessage(BlobSource& source, const TaskId& task, const crypto::BlobId& blob,
                             RandomSource& random, Cancellation& cancellation) {
  return FetchNumbers<std::uint8_t>(source, task, blob, random, cancellation);
}

}  // namespace chorale::site_agent
