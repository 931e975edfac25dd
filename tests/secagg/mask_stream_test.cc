#include "secagg/mask_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "core/crypto/cipher.h"
#include "core/random.h"
#include "tests/secagg/known_answers.h"

namespace chorale::secagg {
namespace {

constexpr MaskKernel kKernels[] = {MaskKernel::kEvp, MaskKernel::kAesNi, MaskKernel::kVaes,
                                   MaskKernel::kBest};
constexpr RingBits kRings[] = {RingBits::k16, RingBits::k24, RingBits::k32, RingBits::k64};

VectorSpec Spec(std::vector<Section> sections) { return *VectorSpec::Create(std::move(sections)); }

Bytes Random(std::size_t size, std::uint64_t seed) {
  Bytes bytes(size);
  SeededRandom(seed).Fill(bytes);
  return bytes;
}

struct Keys {
  std::vector<crypto::SecretBytes> keys;
  std::vector<MaskTerm> terms;
};

// `count` keys of 16 and 32 bytes in turn, every third subtracted.
Keys MakeKeys(std::size_t count) {
  Keys made;
  for (std::size_t i = 0; i < count; ++i) {
    made.keys.emplace_back(Random(i % 2 == 0 ? 16 : 32, 100 + i));
  }
  for (std::size_t i = 0; i < count; ++i) made.terms.push_back({&made.keys[i], i % 3 == 2});
  return made;
}

// Element by element over a keystream from its very beginning.
Bytes MaskSlowly(const VectorSpec& spec, Bytes vector, const std::vector<MaskTerm>& terms) {
  for (const MaskTerm& term : terms) {
    Bytes stream(vector.size());
    crypto::CtrStream::Create(*term.key)->Generate(stream);
    std::size_t at = 0;
    for (const Section& section : spec.sections()) {
      const std::size_t size = ElementBytes(section.bits);
      for (std::uint64_t e = 0; e < section.count; ++e, at += size) {
        std::uint64_t element = 0;
        std::uint64_t mask = 0;
        std::memcpy(&element, vector.data() + at, size);
        std::memcpy(&mask, stream.data() + at, size);
        element = term.is_subtracted ? element - mask : element + mask;
        std::memcpy(vector.data() + at, &element, size);
      }
    }
  }
  return vector;
}

void ExpectEveryKernelMasks(const VectorSpec& spec, std::size_t num_terms) {
  const Keys keys = MakeKeys(num_terms);
  const Bytes plain = Random(spec.size_bytes(), 1);
  const Bytes expected = MaskSlowly(spec, plain, keys.terms);
  for (const MaskKernel kernel : kKernels) {
    for (const int threads : {1, 2, 7}) {
      Bytes masked = plain;
      ASSERT_TRUE(ApplyMasks(spec, 0, masked, keys.terms, threads, kernel).ok());
      EXPECT_TRUE(masked == expected)
          << "kernel " << static_cast<int>(kernel) << ", threads " << threads;
    }
  }
}

TEST(MaskStreamTest, StartsWithTheKnownWords) {
  const struct {
    std::string_view key;
    std::vector<std::uint32_t> words;
  } kKnown[] = {{kKnownPairMaskKey,
                 {0x3f07413f, 0xf0343799, 0xbe4b996b, 0x7ee436d5, 0x526b64b3, 0x3cf660b1,
                  0x4224eed3, 0xccb1e4c9, 0x8555e7f9, 0x11c2aaba, 0x305af43e, 0x798a182e,
                  0xc1ec3cc5, 0xcb038688, 0x3cfcaa37, 0x3f0d1f22}},
                {kKnownSelfMaskKey, {0x36123d8d, 0xa4d095df, 0x13471a1c, 0x45a8440d}}};
  for (const auto& known : kKnown) {
    const crypto::SecretBytes key(Hex(known.key));
    const MaskTerm term = {&key, false};
    const VectorSpec spec = Spec({{RingBits::k32, known.words.size()}});
    for (const MaskKernel kernel : kKernels) {
      Bytes vector(spec.size_bytes());
      ASSERT_TRUE(ApplyMasks(spec, 0, vector, {&term, 1}, 1, kernel).ok());
      EXPECT_EQ(std::memcmp(vector.data(), known.words.data(), vector.size()), 0);
    }
  }
}

TEST(MaskStreamTest, IsTheSameForEveryKernelRingSizeAndNumberOfThreads) {
  for (const RingBits bits : kRings) {
    for (const std::uint64_t count : {1u, 2u, 3u, 5u, 8u, 31u, 64u, 65u, 127u, 1001u, 70'001u}) {
      SCOPED_TRACE(testing::Message() << static_cast<int>(bits) << " bits, " << count);
      ExpectEveryKernelMasks(Spec({{bits, count}}), 4);
    }
  }
}

TEST(MaskStreamTest, RunsThroughSectionsThatDoNotLineUpWithBlocks) {
  ExpectEveryKernelMasks(Spec({{RingBits::k24, 1},
                               {RingBits::k64, 9000},
                               {RingBits::k16, 1},
                               {RingBits::k32, 40'000},
                               {RingBits::k24, 33'333},
                               {RingBits::k16, 20'001},
                               {RingBits::k64, 1}}),
                         5);
  ExpectEveryKernelMasks(Spec({{RingBits::k16, 6}, {RingBits::k32, 100}, {RingBits::k64, 100}}), 3);
}

TEST(MaskStreamTest, IsTheSameInPartsOfAnySize) {
  const VectorSpec spec = Spec({{RingBits::k24, 20'001}, {RingBits::k32, 50'000}});
  const Keys keys = MakeKeys(3);
  const Bytes plain = Random(spec.size_bytes(), 2);
  const Bytes expected = MaskSlowly(spec, plain, keys.terms);
  for (const MaskKernel kernel : kKernels) {
    for (const std::size_t part : {12u, 48u, 4092u, 65'532u}) {
      Bytes masked = plain;
      std::size_t at = 0;
      while (at < masked.size()) {
        // 60,003 is the end of the first section.
        std::size_t size = std::min(part, masked.size() - at);
        if (at < 60'003) size = std::min<std::size_t>(size, 60'003 - at);
        ASSERT_TRUE(
            ApplyMasks(spec, at, std::span(masked).subspan(at, size), keys.terms, 1, kernel).ok());
        at += size;
      }
      EXPECT_TRUE(masked == expected) << static_cast<int>(kernel) << " " << part;
    }
  }
}

TEST(MaskStreamTest, IsTheSameWhereverTheVectorLies) {
  const VectorSpec spec = Spec({{RingBits::k32, 6'003}});
  const Keys keys = MakeKeys(3);
  const Bytes plain = Random(spec.size_bytes(), 2);
  const Bytes expected = MaskSlowly(spec, plain, keys.terms);
  for (const MaskKernel kernel : kKernels) {
    for (std::size_t place = 0; place < 64; ++place) {
      Bytes memory(place + plain.size());
      const std::span<std::uint8_t> masked = std::span(memory).subspan(place);
      std::ranges::copy(plain, masked.begin());
      ASSERT_TRUE(ApplyMasks(spec, 0, masked, keys.terms, 1, kernel).ok());
      EXPECT_TRUE(std::ranges::equal(masked, expected)) << static_cast<int>(kernel) << " " << place;
    }
  }
}

TEST(MaskStreamTest, ReachesTheEndOfTheLongestVectorAsASeekDoes) {
  const VectorSpec spec = Spec({{RingBits::k32, VectorSpec::kMaxBytes / 4}});
  const Keys keys = MakeKeys(2);
  // Beyond 2^32 bytes, around 2^32 bytes, and the last bytes of all, whose block number has 32
  // bits.
  for (const std::uint64_t element : {(std::uint64_t{1} << 30) + 5, (std::uint64_t{1} << 30) - 50,
                                      VectorSpec::kMaxBytes / 4 - 999}) {
    Bytes expected(4 * 999);
    for (const MaskTerm& term : keys.terms) {
      auto stream = crypto::CtrStream::Create(*term.key);
      stream->Seek(4 * element);
      Bytes mask(expected.size());
      stream->Generate(mask);
      ASSERT_TRUE(AddVectors(Spec({{RingBits::k32, 999}}), 0, mask, expected, 1).ok());
    }
    for (const MaskKernel kernel : kKernels) {
      Bytes vector(expected.size());
      ASSERT_TRUE(ApplyMasks(spec, 4 * element, vector, keys.terms, 1, kernel).ok());
      EXPECT_TRUE(vector == expected) << element << " " << static_cast<int>(kernel);
    }
  }
}

TEST(MaskStreamTest, CancelsWhenTheSameMaskIsAddedAndSubtracted) {
  for (const RingBits bits : kRings) {
    const VectorSpec spec = Spec({{bits, 12'345}});
    const Bytes plain = Random(spec.size_bytes(), 3);
    const Keys keys = MakeKeys(1);
    for (const MaskKernel kernel : kKernels) {
      Bytes vector = plain;
      const MaskTerm add = {&keys.keys[0], false};
      const MaskTerm subtract = {&keys.keys[0], true};
      ASSERT_TRUE(ApplyMasks(spec, 0, vector, {&add, 1}, 1, kernel).ok());
      EXPECT_FALSE(vector == plain);
      ASSERT_TRUE(ApplyMasks(spec, 0, vector, {&subtract, 1}, 1, MaskKernel::kEvp).ok());
      EXPECT_TRUE(vector == plain);
    }
  }
}

TEST(MaskStreamTest, DoesNothingWithoutTerms) {
  const VectorSpec spec = Spec({{RingBits::k32, 3}});
  Bytes vector(12, 5);

  EXPECT_TRUE(ApplyMasks(spec, 0, vector, {}, 1).ok());
  EXPECT_TRUE(ApplyMasks(spec, 4, std::span(vector).first(0), MakeKeys(1).terms, 1).ok());
  EXPECT_EQ(vector, Bytes(12, 5));
}

TEST(MaskStreamTest, ChangesNothingWhenSomethingDoesNotFit) {
  const VectorSpec spec = Spec({{RingBits::k32, 3}});
  const Keys keys = MakeKeys(1);
  const crypto::SecretBytes short_key(15);
  const std::vector<MaskTerm> bad_size = {keys.terms[0], {&short_key, false}};
  const std::vector<MaskTerm> missing = {keys.terms[0], {}};
  Bytes vector(12, 5);
  const auto code = [&](std::uint64_t offset, std::size_t size,
                        const std::vector<MaskTerm>& terms) {
    return ApplyMasks(spec, offset, std::span(vector).first(size), terms, 1).code();
  };

  EXPECT_EQ(code(0, 12, bad_size), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(0, 12, missing), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(4, 12, keys.terms), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(2, 4, keys.terms), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(0, 6, keys.terms), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(~std::uint64_t{0}, 4, keys.terms), StatusCode::kInvalidArgument);
  EXPECT_EQ(vector, Bytes(12, 5));
}

TEST(MaskStreamTest, KnowsTheKeysOfEverySuite) {
  EXPECT_EQ(MaskKeyBytes(Suite::kAes128Ctr), 16u);
  EXPECT_EQ(MaskKeyBytes(Suite::kAes256Ctr), 32u);
  EXPECT_TRUE(IsAvailable(MaskKernel::kBest));
  EXPECT_TRUE(IsAvailable(MaskKernel::kEvp));
}

}  // namespace
}  // namespace chorale::secagg
