#include "coordinator/cohort.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "core/random.h"

namespace chorale::coordinator {
namespace {

// splitmix64 (Steele, Lea and Flood 2014): neighbouring rounds get unrelated seeds.
std::uint64_t Mix(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15u;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

std::uint64_t SeedOf(std::uint64_t job_seed, RoundKey round) {
  return Mix(Mix(Mix(job_seed) ^ round.number.value()) ^ round.attempt);
}

// The first `size` places of a Fisher-Yates shuffle, sorted again.
std::vector<SiteId> Sample(std::vector<SiteId> sites, std::size_t size, std::uint64_t seed) {
  SeededRandom random(seed);
  for (std::size_t i = 0; i < size; ++i) {
    std::swap(sites[i], sites[i + random.NextBelow(sites.size() - i)]);
  }
  sites.resize(size);
  std::sort(sites.begin(), sites.end());
  return sites;
}

// A site's place in the order of turns: fixed by seed and name, so that it does not move when
// others come and go. FNV-1a (Fowler, Noll, Vo) of the name, mixed with the seed.
std::pair<std::uint64_t, std::string> TurnOf(const SiteId& site, std::uint64_t job_seed) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : site.value()) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  }
  return {Mix(Mix(job_seed) ^ hash), site.value()};
}

// REQUIRES: `eligible` is not empty.
SiteId NextInTurn(const std::vector<SiteId>& eligible, const CohortRules& rules) {
  const auto turn = [&](const SiteId& site) { return TurnOf(site, rules.job_seed); };
  const auto is_before = [&](const SiteId& a, const SiteId& b) { return turn(a) < turn(b); };
  std::vector<SiteId> behind;
  for (const SiteId& site : eligible) {
    if (rules.previous.has_value() && is_before(*rules.previous, site)) behind.push_back(site);
  }
  const std::vector<SiteId>& choice = behind.empty() ? eligible : behind;
  return *std::min_element(choice.begin(), choice.end(), is_before);
}

// The sites that could be asked if all were connected, and what keeps the others from it.
struct Tally {
  std::vector<SiteId> eligible;
  std::size_t num_reachable = 0;  // Connected or not, in good standing and willing.
  std::size_t num_without_dataset = 0;
  std::string refusals;
};

Tally Count(std::span<const Candidate> candidates) {
  Tally tally;
  for (const Candidate& candidate : candidates) {
    if (!candidate.is_in_good_standing) continue;
    if (candidate.has_refused) {
      tally.refusals += (tally.refusals.empty() ? "" : ", ") + candidate.site.value() +
                        " refused (" + candidate.refusal_code + ")";
      continue;
    }
    ++tally.num_reachable;
    if (!candidate.is_connected) continue;
    if (candidate.offers_dataset) {
      tally.eligible.push_back(candidate.site);
    } else {
      ++tally.num_without_dataset;
    }
  }
  return tally;
}

}  // namespace

Selection SelectCohort(std::span<const Candidate> candidates, const CohortRules& rules,
                       RoundKey round) {
  Tally tally = Count(candidates);
  const std::size_t quorum = rules.min_reports;
  if (tally.num_reachable < quorum && !tally.refusals.empty()) {
    return NeverEnoughSites{"only " + std::to_string(tally.num_reachable) + " of the " +
                            std::to_string(quorum) +
                            " sites needed may still take part: " + tally.refusals};
  }
  if (tally.eligible.size() < quorum) {
    std::string reason = "waiting for sites: " + std::to_string(tally.eligible.size()) + " of " +
                         std::to_string(quorum) + " connected";
    if (tally.num_without_dataset > 0) {
      reason += ", " + std::to_string(tally.num_without_dataset) + " connected without the dataset";
    }
    if (!tally.refusals.empty()) reason += ", " + tally.refusals;
    return TooFewSites{std::move(reason)};
  }
  if (rules.preferred.size() >= quorum && std::ranges::includes(tally.eligible, rules.preferred)) {
    return Cohort{rules.preferred};
  }
  if (rules.takes_turns) return Cohort{{NextInTurn(tally.eligible, rules)}};
  if (rules.cohort_size == 0 || tally.eligible.size() <= rules.cohort_size) {
    return Cohort{std::move(tally.eligible)};
  }
  return Cohort{
      Sample(std::move(tally.eligible), rules.cohort_size, SeedOf(rules.job_seed, round))};
}

std::size_t CountWilling(std::span<const Candidate> candidates) {
  const Tally tally = Count(candidates);
  return tally.num_reachable - tally.num_without_dataset;
}

}  // namespace chorale::coordinator
