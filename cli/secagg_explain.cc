#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>

#include "cli/output.h"
#include "cli/verbs.h"
#include "core/bytes.h"
#include "core/crypto/key_agreement.h"
#include "core/crypto/secret_bytes.h"
#include "jobs/masking.h"
#include "secagg/fixed_point.h"
#include "secagg/key_schedule.h"
#include "secagg/mask_stream.h"
#include "secagg/neighbor_graph.h"
#include "secagg/parameters.h"
#include "secagg/session_terms.h"
#include "secagg/vector_spec.h"

namespace chorale::cli {
namespace {

constexpr std::uint64_t kKeyBytes = 32;
constexpr std::uint64_t kSealedBytes = 96;      // Two shares for one holder and one round.
constexpr std::uint64_t kShareBytes = 40;       // One share in an answer.
constexpr std::uint64_t kStatementBytes = 260;  // A consistency signature with what it signs.

struct Options {
  std::uint32_t sites = 0;
  jobs::GroupRules rules;
  std::uint64_t parameters = 1'000'000;
  std::uint32_t ring_bits = 32;
  OutputFormat format = OutputFormat::kText;
};

double SecondsOf(const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  double best = 1e9;
  const auto end = Clock::now() + std::chrono::milliseconds(100);
  do {
    const auto begin = Clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - begin).count());
  } while (Clock::now() < end);
  return best;
}

// Of one core of this machine.
struct Speed {
  double mask_bytes_per_second;
  double seconds_per_pair_key;       // At a site.
  double seconds_per_recovered_key;  // At the coordinator, of a site that dropped out.
};

StatusOr<Speed> Measure() {
  constexpr std::uint64_t kBytes = std::uint64_t{1} << 22;
  constexpr std::uint32_t kPeers = 32;
  CHORALE_ASSIGN_OR_RETURN(const secagg::VectorSpec vector,
                           secagg::VectorSpec::Create({{secagg::RingBits::k32, kBytes / 4}}));
  Bytes buffer(kBytes);
  const crypto::SecretBytes key(secagg::MaskKeyBytes(secagg::Suite::kAes128Ctr));
  const secagg::MaskTerm term{.key = &key};
  Status status = OkStatus();
  const double seconds = SecondsOf([&] {
    status = secagg::ApplyMasks(vector, 0, buffer, {&term, 1}, 1);
  });
  CHORALE_RETURN_IF_ERROR(status);

  std::vector<crypto::X25519PrivateKey> keys;
  std::vector<secagg::Peer> peers;
  std::vector<std::size_t> all;
  for (std::uint32_t i = 0; i < kPeers; ++i) {
    keys.push_back(crypto::X25519PrivateKey::Generate());
    peers.push_back({kPeers + i, crypto::X25519PrivateKey::Generate().public_key()});
    all.push_back(i);
  }
  std::vector<secagg::DisclosedMember> members;
  for (std::uint32_t i = 0; i < kPeers; ++i) members.push_back({i, &keys[i], all});
  const double for_a_site =
      SecondsOf([&] { status = secagg::PairKeys({}, keys[0], 0, peers, 1).status(); });
  CHORALE_RETURN_IF_ERROR(status);
  const double for_the_coordinator =
      SecondsOf([&] { status = secagg::PairKeysOfDisclosed({}, members, peers, 1).status(); });
  CHORALE_RETURN_IF_ERROR(status);
  return Speed{static_cast<double>(kBytes) / seconds, for_a_site / kPeers,
               for_the_coordinator / (kPeers * kPeers)};
}

// With whom a site shares: everybody, or whom it has drawn.
struct Graph {
  double drawn;     // By each site.
  double degree;    // Of both directions together, on average.
  double dropouts;  // Planned for, a share of the sites.
};

Graph GraphOf(const secagg::GroupParameters& group) {
  const double others = group.num_members - 1;
  const auto neighbors = secagg::GraphFor(group, secagg::kDefaultDropoutPermille);
  if (!neighbors.has_value()) return {others, others, 1};
  const double drawn = neighbors->graph.out_degree;
  return {drawn, drawn * (2 - drawn / others), secagg::kDefaultDropoutPermille / 1000.0};
}

