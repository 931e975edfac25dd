#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "chorale/v1/jobs.pb.h"
#include "core/crypto/certificate.h"
#include "core/rpc/chunks.h"
#include "core/status.h"
#include "core/time.h"

namespace chorale::cli {

// Takes a pulled model piece by piece, without holding it in memory, and lets it appear only when
// all of it is proved:
//   model.safetensors   the weights: F32, or F64 where the manifest says so
//   manifest.json       what made them, the exact bytes that were signed
//   manifest.json.sig   JSON: domain, signature (hexadecimal) and the coordinator's certificate, to
//   verify offline
// What does not end with Finish leaves nothing behind. Not thread-safe.
class ModelWriter {
 public:
  // Checks the header before a byte is written. PERMISSION_DENIED: the manifest is not signed by a
  // coordinator of this federation. UNAUTHENTICATED: its certificate. DATA_LOSS: manifest, job,
  // layout and weights do not fit together.
  [[nodiscard]] static StatusOr<ModelWriter> Create(const std::filesystem::path& directory,
                                                    const std::string& job_id,
                                                    const v1::PullModelHeader& header,
                                                    const crypto::Certificate& root, Time now);
  ModelWriter(ModelWriter&&) noexcept;
  ModelWriter& operator=(ModelWriter&&) noexcept;
  ~ModelWriter();

  // DATA_LOSS or INVALID_ARGUMENT for a chunk that does not fit; RESOURCE_EXHAUSTED: disk full.
  [[nodiscard]] Status Append(const v1::Chunk& chunk);
  // DATA_LOSS unless every byte came and has the signed digest.
  [[nodiscard]] Status Finish() &&;

  [[nodiscard]] std::uint64_t num_parameters() const;
  [[nodiscard]] std::uint64_t size_bytes() const;

 private:
  struct State;
  explicit ModelWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace chorale::cli
