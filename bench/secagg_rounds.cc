#include "bench/secagg_rounds.h"

#include <malloc.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bench/secagg_timing.h"
#include "core/crypto/key_agreement.h"
#include "core/random.h"
#include "secagg/key_schedule.h"
#include "secagg/mask_stream.h"
#include "secagg/parameters.h"
#include "secagg/shamir.h"
#include "secagg/vector_spec.h"

namespace chorale::bench {
namespace {

using secagg::MaskKernel;
using secagg::MaskTerm;
using secagg::MemberIndex;
using secagg::SecretShare;

constexpr secagg::Suite kSuite = secagg::Suite::kAes128Ctr;

crypto::Digest DrawDigest(RandomSource& random) {
  crypto::Digest digest;
  random.Fill(digest);
  return digest;
}

crypto::SecretBytes DrawSecret(RandomSource& random, std::size_t size) {
  crypto::SecretBytes secret(size);
  random.Fill(secret.MutableReveal());
  return secret;
}

// Keys of masks and their signs; the terms borrow the keys.
struct Masks {
  std::vector<crypto::SecretBytes> keys;
  std::vector<bool> is_subtracted;

  void Add(crypto::SecretBytes key, bool subtracted) {
    keys.push_back(std::move(key));
    is_subtracted.push_back(subtracted);
  }
  [[nodiscard]] std::vector<MaskTerm> Terms(bool is_reversed) const {
    std::vector<MaskTerm> terms;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      terms.push_back({&keys[i], is_subtracted[i] != is_reversed});
    }
    return terms;
  }
};

struct Setting {
  std::uint32_t num_members;
  double drop_fraction;
  std::uint64_t num_elements;                // Of 32 bits.
  std::optional<double> paper_seconds;       // The paper's server, single-threaded Java, 2017.
  std::optional<double> target_evp_seconds;  // Of the sum and everything until it is open.
  std::optional<double> target_native_seconds;
};

// What the coordinator holds when the last member has answered: the first `num_lost` members are
// gone, the first t of the others answer.
struct Round {
  crypto::Digest session_id;
  crypto::Digest context;
  std::uint32_t num_lost = 0;
  std::vector<crypto::X25519PublicKey> public_keys;
  std::vector<secagg::ShareIndex> holders;       // [threshold]
  std::vector<std::vector<SecretShare>> shares;  // [num_members][threshold]
};

StatusOr<Round> MakeRound(const Setting& setting, RandomSource& random) {
  const secagg::GroupParameters group = secagg::DefaultGroup(setting.num_members);
  Round round;
  round.session_id = DrawDigest(random);
  round.context = DrawDigest(random);
  round.num_lost = static_cast<std::uint32_t>(setting.drop_fraction * setting.num_members);
  for (std::uint32_t i = 0; i < group.threshold; ++i) {
    round.holders.push_back(round.num_lost + i + 1);
  }
  for (std::uint32_t i = 0; i < setting.num_members; ++i) {
    const crypto::SecretBytes key_bytes = DrawSecret(random, 32);
    CHORALE_ASSIGN_OR_RETURN(const auto key,
                             crypto::X25519PrivateKey::FromBytes(key_bytes.Reveal()));
    round.public_keys.push_back(key.public_key());
    // Of a lost member the key is opened, of the others the seed.
    const crypto::SecretBytes seed = DrawSecret(random, 32);
    CHORALE_ASSIGN_OR_RETURN(std::vector<SecretShare> shares,
                             secagg::ShareSecret(i < round.num_lost ? key_bytes : seed,
                                                 group.threshold, round.holders, random));
    round.shares.push_back(std::move(shares));
  }
  return round;
}

StatusOr<std::vector<crypto::SecretBytes>> OpenSecrets(const Round& round) {
  CHORALE_ASSIGN_OR_RETURN(const auto combiner, secagg::ShareCombiner::Create(round.holders));
  std::vector<crypto::SecretBytes> secrets;
  std::vector<const SecretShare*> held(round.holders.size());
  for (const std::vector<SecretShare>& shares : round.shares) {
    for (std::size_t i = 0; i < shares.size(); ++i) held[i] = &shares[i];
    CHORALE_ASSIGN_OR_RETURN(crypto::SecretBytes secret, combiner.Combine(held));
    secrets.push_back(std::move(secret));
  }
  return secrets;
}

// The masks that are left in the sum, from opened secrets.
StatusOr<Masks> DeriveMasks(const Round& round, const std::vector<crypto::SecretBytes>& secrets) {
  Masks masks;
  std::vector<secagg::Peer> survivors;
  for (MemberIndex i = round.num_lost; i < secrets.size(); ++i) {
    survivors.push_back({i, round.public_keys[i]});
  }
  for (MemberIndex j = 0; j < secrets.size(); ++j) {
    if (j >= round.num_lost) {
      masks.Add(secagg::SelfMaskKey(secrets[j], round.context, kSuite), true);
      continue;
    }
    CHORALE_ASSIGN_OR_RETURN(const auto key,
                             crypto::X25519PrivateKey::FromBytes(secrets[j].Reveal()));
    if (key.public_key() != round.public_keys[j]) return Internal("a reconstructed key is wrong");
    CHORALE_ASSIGN_OR_RETURN(const std::vector<crypto::SecretBytes> pairs,
                             secagg::PairKeys(round.session_id, key, j, survivors, 1));
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      masks.Add(secagg::PairMaskKey(pairs[i], round.context, kSuite), j < survivors[i].index);
    }
  }
  return masks;
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

// The most memory that this process held since the last call of ResetPeak, in bytes.
StatusOr<std::uint64_t> PeakBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) * 1024;
  }
  return Unavailable("/proc/self/status has no VmHWM");
}

