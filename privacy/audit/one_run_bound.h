#pragma once

#include <cstdint>
#include <span>
#include <vector>

// What one run proves about epsilon (Steinke, Nasr and Jagielski, arXiv 2305.08846): m canaries
// were each in or out by a fair coin of its own; whoever guesses r of the coins from what was
// published, and is right v times, is right too often for a small epsilon.
namespace chorale::privacy {

struct Guesses {
  std::uint64_t num_canaries = 0;  // m
  std::uint64_t num_guesses = 0;   // r <= m: the others were abstained from.
  std::uint64_t num_right = 0;     // v <= r
};

// A bound on the chance of at least so many right guesses under (epsilon, delta): theorem 5.2 of
// the paper, P[B >= v] + 2 m delta max over i in 1..v of P[v - i <= B < v] / i for B binomial with
// r trials of probability 1 / (1 + e^-epsilon).
[[nodiscard]] double GuessingPValue(const Guesses& guesses, double epsilon, double delta);

// The largest epsilon, to 1e-6 from below, that the guesses refute with this significance; 0 where
// they refute none.
[[nodiscard]] double RefutedEpsilon(const Guesses& guesses, double delta, double significance);

struct EpsilonBound {
  double epsilon = 0;  // Lower bound.
  Guesses guesses;     // Which gave it.
};

// From one score a canary, larger where it seems to be in: the highest are guessed in, the lowest
// out, for seven numbers of guesses that are fixed beforehand and share the significance. REQUIRES:
// as many scores as canaries.
[[nodiscard]] EpsilonBound OneRunEpsilon(std::span<const double> scores,
                                         std::span<const std::uint8_t> is_in, double delta,
                                         double significance);

}  // namespace chorale::privacy
