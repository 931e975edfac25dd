#pragma once

#include <cstdint>
#include <functional>

// Parallel loops whose result cannot depend on the number of threads: the work is cut at fixed
// places, every block is computed by one thread, and no two blocks write the same element.
namespace chorale::training {

// Calls `work(first, size)` for [0, total) in blocks of `block` (the last may be shorter), on up to
// `threads` threads. REQUIRES: block > 0, threads > 0, and blocks that write apart. If calls throw,
// one of the exceptions is rethrown after every block has ended.
void ForEachBlock(int threads, std::int64_t total, std::int64_t block,
                  const std::function<void(std::int64_t first, std::int64_t size)>& work);

}  // namespace chorale::training