Status ResetPeak() {
  malloc_trim(0);  // What was freed would be taken again unseen.
  std::ofstream file("/proc/self/clear_refs");
  file << "5" << std::flush;
  return file ? OkStatus() : Unavailable("/proc/self/clear_refs cannot be written");
}

// Of `work`, beyond what was held when it began.
template <typename Work>
StatusOr<std::uint64_t> PeakBytesOf(const Work& work) {
  CHORALE_RETURN_IF_ERROR(ResetPeak());
  CHORALE_ASSIGN_OR_RETURN(const std::uint64_t before, PeakBytes());
  CHORALE_RETURN_IF_ERROR(work());
  CHORALE_ASSIGN_OR_RETURN(const std::uint64_t peak, PeakBytes());
  return peak - std::min(peak, before);
}

StatusOr<nlohmann::ordered_json> MeasureMemoryOf(std::uint64_t num_elements) {
  constexpr std::uint32_t kMembers = 100;
  constexpr std::uint64_t kPieceBytes = std::uint64_t{1} << 22;  // As the coordinator reads them.
  SeededRandom random(1);
  CHORALE_ASSIGN_OR_RETURN(const auto spec,
                           secagg::VectorSpec::Create({{secagg::RingBits::k32, num_elements}}));
  Masks masks;
  for (std::uint32_t i = 0; i < kMembers; ++i) masks.Add(DrawSecret(random, 16), i % 2 == 0);
  const std::vector<MaskTerm> terms = masks.Terms(false);
  Bytes vector(spec.size_bytes(), 1);
  CHORALE_ASSIGN_OR_RETURN(const std::uint64_t masking, PeakBytesOf([&] {
                             return secagg::ApplyMasks(spec, 0, vector, terms, 1);
                           }));
  CHORALE_ASSIGN_OR_RETURN(
      const std::uint64_t unmasking, PeakBytesOf([&]() -> Status {
        Bytes sum, addend;
        for (std::uint64_t begin = 0; begin < spec.size_bytes(); begin += kPieceBytes) {
          const std::uint64_t size = std::min(kPieceBytes, spec.size_bytes() - begin);
          const ByteSpan piece = ByteSpan(vector).subspan(begin, size);
          sum.assign(piece.begin(), piece.end());
          addend.assign(piece.begin(), piece.end());
          for (std::uint32_t site = 1; site < kMembers; ++site) {
            CHORALE_RETURN_IF_ERROR(secagg::AddVectors(spec, begin, addend, sum, 1));
          }
          CHORALE_RETURN_IF_ERROR(secagg::ApplyMasks(spec, begin, sum, terms, 1));
        }
        return OkStatus();
      }));
  const auto size = static_cast<double>(spec.size_bytes());
  return nlohmann::ordered_json{
      {"step", "memory"},
      {"members", kMembers},
      {"elements", num_elements},
      {"vector_bytes", spec.size_bytes()},
      {"mask_extra_bytes", masking},
      {"unmask_extra_bytes", unmasking},
      {"mask_peak_per_vector", (size + static_cast<double>(masking)) / size},
      {"unmask_peak_per_vector", static_cast<double>(unmasking) / size}};
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
  StatusOr<Masks> masks = Masks{};
  const double key_seconds = CoreSecondsOf([&] { masks = DeriveMasks(round, *secrets); });
  CHORALE_RETURN_IF_ERROR(masks.status());

  // One kernel takes the masks off and the other puts them on again: both do the same work, and the
  // sum must be what it was.
  const Bytes before = sum;
  Status applied;
  const std::vector<MaskTerm> off = masks->Terms(false);
  const double evp_seconds =
      CoreSecondsOf([&] { applied = secagg::ApplyMasks(spec, 0, sum, off, 1, MaskKernel::kEvp); });
  CHORALE_RETURN_IF_ERROR(applied);
  const std::vector<MaskTerm> on = masks->Terms(true);
  const double native_seconds =
      CoreSecondsOf([&] { applied = secagg::ApplyMasks(spec, 0, sum, on, 1, MaskKernel::kBest); });
  CHORALE_RETURN_IF_ERROR(applied);
  if (sum != before) return Internal("two kernels disagree");

  const double others = add_seconds + combine_seconds + key_seconds;
  nlohmann::ordered_json row = {{"step", "unmask"},
                                {"members", setting.num_members},
                                {"drop_fraction", setting.drop_fraction},
                                {"elements", setting.num_elements},
                                {"ring_bits", 32},
                                {"masks", off.size()},
                                {"add_seconds", add_seconds},
                                {"combine_seconds", combine_seconds},
                                {"agree_seconds", key_seconds},
                                {"mask_evp_seconds", evp_seconds},
                                {"mask_best_seconds", native_seconds},
                                {"total_evp_seconds", others + evp_seconds},
                                {"total_best_seconds", others + native_seconds}};
  if (setting.paper_seconds) row["paper_seconds"] = *setting.paper_seconds;
  if (setting.target_evp_seconds) {
    row["target_mask_evp_seconds"] = *setting.target_evp_seconds;
    row["target_mask_best_seconds"] = *setting.target_native_seconds;
  }
  return row;
}

