#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include "core/bytes.h"
#include "models/safetensors.h"

// What is accepted must be whole, and the same after it is written and read again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto content = chorale::models::ParseSafetensors({data, size});
  if (!content.ok()) return 0;
  if (content->values.size() != content->layout.num_parameters()) std::abort();
  chorale::Bytes file;
  const std::string header = chorale::models::SafetensorsHeader(content->layout, content->metadata);
  const chorale::ByteSpan values = chorale::AsBytes(content->values);
  file.insert(file.end(), header.begin(), header.end());
  file.insert(file.end(), values.begin(), values.end());
  const auto again = chorale::models::ParseSafetensors(file);
  if (!again.ok() || again->layout != content->layout || again->metadata != content->metadata) {
    std::abort();
  }
  if (!values.empty() && std::memcmp(again->values.data(), values.data(), values.size()) != 0) {
    std::abort();
  }
  return 0;
}
