#pragma once

#include <cstdint>

#include "models/graph.h"

// Where the rows of a batch are cut into pieces: the unit that one thread computes, and between
// two of which a cancelled training is noticed. No LibTorch here.
//
// The places depend on model and batch alone, never on the number of threads: they decide the order
// of additions.
namespace chorale::training {

// Rows of one piece of a batch of `batch_rows` that is trained on; the last piece may be shorter. A
// piece is small enough to bound memory (activations) and time (about a second), and large enough
// that summing its gradient and building its graph cost little beside it: a small batch runs on one
// thread. A model that couples examples is never cut. At least 1. REQUIRES: batch_rows > 0.
[[nodiscard]] std::uint64_t TrainingPieceRows(const models::GraphPlan& plan,
                                              std::uint64_t batch_rows);

// The same for rows that are predicted: a model computes each by itself. REQUIRES: num_rows > 0.
[[nodiscard]] std::uint64_t PredictionPieceRows(const models::GraphPlan& plan,
                                                std::uint64_t num_rows);

// The same for a CUDA device, trained on or predicted: memory alone bounds the rows, since it takes
// many of them to keep the device busy.
[[nodiscard]] std::uint64_t DevicePieceRows(const models::GraphPlan& plan, std::uint64_t num_rows);

// Numbers of the gradients that book-keeping forms for one patient, from above: those of layers
// that may have no ghost norm, whatever the patient's rows are.
[[nodiscard]] std::uint64_t FormedNumbers(const models::GraphPlan& plan);
// Rows of one pass of it over so many: as TrainingPieceRows, or a power of two times fewer, so that
// what is formed beside the activations takes about twice the memory of plain training at most. At
// least 1. REQUIRES: num_rows > 0.
[[nodiscard]] std::uint64_t PassRows(const models::GraphPlan& plan, std::uint64_t num_rows);
// Patients of one pass of it, as far as these gradients go. At least 1.
[[nodiscard]] std::uint64_t MaxPatientsAtOnce(const models::GraphPlan& plan);

// Rows that one thread may hold activations of at once, on the CPU, whatever the batch. At least 1.
[[nodiscard]] std::uint64_t MaxRowsAtOnce(const models::GraphPlan& plan);

}  // namespace chorale::training
