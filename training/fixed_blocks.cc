#include "training/fixed_blocks.h"

#include <algorithm>
#include <atomic>
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

void ForEachInOrder(int threads, std::int64_t count, const OrderedWork& compute,
                    const OrderedWork& commit) {
  std::atomic<std::int64_t> next = 0;  // Taken in order, so that whoever waits waits for a taker.
  std::atomic<std::int64_t> turn = 0;
  std::atomic<bool> has_failed = false;
  const auto work = [&](std::int64_t worker, std::int64_t) {
    std::exception_ptr failure;
    const auto attempt = [&](const OrderedWork& part, std::int64_t index) {
      if (has_failed) return;
      try {
        part(static_cast<int>(worker), index);
      } catch (...) {
        failure = std::current_exception();
        has_failed = true;
      }
    };
    for (std::int64_t index = next++; index < count; index = next++) {
      attempt(compute, index);
      for (std::int64_t now = turn; now != index; now = turn) turn.wait(now);
      attempt(commit, index);
      turn = index + 1;
      turn.notify_all();
    }
    if (failure) std::rethrow_exception(failure);
  };
  ForEachBlock(threads, std::min<std::int64_t>(threads, count), 1, work);
}

}  // namespace chorale::training
