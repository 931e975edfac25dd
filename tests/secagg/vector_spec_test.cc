#include "secagg/vector_spec.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/random.h"

namespace chorale::secagg {
namespace {

constexpr RingBits kRings[] = {RingBits::k16, RingBits::k24, RingBits::k32, RingBits::k64};

Bytes Random(std::size_t size, std::uint64_t seed) {
  Bytes bytes(size);
  SeededRandom(seed).Fill(bytes);
  return bytes;
}

VectorSpec Spec(std::vector<Section> sections) { return *VectorSpec::Create(std::move(sections)); }

// Element by element, byte by byte.
Bytes AddSlowly(const VectorSpec& spec, const Bytes& a, const Bytes& b) {
  Bytes sum(a.size());
  std::size_t at = 0;
  for (const Section& section : spec.sections()) {
    for (std::uint64_t e = 0; e < section.count; ++e) {
      unsigned carry = 0;
      for (std::size_t i = 0; i < ElementBytes(section.bits); ++i, ++at) {
        carry += unsigned{a[at]} + b[at];
        sum[at] = static_cast<std::uint8_t>(carry);
        carry >>= 8;
      }
    }
  }
  return sum;
}

TEST(VectorSpecTest, PutsSectionsOneBehindTheOther) {
  const VectorSpec spec = Spec({{RingBits::k24, 5}, {RingBits::k64, 2}, {RingBits::k16, 1}});

  EXPECT_EQ(spec.size_bytes(), 15u + 16u + 2u);
  const auto runs = spec.RunsOf(0, 33);
  ASSERT_TRUE(runs.ok());
  ASSERT_EQ(runs->size(), 3u);
  EXPECT_EQ((*runs)[1].bits, RingBits::k64);
  EXPECT_EQ((*runs)[1].begin, 15u);
  EXPECT_EQ((*runs)[1].end, 31u);
}

TEST(VectorSpecTest, RefusesWhatIsNoVector) {
  EXPECT_EQ(VectorSpec::Create({}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(MessageOf(VectorSpec::Create({{RingBits::k32, 1}, {RingBits::k16, 0}}).status()),
            "sections[1].count must be at least 1, got 0");
  EXPECT_EQ(MessageOf(VectorSpec::Create({{static_cast<RingBits>(8), 1}}).status()),
            "sections[0].bits must be one of 16, 24, 32, 64, got 8");
}

TEST(VectorSpecTest, HoldsAtMostWhatOneKeyMayCover) {
  constexpr std::uint64_t kMost = VectorSpec::kMaxBytes / 4;

  EXPECT_TRUE(VectorSpec::Create({{RingBits::k32, kMost}}).ok());
  EXPECT_FALSE(VectorSpec::Create({{RingBits::k32, kMost + 1}}).ok());
  EXPECT_FALSE(VectorSpec::Create({{RingBits::k32, kMost}, {RingBits::k16, 1}}).ok());
  EXPECT_FALSE(VectorSpec::Create({{RingBits::k64, ~std::uint64_t{0} / 8 + 2}}).ok());
}

TEST(VectorSpecTest, CutsOnlyBetweenElements) {
  const VectorSpec spec = Spec({{RingBits::k24, 5}, {RingBits::k32, 2}});

  EXPECT_TRUE(spec.RunsOf(3, 16).ok());
  EXPECT_TRUE(spec.RunsOf(15, 0).ok());
  EXPECT_EQ(MessageOf(spec.RunsOf(4, 11).status()),
            "byte 4 of a masked vector lies within an element of 3 bytes");
  EXPECT_EQ(MessageOf(spec.RunsOf(0, 21).status()),
            "byte 21 of a masked vector lies within an element of 4 bytes");
  EXPECT_FALSE(spec.RunsOf(0, 24).ok());
  EXPECT_FALSE(spec.RunsOf(24, 0).ok());
  EXPECT_FALSE(spec.RunsOf(3, ~std::uint64_t{0}).ok());
}

TEST(AddVectorsTest, AddsInEveryRingAsAnAdditionByHandDoes) {
  for (const RingBits bits : kRings) {
    for (const std::uint64_t count : {1u, 2u, 7u, 8u, 9u, 63u, 64u, 65u, 1000u}) {
      const VectorSpec spec = Spec({{bits, count}});
      const Bytes a = Random(spec.size_bytes(), 2 * count);
      Bytes sum = Random(spec.size_bytes(), 2 * count + 1);
      const Bytes expected = AddSlowly(spec, a, sum);

      ASSERT_TRUE(AddVectors(spec, 0, a, sum, 1).ok());

      EXPECT_EQ(sum, expected) << static_cast<int>(bits) << " bits, " << count;
    }
  }
}

TEST(AddVectorsTest, WrapsWithinEachElement) {
  for (const RingBits bits : kRings) {
    const VectorSpec spec = Spec({{bits, 19}});
    const Bytes ones(spec.size_bytes(), 0xff);
    Bytes sum = ones;

    ASSERT_TRUE(AddVectors(spec, 0, ones, sum, 1).ok());

    // (2^b - 1) + (2^b - 1) = 2^b - 2: the lowest byte is fe, the others ff.
    for (std::size_t i = 0; i < sum.size(); ++i) {
      EXPECT_EQ(sum[i], i % ElementBytes(bits) == 0 ? 0xfe : 0xff) << i;
    }
  }
}

TEST(AddVectorsTest, IsTheSameForAnyNumberOfThreadsAndForParts) {
  const VectorSpec spec = Spec({{RingBits::k24, 100'001},
                                {RingBits::k16, 3},
                                {RingBits::k32, 200'000},
                                {RingBits::k64, 70'000}});
  const Bytes addend = Random(spec.size_bytes(), 3);
  const Bytes start = Random(spec.size_bytes(), 4);
  const Bytes expected = AddSlowly(spec, addend, start);
  for (const int threads : {1, 2, 7}) {
    Bytes sum = start;
    ASSERT_TRUE(AddVectors(spec, 0, addend, sum, threads).ok());
    EXPECT_TRUE(sum == expected) << threads;
  }
  Bytes sum = start;
  for (std::size_t at = 0; at < sum.size();) {
    // 300'003 is the end of the first section.
    const std::size_t size = at == 0 ? 30'000 : at == 30'000 ? 270'003 : sum.size() - at;
    ASSERT_TRUE(AddVectors(spec, at, ByteSpan(addend).subspan(at, size),
                           std::span(sum).subspan(at, size), 2)
                    .ok());
    at += size;
  }
  EXPECT_TRUE(sum == expected);
}

TEST(AddVectorsTest, ChangesNothingWhenThePartsDoNotFit) {
  const VectorSpec spec = Spec({{RingBits::k32, 4}});
  const Bytes addend(16, 1);
  Bytes sum(16, 7);

  EXPECT_FALSE(AddVectors(spec, 0, ByteSpan(addend).first(12), sum, 1).ok());
  EXPECT_FALSE(AddVectors(spec, 4, addend, sum, 1).ok());
  EXPECT_FALSE(AddVectors(spec, 2, ByteSpan(addend).first(4), std::span(sum).first(4), 1).ok());
  EXPECT_EQ(sum, Bytes(16, 7));
}

}  // namespace
}  // namespace chorale::secagg
