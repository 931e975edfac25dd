#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace chorale::data {

// Examples of one split, as a model takes them. Rows stay in file order.
template <typename Number>
struct ExamplesOf {
  std::size_t num_inputs = 0;
  std::size_t num_targets = 1;  // 2 for survival: time, then event (0 or 1).
  std::vector<Number> inputs;   // [num_examples, num_inputs], row-major
  std::vector<Number>
      targets;  // [num_examples, num_targets]: 0 or 1, a class's number, or a number
  // [num_examples], the same number for rows of one patient, from 0 without gaps.
  std::vector<std::uint32_t> patients;
  [[nodiscard]] std::size_t size() const { return targets.size() / num_targets; }
};

using Examples = ExamplesOf<float>;        // For training by gradients.
using ExactExamples = ExamplesOf<double>;  // For solvers.

}  // namespace chorale::data
