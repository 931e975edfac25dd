#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

#include "core/crypto/digest.h"
#include "tests/secagg/federation.h"

// What is left in memory, what texts tell, and what colluders can compute.
namespace chorale::secagg {
namespace {

// ------------------------------------------------------------------------------ what is left

constexpr std::uint64_t kMostRegionBytes = std::uint64_t{1} << 30;

// How often memory that this process can read and write holds one of these, which the caller keeps
// with every bit flipped.
std::size_t CountInMemory(const std::vector<Bytes>& flipped) {
  std::ifstream maps("/proc/self/maps");
  std::ifstream memory("/proc/self/mem", std::ios::binary);
  std::map<std::uint64_t, std::vector<const Bytes*>> by_prefix;  // Of the flipped bytes.
  for (const Bytes& one : flipped) {
    std::uint64_t prefix = 0;
    std::memcpy(&prefix, one.data(), sizeof(prefix));
    by_prefix[prefix].push_back(&one);
  }
  std::size_t found = 0;
  std::string line;
  std::vector<char> region;
  while (std::getline(maps, line)) {
    if (line.find(" rw-p ") == std::string::npos) continue;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    char dash = 0;
    std::istringstream(line) >> std::hex >> begin >> dash >> end;
    if (end - begin > kMostRegionBytes) continue;  // A sanitizer's shadow.
    region.resize(end - begin);
    memory.clear();
    memory.seekg(static_cast<std::streamoff>(begin));
    if (!memory.read(region.data(), static_cast<std::streamsize>(region.size()))) continue;
    for (std::size_t at = 0; at + 32 <= region.size(); at += 8) {  // Secrets lie at least so.
      std::uint64_t word = 0;
      std::memcpy(&word, region.data() + at, sizeof(word));
      const auto candidates = by_prefix.find(~word);
      if (candidates == by_prefix.end()) continue;
      for (const Bytes* candidate : candidates->second) {
        bool is_equal = true;
        for (std::size_t i = 0; i < 32; ++i) {
          is_equal &= static_cast<std::uint8_t>(~static_cast<std::uint8_t>(region[at + i])) ==
                      (*candidate)[i];
        }
        found += is_equal ? 1 : 0;
      }
    }
    std::memset(region.data(), 0, region.size());
  }
  return found;
}

// Chance that keeps no copy: its record has every bit flipped.
class ForgetfulRandom final : public RandomSource {
 public:
  void Fill(std::span<std::uint8_t> bytes) override {
    random_.Fill(bytes);
    if (bytes.size() != 32) return;
    Bytes flipped(bytes.begin(), bytes.end());
    for (std::uint8_t& byte : flipped) byte = static_cast<std::uint8_t>(~byte);
    flipped_.push_back(std::move(flipped));
  }
  std::vector<Bytes> flipped_;

