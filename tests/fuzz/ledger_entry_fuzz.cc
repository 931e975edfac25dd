// A row of a privacy ledger, events among it: whatever the bytes, decoding ends with a row or a
// status, what is decoded encodes to the same row again, and a ledger takes or refuses it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "privacy/ledger/entry.h"
#include "privacy/ledger/state.h"

namespace {

using namespace chorale;
using namespace chorale::privacy;

// Some curves take seconds of quadrature: replay of those is for the unit tests.
bool IsCheap(const Entry& entry) {
  const auto* reserved = std::get_if<Reserved>(&entry.kind);
  if (reserved == nullptr) return true;
  for (const Part& part : reserved->parts) {
    if (!std::holds_alternative<Gaussian>(part.step.kind)) return false;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const StatusOr<Entry> entry = DecodeEntry({data, size});
  if (!entry.ok()) return 0;
  const Bytes encoded = EncodeEntry(*entry);
  const StatusOr<Entry> again = DecodeEntry(encoded);
  if (!again.ok() || EncodeEntry(*again) != encoded) std::abort();
  if (!IsCheap(*entry)) return 0;
  LedgerState state;
  if (!state.Apply(1, *entry).ok()) return 0;
  // Every row that a ledger takes first is a reservation, and it takes none twice.
  if (state.Datasets().size() != 1 || state.Apply(2, *entry).ok()) std::abort();
  return 0;
}
