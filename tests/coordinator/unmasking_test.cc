#include "coordinator/unmasking.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "core/crypto/secret_bytes.h"
#include "core/parameters.h"
#include "core/random.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/valid_job.h"

namespace chorale::coordinator {
namespace {

class UnmaskingTest : public testing::Test {
 protected:
  static v1::JobSpec Spec(std::uint32_t ring_bits) {
    v1::JobSpec spec = support::ValidJob();
    spec.mutable_secure_aggregation()->mutable_masking()->set_ring_bits(ring_bits);
    return spec;
  }
  static std::vector<float> RandomUpdate(std::size_t size, std::uint64_t seed) {
    SeededRandom random(seed);
    std::vector<float> update(size);
    for (float& value : update) value = static_cast<float>(2 * random.NextDouble() - 1);
    return update;
  }
  // What a site sends: its numbers under one mask of its own.
  crypto::SecretBytes Send(const jobs::MaskedLayout& layout, const std::string& site,
                           const jobs::SiteNumbers& numbers, std::uint64_t seed) {
    crypto::SecretBytes key(std::size_t{16});
    SeededRandom(seed).Fill(key.MutableReveal());
    Bytes vector = layout.Encode(numbers).value();
    const secagg::MaskTerm mask{.key = &key};
    EXPECT_TRUE(secagg::ApplyMasks(layout.vector(), 0, vector, {&mask, 1}, 1).ok());
    held_.push_back(Write(*payloads_, vector).value());
    vectors_.push_back({.site = SiteId(site), .payload = held_.back().id()});
    return key;
  }
  StatusOr<UnmaskedSum> Unmask(const jobs::MaskedLayout& layout,
                               const std::vector<const crypto::SecretBytes*>& keys, int threads) {
    std::vector<secagg::MaskTerm> terms;
    for (const crypto::SecretBytes* key : keys) terms.push_back({key, /*is_subtracted=*/true});
    return UnmaskSum(*payloads_, layout, vectors_, terms, threads, never_);
  }
  std::vector<float> Read(const HeldPayload& payload) {
    Bytes bytes(payload.id().size_bytes);
    EXPECT_TRUE(payloads_->Find(payload.id())->ReadAt(0, bytes).ok());
    return *ParametersFromBytes(bytes);
  }

  support::TemporaryDirectory directory_;
  std::unique_ptr<PayloadStore> payloads_ = *PayloadStore::Open(directory_.path() / "payloads");
  std::vector<HeldPayload> held_;
  std::vector<Contribution> vectors_;
  std::atomic<bool> never_{false};
};

TEST_F(UnmaskingTest, SeveralPiecesOfALargeModelAreTheMeanForAnyNumberOfThreads) {
  constexpr std::size_t kSize = 2'500'001;  // Over two pieces of 4 MiB, and not whole ones.
  const jobs::MaskedLayout layout =
      *jobs::MaskedLayout::Create(Spec(32), jobs::MaskedKind::kUpdate, kSize, 3);
  const std::vector<float> north = RandomUpdate(kSize, 1), south = RandomUpdate(kSize, 2);
  const crypto::SecretBytes a = Send(layout, "north", {.update = north, .num_examples = 90'000}, 3);
  const crypto::SecretBytes b = Send(layout, "south", {.update = south, .num_examples = 10'000}, 4);

  const auto one = Unmask(layout, {&a, &b}, 1);
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ(one->numbers.num_examples, 100'000u);
  const std::vector<float> mean = Read(*one->updates);
  ASSERT_EQ(mean.size(), kSize);
  double worst = 0;
  for (std::size_t i = 0; i < kSize; ++i) {
    worst = std::max(worst, std::abs(mean[i] - (0.9 * north[i] + 0.1 * south[i])));
  }
  // Half a step for each of two sites, of 2^-25, scaled up by 2^20 rows over 100,000.
  EXPECT_LT(worst, 4e-7);
  EXPECT_GT(worst, 0);

  const auto two = Unmask(layout, {&a, &b}, 2);
  ASSERT_TRUE(two.ok()) << two.status();
  EXPECT_EQ(two->digest, one->digest);
  EXPECT_EQ(Read(*two->updates), mean);
}

TEST_F(UnmaskingTest, AMaskThatStaysOnGivesNothing) {
  const jobs::MaskedLayout layout =
      *jobs::MaskedLayout::Create(Spec(64), jobs::MaskedKind::kUpdate, 4, 3);
  const std::vector<float> update(4, 0.5f);
  const crypto::SecretBytes a = Send(layout, "north", {.update = update, .num_examples = 9}, 3);
  const crypto::SecretBytes b = Send(layout, "south", {.update = update, .num_examples = 9}, 4);
  EXPECT_FALSE(Unmask(layout, {&a}, 1).ok());
  EXPECT_TRUE(Unmask(layout, {&a, &b}, 1).ok());
}

TEST_F(UnmaskingTest, AVectorThatIsNotThereNamesItsSite) {
  const jobs::MaskedLayout layout =
      *jobs::MaskedLayout::Create(Spec(64), jobs::MaskedKind::kUpdate, 4, 3);
  vectors_.push_back({.site = SiteId("north"), .payload = {.size_bytes = 4, .digest = {1}}});
  const auto sum = Unmask(layout, {}, 1);
  EXPECT_NE(MessageOf(sum.status()).find("north"), std::string::npos) << sum.status();
}

}  // namespace
}  // namespace chorale::coordinator