 private:
  SeededRandom random_{77};
};

TEST(SecrecyTest, NothingSecretOfARoundIsLeftInMemoryAfterIt) {
  Federation federation({.num_rounds = 2});
  ForgetfulRandom random;
  ClientOptions options = federation.OptionsOf(0);
  ClientSession site = *ClientSession::Create({.site = options.site,
                                               .federation = options.federation,
                                               .job = options.job,
                                               .job_digest = options.job_digest,
                                               .signing_key = options.signing_key,
                                               .coordinator_key = options.coordinator_key,
                                               .verifier = options.verifier,
                                               .random = random});
  const auto step = [&](const ClientEvent& event) { return site.Step(event, federation.now); };
  const auto tell = [&](MessageKind kind, const ClientEvent& event) {
    const auto sent = step(event);
    EXPECT_TRUE(federation.Step(MessageReceived{0, kind, OnlySend(sent)}).ok());
  };
  const Drops silent = {{0, DropPoint::kBeforeKeys}};
  tell(MessageKind::kAdvertiseKeys, ManifestReceived{federation.server().manifest()});
  federation.Advertise(silent);
  tell(MessageKind::kShareKeys, KeysReceived{*federation.MessageTo(0)});
  federation.Share(silent);
  tell(MessageKind::kShareKeysAck, SharesReceived{*federation.MessageTo(0)});
  federation.Acknowledge(silent);
  // Channel key, two mask keys, two seeds.
  ASSERT_GE(random.flipped_.size(), 5u);
  const std::vector<Bytes> channel = {random.flipped_[0]};
  const std::vector<Bytes> first = {random.flipped_[1], random.flipped_[3]};
  const std::vector<Bytes> second = {random.flipped_[2], random.flipped_[4]};
  ASSERT_GE(CountInMemory(first), 2u);    // The scan finds what is there,
  EXPECT_EQ(CountInMemory(channel), 0u);  // and not what had its use.

  federation.Start(1);
  {
    const auto actions = step(federation.Started(*federation.MessageTo(0)));
    ASSERT_TRUE(actions.ok());
  }
  EXPECT_EQ(CountInMemory(first), 0u);  // Masks are out: the keys behind them are gone.
  EXPECT_GE(CountInMemory(second), 2u);
  ASSERT_EQ(step(RoundEnded{2}).status().code(), StatusCode::kFailedPrecondition);
  ASSERT_TRUE(step(RoundEnded{1}).ok());
  ASSERT_TRUE(step(RoundEnded{2}).ok());
  EXPECT_EQ(CountInMemory(second), 0u);
}

TEST(SecrecyTest, NoMessageOfARefusalHoldsASecretOrAVector) {
  Federation federation;
  federation.SetUp();
  federation.Start(1);
  RoundStarted wrong = federation.Started(*federation.MessageTo(0));
  wrong.model[0] ^= 1;

  const std::string message(federation.Step(0, wrong).status().message());

  for (const Bytes& secret : federation.random(0).secrets()) {
    EXPECT_EQ(message.find(ToHex(secret)), std::string::npos);
  }
}

// ------------------------------------------------------------------------------ colluders

// What a site masks with in round 1: signed pair terms by peer, self term last.
struct Masks {
  std::map<MemberIndex, std::pair<Bytes, bool>> pairs;
  Bytes self;
};
Masks MasksOf(Federation& federation, MemberIndex member) {
  auto actions = federation.Step(member, federation.Started(*federation.MessageTo(member)));
  auto& mask = std::get<MaskInput>(actions->front());
  Masks masks;
  masks.self.assign(mask.terms[0].key.Reveal().begin(), mask.terms[0].key.Reveal().end());
  std::size_t next = 1;
  for (const MemberIndex peer : federation.Everybody()) {
    if (peer == member) continue;
    const OwnedMaskTerm& term = mask.terms[next++];
    masks.pairs[peer] = {Bytes(term.key.Reveal().begin(), term.key.Reveal().end()),
                         term.is_subtracted};
  }
  EXPECT_TRUE(federation.MaskInputOf(member, std::move(mask)).ok());
  return masks;
}

Bytes Remove(const Federation& federation, Bytes vector, const Bytes& key, bool is_subtracted) {
  const crypto::SecretBytes secret{std::span<const std::uint8_t>(key)};
  const std::vector<MaskTerm> term = {{&secret, !is_subtracted}};
  EXPECT_TRUE(ApplyMasks(federation.spec(), 0, vector, term, 1).ok());
  return vector;
}

TEST(SecrecyTest, AVectorStaysUniformForEverybodyElseTogether) {
  // Site 4 colludes; all self masks become known when the sum is revealed.
  Federation federation({.sections = {{RingBits::k32, 16384}}});
  federation.SetUp();
  federation.Start(1);
  std::map<MemberIndex, Masks> masks;
  for (const MemberIndex member : federation.Everybody())
    masks[member] = MasksOf(federation, member);
  Bytes left = federation.masked(0);
  left = Remove(federation, left, masks[0].self, false);
  left = Remove(federation, left, masks[4].pairs[0].first, masks[0].pairs[4].second);
  ASSERT_EQ(masks[4].pairs[0].first, masks[0].pairs[4].first);
  // Three masks with honest sites are left, of which nobody else knows one.
  std::vector<double> counts(256);
  for (std::size_t i = 0; i < left.size(); ++i) {
    ++counts[static_cast<std::uint8_t>(left[i] - federation.input(0)[i])];
  }
  const double expected = static_cast<double>(left.size()) / 256;
  double chi_square = 0;
  for (const double count : counts)
    chi_square += (count - expected) * (count - expected) / expected;
  EXPECT_LT(chi_square, 255 + 5 * 22.6);  // Chance of failing by luck below 1e-6.
  for (const MemberIndex honest : {1u, 2u, 3u}) {
    EXPECT_FALSE(masks[4].pairs.contains(0) &&
                 masks[4].pairs[0].first == masks[0].pairs[honest].first);
  }
}

// Four-bit numbers, so that every possibility can be tried: the low bits of one element of each
// vector, and the masks between honest sites as unknowns. The coordinator knows all self masks and
// all that its colluder knows.
TEST(SecrecyTest, ColludersThatTryEverythingFindEveryInputEquallyLikely) {
  constexpr unsigned kRing = 16;
  Federation federation({.num_members = 4, .sections = {{RingBits::k16, 1}}});
  federation.SetUp();
  federation.Start(1);
  std::map<MemberIndex, Masks> masks;
  for (const MemberIndex member : federation.Everybody())
    masks[member] = MasksOf(federation, member);
  std::array<unsigned, 3> seen{};  // Of the sites 0, 1 and 2; site 3 colludes.
  for (MemberIndex member = 0; member < 3; ++member) {
    Bytes left = Remove(federation, federation.masked(member), masks[member].self, false);
    left = Remove(federation, left, masks[3].pairs[member].first, masks[member].pairs[3].second);
    seen[member] = left[0] % kRing;
  }
  const unsigned sum = (seen[0] + seen[1] + seen[2]) % kRing;
  ASSERT_EQ(sum,
            (federation.input(0)[0] + federation.input(1)[0] + federation.input(2)[0]) % kRing);

  // The smaller index subtracts a pair's mask and the larger adds it.
  std::array<unsigned, kRing> likely{};
  for (unsigned m01 = 0; m01 < kRing; ++m01) {
    for (unsigned m02 = 0; m02 < kRing; ++m02) {
      for (unsigned m12 = 0; m12 < kRing; ++m12) {
        const unsigned x0 = (seen[0] + m01 + m02) % kRing;
        const unsigned x1 = (seen[1] - m01 + m12 + kRing) % kRing;
        const unsigned x2 = (seen[2] - m02 - m12 + 2 * kRing) % kRing;
        ASSERT_EQ((x0 + x1 + x2) % kRing, sum);
        ++likely[x0];
      }
    }
  }
  for (const unsigned count : likely) EXPECT_EQ(count, likely[0]);
}

}  // namespace
}  // namespace chorale::secagg
