#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iomanip>
#include <iostream>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bench/secagg_rounds.h"
#include "bench/secagg_secrets.h"
#include "bench/secagg_timing.h"
#include "core/crypto/cipher.h"
#include "core/crypto/key_agreement.h"
#include "core/random.h"
#include "secagg/key_schedule.h"
#include "secagg/mask_stream.h"
#include "secagg/mask_terms.h"
#include "secagg/neighbor_graph.h"
#include "secagg/parameters.h"
#include "secagg/session_terms.h"
#include "secagg/shamir.h"
#include "secagg/vector_spec.h"

namespace chorale::bench {
namespace {

using secagg::MaskKernel;
using secagg::MaskTerm;
using secagg::MemberIndex;
using secagg::OwnedMaskTerm;
using secagg::SecretShare;

constexpr secagg::Suite kSuite = secagg::Suite::kAes128Ctr;
constexpr std::uint32_t kRound = 1;
// Of a vector, at its beginning: as many as the sites' own masks are made for, to compare sums.
constexpr std::uint64_t kComparedElements = 4096;

// Of raw keystream, as much as is measured of it.
constexpr std::uint64_t kMostRawBytes = 2'000'000'000;
// Raw keystream, bytes a second, of the processor that targets in seconds are stated for. On
// another the same distance from the limit is asked for.
constexpr double kTargetsRawRate = 12.5e9;

enum class Graph { kComplete, kNeighbors };

struct Targets {
  double evp_seconds;  // Of the sum and everything until it is open.
  double best_seconds;
};

struct Setting {
  std::uint32_t num_members;
  double drop_fraction;
  std::uint64_t num_elements;                // Of 32 bits.
  std::optional<double> paper_seconds = {};  // The paper's server, single-threaded Java, 2017.
  std::optional<Targets> targets = {};
  Graph graph = Graph::kComplete;
};

struct MemberSecrets {
  crypto::X25519PrivateKey key;
  crypto::SecretBytes seed;
  std::vector<MemberIndex> neighbors;       // With whom it has pair masks, ascending.
  std::vector<secagg::ShareIndex> holders;  // [threshold], those who answer for it.
  std::vector<SecretShare> shares;  // [threshold], of the key of a lost member, or the seed.
};

// The first `num_lost` members are gone, the others' vectors have arrived.
struct Round {
  crypto::Digest session_id;
  crypto::Digest context;
  MemberIndex num_lost = 0;
  std::optional<secagg::NeighborTerms> terms;  // Unset: the complete graph.
  std::vector<MemberSecrets> members;

