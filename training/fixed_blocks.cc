#include "training/fixed_blocks.h"

#include <algorithm>
#include <exception>

namespace chorale::training {

void ForEachBlock(int threads, std::int64_t total, std::int64_t block,
                  const std::function<void(std::int64_t first, std::int64_t size)>& work) {
  const std::int64_t num_blocks = (total + block - 1) / block;
  const auto run = [&](std::int64_t index) {
    const std::int64_t first = index * block;
    work(first, std::min(block, total - first));
  };
  if (threads <= 1 || num_blocks <= 1) {
    for (std::int64_t index = 0; index < num_blocks; ++index) run(index);
    return;
  }
  std::exception_ptr failure;  // An exception that left the parallel region would end the process.
  const int team = static_cast<int>(std::min<std::int64_t>(threads, num_blocks));
#pragma omp parallel for num_threads(team) schedule(dynamic)
  for (std::int64_t index = 0; index < num_blocks; ++index) {
    try {
      run(index);
    } catch (...) {
#pragma omp critical(chorale_fixed_blocks_failure)
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace chorale::training
