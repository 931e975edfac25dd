// What a party that may sign can send into a session: the first byte says how far the session is,
// the second which message comes, the rest is its body.
#include <google/protobuf/stubs/logging.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>

#include "tests/secagg/federation.h"

namespace {

using namespace chorale;          // NOLINT
using namespace chorale::secagg;  // NOLINT

constexpr std::size_t kNumStages = 6;
constexpr MemberIndex kSite = 0;  // Who hears the coordinator's messages,
constexpr MemberIndex kPeer = 1;  // and who sends to the coordinator.

std::unique_ptr<Federation> Build(std::size_t stage) {
  FederationOptions options;
  options.num_members = 3;
  options.num_rounds = 1;
  auto federation = std::make_unique<Federation>(std::move(options));
  if (stage == 1) {
    (void)federation->Step(kSite, ManifestReceived{federation->server().manifest()});
  }
  if (stage >= 2) federation->Advertise();
  if (stage == 2) (void)federation->Step(kSite, KeysReceived{*federation->MessageTo(kSite)});
  if (stage >= 3) federation->Share();
  if (stage >= 3) federation->Acknowledge();
  if (stage >= 4) federation->Start(1);
  if (stage >= 4) federation->Collect();
  if (stage == 5) federation->Check();
  return federation;
}

std::optional<ClientEvent> EventOf(const Federation& federation, MessageKind kind, Bytes message) {
  switch (kind) {
    case MessageKind::kSessionManifest:
      return ManifestReceived{std::move(message)};
    case MessageKind::kKeyDirectory:
      return KeysReceived{std::move(message)};
    case MessageKind::kShareDelivery:
      return SharesReceived{std::move(message)};
    case MessageKind::kRoundStart:
      return federation.Started(message);
    case MessageKind::kSurvivors:
      return SurvivorsReceived{std::move(message)};
    case MessageKind::kConsistencySignatures:
      return SignaturesReceived{std::move(message)};
    case MessageKind::kRoundResult:
      return ResultReceived{std::move(message), std::nullopt};
    default:
      return std::nullopt;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const google::protobuf::LogSilencer silencer;
  static std::unique_ptr<Federation> stages[kNumStages];
  if (size < 2) return 0;
  std::unique_ptr<Federation>& federation = stages[data[0] % kNumStages];
  if (federation == nullptr) federation = Build(data[0] % kNumStages);
  const auto kind = static_cast<MessageKind>(1 + data[1] % 13);
  const Bytes body(data + 2, data + size);

  const bool is_to_site = EventOf(*federation, kind, {}).has_value();
  bool has_moved = false;
  if (is_to_site) {
    Bytes message = IsSigned(kind) ? federation->ByCoordinator(kind, body) : body;
    const bool was_given = federation->site(kSite).round() != nullptr;
    const auto actions = federation->Step(kSite, *EventOf(*federation, kind, std::move(message)));
    if (!actions.ok() && actions.status().message().empty()) std::abort();
    has_moved = actions.ok();
    for (std::size_t i = 0; actions.ok() && i < actions->size(); ++i) {
      // Masks of one round are given out once.
      if (std::holds_alternative<MaskInput>((*actions)[i]) && was_given) std::abort();
    }
  } else {
    const auto actions =
        federation->Step(MessageReceived{kPeer, kind, federation->BySite(kPeer, kind, body)});
    if (!actions.ok() && actions.status().message().empty()) std::abort();
    has_moved = actions.ok();
  }
  if (has_moved) federation.reset();
  return 0;
}
