#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "evaluation/run_record.h"

// run.json comes from a file that anybody may have written. Whatever is accepted adds up: no site
// reported more rounds than it was asked in.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto run = chorale::evaluation::ParseRunRecord({reinterpret_cast<const char*>(data), size});
  if (!run.ok()) return 0;
  for (const auto& round : run->rounds) {
    if (round.num_reported > round.num_asked || !(round.seconds >= 0)) std::abort();
  }
  for (const auto& site : run->sites) {
    if (site.rounds_reported > site.rounds_asked) std::abort();
  }
  return 0;
}