void Print(const nlohmann::ordered_json& row) {
  const auto number = [&](const char* field) { return row[field].get<double>(); };
  const auto count = [&](const char* field) { return row[field].get<std::uint64_t>(); };
  std::cout << std::setprecision(0) << std::setw(8) << count("members") << std::setw(6)
            << 100 * number("drop_fraction") << std::setw(10) << count("elements") << std::setw(8)
            << count("masks") << std::setprecision(3);
  for (const char* const field :
       {"add_seconds", "combine_seconds", "agree_seconds", "mask_evp_seconds", "mask_best_seconds",
        "total_evp_seconds", "total_best_seconds"}) {
    std::cout << std::setw(9) << number(field);
  }
  if (row.contains("paper_seconds")) {
    std::cout << std::setprecision(1) << std::setw(9) << number("paper_seconds");
  }
  std::cout << std::endl;
}

}  // namespace

StatusOr<nlohmann::ordered_json> MeasureMasking() {
  constexpr std::uint32_t kMembers = 1000;
  constexpr std::uint64_t kElements = 1'000'000;
  SeededRandom random(2);
  Masks masks;
  for (std::uint32_t i = 0; i < kMembers; ++i) {
    masks.Add(DrawSecret(random, secagg::MaskKeyBytes(kSuite)), i % 2 == 0);
  }
  CHORALE_ASSIGN_OR_RETURN(const auto spec,
                           secagg::VectorSpec::Create({{secagg::RingBits::k32, kElements}}));
  Bytes vector(spec.size_bytes());
  const std::vector<MaskTerm> terms = masks.Terms(false);
  nlohmann::ordered_json rows;
  for (const bool is_evp : {true, false}) {
    Status applied;
    const double seconds = LeastCoreSeconds(2, [&] {
      applied = secagg::ApplyMasks(spec, 0, vector, terms, 1,
                                   is_evp ? MaskKernel::kEvp : MaskKernel::kBest);
    });
    CHORALE_RETURN_IF_ERROR(applied);
    const double target = is_evp ? 0.5 : 0.15;
    rows.push_back({{"step", "mask"},
                    {"members", kMembers},
                    {"elements", kElements},
                    {"kernel", is_evp ? "evp" : "best"},
                    {"seconds", seconds},
                    {"target_seconds", target},
                    {"ratio_to_target", seconds / target}});
    std::cout << "a member's masks, n = 1000, d = 1000000, " << (is_evp ? "evp" : "best") << ": "
              << std::setprecision(3) << seconds << " s (target " << target << ")" << std::endl;
  }
  return rows;
}

