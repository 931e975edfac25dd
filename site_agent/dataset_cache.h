#pragma once

#include <cstdint>
#include <filesystem>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "chorale/v1/config.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "core/crypto/digest.h"
#include "data/dataset.h"
#include "data/examples.h"
#include "site_agent/reason_codes.h"

namespace chorale::site_agent {

// Inputs and targets of both splits as a model takes them.
struct PreparedExamples {
  data::Examples train;
  data::Examples test;
};

// A table read for one DataSpec. Not thread-safe.
class LoadedDataset {
 public:
  explicit LoadedDataset(data::Dataset dataset) : dataset_(std::move(dataset)) {}

  [[nodiscard]] const data::Dataset& dataset() const { return dataset_; }
  // With the federation's moments, or without any as the specification says; kept for the next
  // round. Valid until either Prepare is called again. REQUIRES: moments that data::Validate
  // accepts.
  [[nodiscard]] const PreparedExamples& Prepare(
      const std::optional<std::vector<data::Moments>>& moments);
  // The training rows without the rounding to float32, for solvers; otherwise alike. What Prepare
  // kept goes: memory holds one of them.
  [[nodiscard]] const data::ExactExamples& PrepareExact(
      const std::optional<std::vector<data::Moments>>& moments);

  // Memory that prepared examples take now, and how to have it back.
  [[nodiscard]] std::uint64_t PreparedBytes() const;
  void DropPrepared();

 private:
  [[nodiscard]] bool IsPreparedWith(const std::optional<std::vector<data::Moments>>& moments) const;

  data::Dataset dataset_;
  std::optional<std::vector<data::Moments>> moments_;  // Of whichever is held below.
  std::optional<PreparedExamples> prepared_;
  std::optional<data::ExactExamples> exact_;
};

// Reads each table once and again when its file, or that of an array, changes. What is wrong with a
// table goes to the site's own log, with file, line and column; the coordinator gets the code. Not
// thread-safe.
class DatasetCache {
 public:
  // Relative paths of connectors start at `config_directory`.
  explicit DatasetCache(std::filesystem::path config_directory)
      : config_directory_(std::move(config_directory)) {}

  // The table, valid until the next call, or why there is none: SCHEMA_MISMATCH, a column that the
  // job names is not there; RESOURCE_LIMIT, too large; DATA_INVALID, everything else.
  [[nodiscard]] std::variant<LoadedDataset*, ReasonCode> Load(const v1::DatasetConfig& config,
                                                              const v1::DataSpec& spec);

  // What the other tables hold prepared, and how to have that memory back.
  [[nodiscard]] std::uint64_t PreparedBytesBeside(const LoadedDataset& dataset) const;
  void DropPreparedBeside(const LoadedDataset& dataset);

 private:
  struct FileVersion {
    std::filesystem::file_time_type modified;
    std::uintmax_t size_bytes = 0;
    friend bool operator==(const FileVersion&, const FileVersion&) = default;
  };
  // What tells one reading from another.
  struct Key {
    std::string dataset_id;
    crypto::Digest spec_digest{};
    std::vector<FileVersion> files;  // The table, then the arrays.
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct Entry {
    Key key;
    LoadedDataset dataset;
  };
  [[nodiscard]] FileVersion VersionOf(const std::string& path) const;

  std::filesystem::path config_directory_;
  std::list<Entry> entries_;  // Last used first.
};

}  // namespace chorale::site_agent
