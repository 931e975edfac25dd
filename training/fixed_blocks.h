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

// Work of which each part ends with something that must happen in order, such as adding to a sum:
// calls `compute(worker, index)` for [0, count) on up to `threads` threads, and after each
// `commit(worker, index)`, in order of index and one at a time. `worker` in [0, threads) names what
// one thread keeps for itself: no two calls with the same worker run at once, and commit gets the
// worker that computed. If calls throw, nothing more is computed or committed, and one of the
// exceptions is rethrown after all threads have ended. REQUIRES: threads > 0.
using OrderedWork = std::function<void(int worker, std::int64_t index)>;
void ForEachInOrder(int threads, std::int64_t count, const OrderedWork& compute,
                    const OrderedWork& commit);

}  // namespace chorale::training