  [[nodiscard]] std::vector<secagg::Peer> PeersOf(MemberIndex member) const {
    std::vector<secagg::Peer> peers;
    for (const MemberIndex i : members[member].neighbors) {
      peers.push_back({i, members[i].key.public_key()});
    }
    return peers;
  }
};

// The graph that a session of as many members has, planned for as many drop-outs at least.
StatusOr<std::optional<secagg::NeighborTerms>> GraphOf(const Setting& setting) {
  if (setting.graph == Graph::kComplete) return std::optional<secagg::NeighborTerms>();
  const auto permille = static_cast<std::uint32_t>(std::lround(1000 * setting.drop_fraction));
  const std::optional<secagg::NeighborTerms> terms =
      secagg::GraphFor(secagg::DefaultGroup(setting.num_members),
                       std::max(secagg::kDefaultDropoutPermille, permille));
  if (!terms.has_value()) return Internal("so many members have no graph of neighbours");
  return terms;
}

// Who draws whom: [num_members], ascending.
std::vector<std::vector<MemberIndex>> DrawGraph(const Round& round, std::uint32_t num_members,
                                                RandomSource& random) {
  std::vector<std::vector<MemberIndex>> drawn;
  for (MemberIndex i = 0; i < num_members; ++i) {
    drawn.push_back(secagg::DrawNeighbors(
        num_members, i, round.terms ? round.terms->graph.out_degree : num_members - 1, random));
  }
  return drawn;
}

StatusOr<Round> MakeRound(const Setting& setting, RandomSource& random) {
  const std::uint32_t num_members = setting.num_members;
  Round round;
  round.session_id = DrawDigest(random);
  round.context = DrawDigest(random);
  round.num_lost = static_cast<MemberIndex>(setting.drop_fraction * num_members);
  CHORALE_ASSIGN_OR_RETURN(round.terms, GraphOf(setting));
  const std::uint32_t threshold =
      round.terms ? round.terms->graph.threshold : secagg::DefaultGroup(num_members).threshold;
  const std::vector<std::vector<MemberIndex>> drawn = DrawGraph(round, num_members, random);
  std::vector<std::set<MemberIndex>> neighbors(num_members);
  for (MemberIndex i = 0; i < num_members; ++i) {
    for (const MemberIndex j : drawn[i]) {
      neighbors[i].insert(j);
      neighbors[j].insert(i);
    }
  }
  for (MemberIndex i = 0; i < num_members; ++i) {
    const crypto::SecretBytes key_bytes = DrawSecret(random, 32);
    CHORALE_ASSIGN_OR_RETURN(auto key, crypto::X25519PrivateKey::FromBytes(key_bytes.Reveal()));
    MemberSecrets member{.key = std::move(key),
                         .seed = DrawSecret(random, 32),
                         .neighbors = {neighbors[i].begin(), neighbors[i].end()},
                         .holders = {},
                         .shares = {}};
    // In the complete graph a member holds a share of its own seed.
    std::vector<MemberIndex> holders = drawn[i];
    if (!round.terms) holders.insert(std::ranges::lower_bound(holders, i), i);
    for (const MemberIndex holder : holders) {
      if (holder < round.num_lost || member.holders.size() == threshold) continue;
      member.holders.push_back(holder + 1);
    }
    CHORALE_ASSIGN_OR_RETURN(
        member.shares, secagg::ShareSecret(i < round.num_lost ? key_bytes : member.seed, threshold,
                                           member.holders, random));
    round.members.push_back(std::move(member));
  }
  return round;
}

StatusOr<std::vector<crypto::SecretBytes>> OpenSecrets(const Round& round) {
  std::vector<crypto::SecretBytes> secrets;
  std::vector<const SecretShare*> held;
  std::optional<secagg::ShareCombiner> combiner;
  const std::vector<secagg::ShareIndex>* combined = nullptr;  // Whose shares `combiner` takes.
  for (const MemberSecrets& member : round.members) {
    if (combined == nullptr || *combined != member.holders) {
      CHORALE_ASSIGN_OR_RETURN(combiner, secagg::ShareCombiner::Create(member.holders));
      combined = &member.holders;
    }
    held.clear();
    for (const SecretShare& share : member.shares) held.push_back(&share);
    CHORALE_ASSIGN_OR_RETURN(crypto::SecretBytes secret, combiner->Combine(held));
    secrets.push_back(std::move(secret));
  }
  return secrets;
}

// The masks that are left in the sum, from opened secrets.
StatusOr<std::vector<OwnedMaskTerm>> MasksOfSum(const Round& round,
                                                const std::vector<crypto::SecretBytes>& secrets) {
  std::vector<OwnedMaskTerm> masks;
  std::vector<secagg::Peer> survivors;
  std::vector<crypto::X25519PrivateKey> keys;
  for (MemberIndex j = 0; j < secrets.size(); ++j) {
    if (j >= round.num_lost) {
      masks.push_back({secagg::SelfMaskKey(secrets[j], round.context, kSuite), true});
      survivors.push_back({j, round.members[j].key.public_key()});
      continue;
    }
    CHORALE_ASSIGN_OR_RETURN(auto key, crypto::X25519PrivateKey::FromBytes(secrets[j].Reveal()));
    if (key.public_key() != round.members[j].key.public_key()) {
      return Internal("a reconstructed key is wrong");
    }
    keys.push_back(std::move(key));
  }
  std::vector<secagg::DisclosedMember> lost;
  for (MemberIndex j = 0; j < round.num_lost; ++j) {
    lost.push_back({.index = j, .key = &keys[j], .peers = {}});
    for (const MemberIndex i : round.members[j].neighbors) {
      if (i >= round.num_lost) lost[j].peers.push_back(i - round.num_lost);
    }
  }
  CHORALE_ASSIGN_OR_RETURN(const auto pairs,
                           secagg::PairKeysOfDisclosed(round.session_id, lost, survivors, kRound));
  for (MemberIndex j = 0; j < round.num_lost; ++j) {
    for (std::size_t i = 0; i < pairs[j].size(); ++i) {
      masks.push_back({secagg::PairMaskKey(pairs[j][i], round.context, kSuite),
                       j < survivors[lost[j].peers[i]].index});
    }
  }
  return masks;
}

// The masks that one member adds to its vector.
StatusOr<std::vector<OwnedMaskTerm>> MasksOfMember(const Round& round, MemberIndex member) {
  const MemberSecrets& own = round.members[member];
  std::vector<OwnedMaskTerm> masks;
  masks.push_back({secagg::SelfMaskKey(own.seed, round.context, kSuite), false});
  const std::vector<secagg::Peer> peers = round.PeersOf(member);
  CHORALE_ASSIGN_OR_RETURN(const std::vector<crypto::SecretBytes> pairs,
                           secagg::PairKeys(round.session_id, own.key, member, peers, kRound));
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    masks.push_back(
        {secagg::PairMaskKey(pairs[i], round.context, kSuite), member < peers[i].index});
  }
  return masks;
}

// Whether the masks of the sum leave exactly the sum of what the survivors masked, each with its
// own secrets.
Status CompareSums(const Round& round, const std::vector<MaskTerm>& masks_of_sum,
                   RandomSource& random) {
  CHORALE_ASSIGN_OR_RETURN(
      const auto spec, secagg::VectorSpec::Create({{secagg::RingBits::k32, kComparedElements}}));
  Bytes expected(spec.size_bytes()), sum(spec.size_bytes()), vector(spec.size_bytes());
  for (MemberIndex i = round.num_lost; i < round.members.size(); ++i) {
    random.Fill(vector);
    CHORALE_RETURN_IF_ERROR(secagg::AddVectors(spec, 0, vector, expected, 1));
    CHORALE_ASSIGN_OR_RETURN(const std::vector<OwnedMaskTerm> masks, MasksOfMember(round, i));
    CHORALE_RETURN_IF_ERROR(secagg::ApplyMasks(spec, 0, vector, secagg::Borrow(masks), 1));
    CHORALE_RETURN_IF_ERROR(secagg::AddVectors(spec, 0, vector, sum, 1));
  }
  CHORALE_RETURN_IF_ERROR(secagg::ApplyMasks(spec, 0, sum, masks_of_sum, 1));
  return sum == expected ? OkStatus() : Internal("the unmasked sum is wrong");
}

// Adding up what the survivors sent.
double SecondsToAdd(const secagg::VectorSpec& spec, std::size_t num_vectors, Bytes& sum) {
  // More than the caches hold, and less than all of them.
  const std::size_t num_distinct = std::min<std::size_t>(
      num_vectors, 1 + (std::size_t{256} << 20) / static_cast<std::size_t>(spec.size_bytes()));
  const std::vector<Bytes> vectors(num_distinct, Bytes(spec.size_bytes(), 1));
  return CoreSecondsOf([&] {
    for (std::size_t i = 0; i < num_vectors; ++i) {
      secagg::AddVectors(spec, 0, vectors[i % num_distinct], sum, 1).IgnoreError();
    }
  });
}

// What OpenSSL needs for this much keystream and nothing else.
StatusOr<double> RawSeconds(std::uint64_t size_bytes, RandomSource& random) {
  const crypto::SecretBytes key = DrawSecret(random, 16);
  CHORALE_ASSIGN_OR_RETURN(auto stream, crypto::CtrStream::Create(key));
  const std::uint64_t measured = std::min(size_bytes, kMostRawBytes);
  return RawKeystreamSeconds(stream, measured) * static_cast<double>(size_bytes) /
         static_cast<double>(measured);
}

StatusOr<nlohmann::ordered_json> MeasureRound(const Setting& setting) {
  SeededRandom random(1);
  CHORALE_ASSIGN_OR_RETURN(const Round round, MakeRound(setting, random));
  CHORALE_ASSIGN_OR_RETURN(
      const auto spec, secagg::VectorSpec::Create({{secagg::RingBits::k32, setting.num_elements}}));
  Bytes sum(spec.size_bytes());
  const double add_seconds = SecondsToAdd(spec, setting.num_members - round.num_lost, sum);

  StatusOr<std::vector<crypto::SecretBytes>> secrets = std::vector<crypto::SecretBytes>{};
  const double combine_seconds = CoreSecondsOf([&] { secrets = OpenSecrets(round); });
  CHORALE_RETURN_IF_ERROR(secrets.status());
  StatusOr<std::vector<OwnedMaskTerm>> masks = std::vector<OwnedMaskTerm>{};
  const double key_seconds = CoreSecondsOf([&] { masks = MasksOfSum(round, *secrets); });
  CHORALE_RETURN_IF_ERROR(masks.status());
  const std::vector<MaskTerm> off = secagg::Borrow(*masks);
  CHORALE_RETURN_IF_ERROR(CompareSums(round, off, random));

  // One kernel takes the masks off and the other puts them on again: both do the same work, and the
  // sum must be what it was.
  const Bytes before = sum;
  Status applied;
  const double evp_seconds =
      CoreSecondsOf([&] { applied = secagg::ApplyMasks(spec, 0, sum, off, 1, MaskKernel::kEvp); });
  CHORALE_RETURN_IF_ERROR(applied);
  std::vector<MaskTerm> on = off;
  for (MaskTerm& term : on) term.is_subtracted = !term.is_subtracted;
  const double best_seconds =
      CoreSecondsOf([&] { applied = secagg::ApplyMasks(spec, 0, sum, on, 1, MaskKernel::kBest); });
  CHORALE_RETURN_IF_ERROR(applied);
  if (sum != before) return Internal("two kernels disagree");
  const std::uint64_t mask_bytes = spec.size_bytes() * off.size();
  CHORALE_ASSIGN_OR_RETURN(const double raw_seconds, RawSeconds(mask_bytes, random));

  const double others = add_seconds + combine_seconds + key_seconds;
  nlohmann::ordered_json row = {{"step", "unmask"},
                                {"members", setting.num_members},
                                {"drop_fraction", setting.drop_fraction},
                                {"elements", setting.num_elements},
                                {"ring_bits", 32},
                                {"graph", round.terms ? "k_out" : "complete"},
                                {"masks", off.size()},
                                {"add_seconds", add_seconds},
                                {"combine_seconds", combine_seconds},
                                {"agree_seconds", key_seconds},
                                {"mask_evp_seconds", evp_seconds},
                                {"mask_best_seconds", best_seconds},
                                {"total_evp_seconds", others + evp_seconds},
                                {"total_best_seconds", others + best_seconds},
                                {"raw_evp_seconds", raw_seconds},
                                {"total_evp_to_raw", (others + evp_seconds) / raw_seconds},
                                {"total_best_to_raw", (others + best_seconds) / raw_seconds}};
  if (round.terms) {
    row["out_degree"] = round.terms->graph.out_degree;
    row["share_threshold"] = round.terms->graph.threshold;
    row["planned_drop_fraction"] = round.terms->dropout_permille / 1000.0;
  }
  if (setting.paper_seconds) row["paper_seconds"] = *setting.paper_seconds;
  if (setting.targets) {
    row["target_total_evp_seconds"] = setting.targets->evp_seconds;
    row["target_total_best_seconds"] = setting.targets->best_seconds;
    const double raw_of_targets = static_cast<double>(mask_bytes) / kTargetsRawRate;
    row["target_total_evp_to_raw"] = setting.targets->evp_seconds / raw_of_targets;
    row["target_total_best_to_raw"] = setting.targets->best_seconds / raw_of_targets;
  }
  return row;
}

void Print(const nlohmann::ordered_json& row) {
  const auto number = [&](const char* field) { return row[field].get<double>(); };
  const auto count = [&](const char* field) { return row[field].get<std::uint64_t>(); };
  std::string graph = row["graph"];
  if (row.contains("out_degree")) graph = "k = " + std::to_string(count("out_degree"));
  std::cout << std::setprecision(0) << std::setw(8) << count("members") << std::setw(6)
            << 100 * number("drop_fraction") << std::setw(10) << count("elements") << std::setw(10)
            << graph << std::setw(8) << count("masks") << std::setprecision(3);
  for (const char* const field :
       {"add_seconds", "combine_seconds", "agree_seconds", "mask_evp_seconds", "mask_best_seconds",
        "total_evp_seconds", "total_best_seconds", "raw_evp_seconds", "total_evp_to_raw",
        "total_best_to_raw"}) {
    std::cout << std::setw(9) << number(field);
  }
  if (row.contains("paper_seconds")) {
    std::cout << std::setprecision(1) << std::setw(9) << number("paper_seconds");
  }
  std::cout << std::endl;
}

// The grid of the paper, which knows the complete graph only, by either graph.
struct PaperRow {
  std::uint32_t num_members;
  double drop_fraction;
  double seconds;
  std::optional<Targets> targets;
  bool is_quick;
};
const PaperRow kPaperRows[] = {{500, 0, 2.018, {}, true},
                               {500, 0.1, 62.239, {}, true},
                               {500, 0.3, 143.389, Targets{2.5, 0.8}, true},
                               {1000, 0, 4.887, {}, true},
                               {1000, 0.1, 180.875, {}, false},
                               {1000, 0.3, 413.767, {}, false}};
constexpr std::uint64_t kPaperElements = 100'000;

std::vector<Setting> Settings(bool is_quick) {
  std::vector<Setting> settings;
  for (const PaperRow& row : kPaperRows) {
    if (is_quick && !row.is_quick) continue;
    for (const Graph graph : {Graph::kComplete, Graph::kNeighbors}) {
      settings.push_back({.num_members = row.num_members,
                          .drop_fraction = row.drop_fraction,
                          .num_elements = kPaperElements,
                          .paper_seconds = row.seconds,
                          .targets = row.targets,
                          .graph = graph});
    }
  }
  for (const std::uint64_t elements : {100'000u, 1'000'000u, 10'000'000u}) {
    if (is_quick && elements > 1'000'000) continue;
    for (const double drop_fraction : {0.0, 0.1}) {
      settings.push_back(
          {.num_members = 100, .drop_fraction = drop_fraction, .num_elements = elements});
    }
  }
  return settings;
}

}  // namespace

StatusOr<nlohmann::ordered_json> MeasureUnmasking(bool is_quick) {
  std::cout << " members  drop  elements     graph   masks      add  combine    agree mask evp"
               "     best  tot.evp     best      raw  evp/raw best/raw    paper\n";
  nlohmann::ordered_json rows;
  for (const Setting& setting : Settings(is_quick)) {
    CHORALE_ASSIGN_OR_RETURN(const nlohmann::ordered_json row, MeasureRound(setting));
    Print(row);
    rows.push_back(row);
  }
  return rows;
}

}  // namespace chorale::bench
