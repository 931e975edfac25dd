// An enrolment token as a person types it.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/bytes.h"
#include "identity/enrolment.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text = chorale::ToString({data, size});
  const auto token = chorale::identity::ParseToken(text);
  if (!token.ok()) return 0;
  if (text.find(chorale::identity::RenderToken(*token)) == std::string::npos) std::abort();
  return 0;
}
