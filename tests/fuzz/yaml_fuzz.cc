#include <google/protobuf/util/message_differencer.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "chorale/v1/config.pb.h"
#include "chorale/v1/identity.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "core/config/yaml.h"
#include "core/config/yaml_writer.h"

namespace {

using google::protobuf::util::MessageDifferencer;

// What was read can be written and read again, and is the same.
template <typename Message>
void ReadAndWrite(std::string_view text) {
  Message message;
  if (!chorale::config::ParseYaml(text, "fuzz.yaml", message).ok()) return;
  Message again;
  const chorale::Status status =
      chorale::config::ParseYaml(chorale::config::ToYaml(message), "again.yaml", again);
  if (!status.ok() || !MessageDifferencer::Equals(message, again)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  ReadAndWrite<chorale::v1::JobSpec>(text);
  ReadAndWrite<chorale::v1::SiteConfig>(text);
  ReadAndWrite<chorale::v1::Roster>(text);
  const chorale::Status error = chorale::config::FieldError("data.features[1].column", "is wrong");
  if (chorale::config::Locate(error, text, "fuzz.yaml").ok()) std::abort();
  return 0;
}
