#include "secagg/client_state.h"

namespace chorale::secagg {

const AwaitingSignatures* ConsentOf(const ClientRound& round) {
  if (const auto* unmasked = std::get_if<Unmasked>(&round)) return &unmasked->consent;
  return std::get_if<AwaitingSignatures>(&round);
}

const AwaitingSurvivors* InputOf(const ClientRound& round) {
  if (const AwaitingSignatures* consent = ConsentOf(round)) return &consent->input;
  return std::get_if<AwaitingSurvivors>(&round);
}

const RoundInHand* RoundOf(const ClientRound& round) {
  if (const AwaitingSurvivors* input = InputOf(round)) return &input->round;
  const auto* masking = std::get_if<Masking>(&round);
  return masking == nullptr ? nullptr : &masking->round;
}

}  // namespace chorale::secagg