StatusOr<nlohmann::ordered_json> MeasureUnmasking(bool is_quick) {
  std::vector<Setting> settings = {
      {500, 0, 100'000, 2.018, {}, {}},       {500, 0.1, 100'000, 62.239, {}, {}},
      {500, 0.3, 100'000, 143.389, 2.5, 0.8}, {1000, 0, 100'000, 4.887, {}, {}},
      {100, 0, 100'000, {}, {}, {}},          {100, 0.1, 100'000, {}, {}, {}},
      {100, 0, 1'000'000, {}, {}, {}},        {100, 0.1, 1'000'000, {}, {}, {}}};
  if (!is_quick) {
    settings.push_back({1000, 0.1, 100'000, 180.875, {}, {}});
    settings.push_back({1000, 0.3, 100'000, 413.767, {}, {}});
    settings.push_back({100, 0, 10'000'000, {}, {}, {}});
    settings.push_back({100, 0.1, 10'000'000, {}, {}, {}});
  }
  std::cout << " members  drop  elements   masks      add  combine    agree mask evp     best"
               "  tot.evp     best    paper\n";
  nlohmann::ordered_json rows;
  for (const Setting& setting : settings) {
    CHORALE_ASSIGN_OR_RETURN(const nlohmann::ordered_json row, MeasureRound(setting));
    Print(row);
    rows.push_back(row);
  }
  return rows;
}

StatusOr<nlohmann::ordered_json> MeasureMemory() {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  std::cout << "memory, n = 100: beyond a vector of   masking   unmasking" << std::endl;
  for (const std::uint64_t elements : {1'000'000u, 10'000'000u}) {
    CHORALE_ASSIGN_OR_RETURN(nlohmann::ordered_json row, MeasureMemoryOf(elements));
    std::cout << std::setprecision(1) << std::setw(34) << row["vector_bytes"].get<double>() / 1e6
              << " MB" << std::setw(7) << row["mask_extra_bytes"].get<double>() / 1e6 << " MB"
              << std::setw(9) << row["unmask_extra_bytes"].get<double>() / 1e6 << " MB"
              << std::endl;
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace chorale::bench