Status Run(const Options& options, const Terminal& terminal) {
  if (options.sites < secagg::kMinMembers || options.sites > secagg::kMaxMembers) {
    return InvalidArgument(
        "--sites must be in [3, 1000]: a sum of two is no secret from either, got " +
        std::to_string(options.sites));
  }
  const secagg::GroupParameters group = jobs::GroupOf(options.rules, options.sites);
  CHORALE_RETURN_IF_ERROR(secagg::CheckGroup(group, {}));
  const auto ring = static_cast<secagg::RingBits>(options.ring_bits);
  CHORALE_ASSIGN_OR_RETURN(const secagg::FixedPoint scale,
                           secagg::FixedPoint::Create(ring, 1.0, options.sites));
  CHORALE_ASSIGN_OR_RETURN(const Speed speed, Measure());

  const std::uint64_t n = options.sites;
  const Graph graph = GraphOf(group);
  const auto num_drawn = static_cast<std::uint64_t>(graph.drawn);
  const bool is_complete = num_drawn == n - 1;
  const std::uint32_t least = std::max(group.threshold, group.min_group);
  const std::uint32_t dropouts = std::min(
      options.sites - least, static_cast<std::uint32_t>(graph.dropouts * static_cast<double>(n)));
  const std::uint64_t vector_bytes = options.parameters * options.ring_bits / 8;
  const std::uint64_t rounds = secagg::kMaxRounds;
  nlohmann::ordered_json json;
  json["sites"] = n;
  json["graph"] = is_complete ? "complete" : "neighbors";
  json["neighbors_drawn"] = num_drawn;
  json["threshold"] = group.threshold;
  json["min_group"] = group.min_group;
  json["dropouts_tolerated"] = dropouts;
  json["colluders_tolerated"] = group.colluders;
  json["honest_sites_in_a_sum"] = least - group.colluders;
  json["parameters"] = options.parameters;
  json["ring_bits"] = options.ring_bits;
  // Of a parameter, for a bound of 1 on updates.
  json["resolution"] = std::ldexp(1.0, -scale.scale_exponent());
  json["session_bytes_up"] = kKeyBytes * (rounds + 1) + num_drawn * kSealedBytes * rounds;
  json["session_bytes_down"] = n * kKeyBytes * (rounds + 1) + num_drawn * kSealedBytes * rounds;
  json["round_bytes_up"] = vector_bytes + kStatementBytes + (num_drawn + 1) * kShareBytes;
  json["round_bytes_down"] = n * kStatementBytes;
  const double mask_seconds = static_cast<double>(vector_bytes) / speed.mask_bytes_per_second;
  json["site_seconds"] =
      (graph.degree + 1) * mask_seconds + graph.degree * speed.seconds_per_pair_key;
  const auto removal = [&](double dropped) {
    const double survivors = static_cast<double>(n) - dropped;
    const double pairs = dropped * survivors * graph.degree / static_cast<double>(n - 1);
    return (survivors + pairs) * mask_seconds + pairs * speed.seconds_per_recovered_key;
  };
  json["coordinator_seconds"] = removal(0);
  json["coordinator_seconds_with_dropouts"] = removal(dropouts);
  if (options.format == OutputFormat::kJson) {
    terminal.out << json.dump() << '\n';
    return OkStatus();
  }
  const auto seconds = [](double value) {
    return FormatDuration(Duration(static_cast<std::int64_t>(value * 1e6)));
  };
  Table table({"WHAT", "HOW MUCH"});
  table.AddRow({"sites", std::to_string(n) +
                             (is_complete ? ", everybody masks with everybody"
                                          : ", everybody masks with whom it draws, " +
                                                std::to_string(num_drawn) + ", and who draws it")});
  table.AddRow({"that must sign and answer (threshold)", std::to_string(group.threshold)});
  table.AddRow({"in every sum, at least", std::to_string(least)});
  table.AddRow({"that may drop out of a round", std::to_string(dropouts)});
  table.AddRow({"that may work with the coordinator", std::to_string(group.colluders)});
  table.AddRow({"honest ones behind every sum, at least", std::to_string(least - group.colluders)});
  table.AddRow({"bytes up, each site: keys of 100 rounds",
                FormatBytes(json["session_bytes_up"].get<std::uint64_t>())});
  table.AddRow({"bytes down, each site: keys of 100 rounds",
                FormatBytes(json["session_bytes_down"].get<std::uint64_t>())});
  table.AddRow(
      {"bytes up, each site and round", FormatBytes(json["round_bytes_up"].get<std::uint64_t>())});
  table.AddRow(
      {"seconds of masking, each site and round", seconds(json["site_seconds"].get<double>())});
  table.AddRow({"seconds of taking masks off, nobody dropped",
                seconds(json["coordinator_seconds"].get<double>())});
  table.AddRow({"the same, with " + std::to_string(dropouts) + " dropped",
                seconds(json["coordinator_seconds_with_dropouts"].get<double>())});
  table.Print(terminal.out);
  terminal.out << "\nFor " << options.parameters << " parameters in a ring of " << options.ring_bits
               << " bits, on one core like this one. What is promised, and what is not: "
                  "docs/threat_model.md.\n";
  if (!is_complete) {
    terminal.out << "The graph of neighbours is planned for so many drop-outs: with more, a round "
                    "may have to be "
                    "abandoned, and tells nothing.\n";
  }
  if (dropouts == 0) {
    terminal.out << "A group of this size tolerates no drop-out: a round without one of them is "
                    "abandoned.\n";
  }
  return OkStatus();
}

}  // namespace

void AddSecaggExplain(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb = group.add_subcommand(
      "explain", "What a group of sites tolerates under secure aggregation, and what it costs");
  verb->add_option("--sites", options->sites, "Sites in the group")->required();
  verb->add_option("--colluders", options->rules.colluders,
                   "Sites that may work with the coordinator; default: a fifth, at least 1");
  verb->add_option("--min-group", options->rules.min_group,
                   "Sites in every sum; default: 5, or all but one of 5 or fewer");
  verb->add_option("--parameters", options->parameters, "Of the model")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb->add_option("--ring-bits", options->ring_bits, "32 or 64")
      ->check(CLI::IsMember({32, 64}))
      ->capture_default_str();
  AddFormatOption(*verb, options->format);
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
