#include "privacy/noise/noise_stream.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "core/bytes.h"

namespace chorale::privacy {
namespace {

const JobId kJob("job-1");
const SiteId kSite("site-a");

crypto::SecretBytes KeyBytes(std::uint8_t fill) { return crypto::SecretBytes(Bytes(32, fill)); }

NoiseKey KeyOf(const JobId& job, const SiteId& site, std::uint8_t fill = 7) {
  return *NoiseKey::Create(KeyBytes(fill), job, site);
}

std::array<std::uint64_t, 64> WordsOf(NoiseStream stream) {
  std::array<std::uint64_t, 64> words;
  for (std::uint64_t& word : words) word = stream.NextUint64();
  return words;
}

TEST(NoiseKeyTest, TheSameUseOfTheSameKeyGivesTheSameStream) {
  NoiseKey one = KeyOf(kJob, kSite);
  NoiseKey two = KeyOf(kJob, kSite);

  EXPECT_EQ(WordsOf(*one.Open({3, 1, "gradient"})), WordsOf(*two.Open({3, 1, "gradient"})));
}

TEST(NoiseKeyTest, WhateverDiffersGivesAnotherStream) {
  NoiseKey key = KeyOf(kJob, kSite);
  NoiseKey other_job = KeyOf(JobId("job-2"), kSite);
  NoiseKey other_site = KeyOf(kJob, SiteId("site-b"));
  NoiseKey moved_border = KeyOf(JobId("job-1s"), SiteId("ite-a"));
  NoiseKey other_key = KeyOf(kJob, kSite, 8);
  std::vector<std::array<std::uint64_t, 64>> streams;
  for (const NoiseUse& use : {NoiseUse{1, 0, "gradient"}, NoiseUse{2, 0, "gradient"},
                              NoiseUse{1, 1, "gradient"}, NoiseUse{1, 0, "count"}}) {
    streams.push_back(WordsOf(*key.Open(use)));
  }
  for (NoiseKey* one : {&other_job, &other_site, &moved_border, &other_key}) {
    streams.push_back(WordsOf(*one->Open({1, 0, "gradient"})));
  }

  for (std::size_t i = 0; i < streams.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      int num_equal_bits = 0;
      for (std::size_t k = 0; k < 64; ++k) {
        num_equal_bits += 64 - std::popcount(streams[i][k] ^ streams[j][k]);
      }
      // Of 4096 fair bits: 7 standard deviations (224) are exceeded once in 4e11; keys are fixed.
      EXPECT_NEAR(num_equal_bits, 2048, 224) << i << " and " << j;
    }
  }
}

TEST(NoiseKeyTest, OpensEachUseOnce) {
  NoiseKey key = KeyOf(kJob, kSite);
  ASSERT_TRUE(key.Open({1, 0, "gradient"}).ok());

  EXPECT_EQ(key.Open({1, 0, "gradient"}).status().code(), StatusCode::kAlreadyExists);
  EXPECT_TRUE(key.Open({1, 1, "gradient"}).ok());

  NoiseKey moved = std::move(key);
  EXPECT_EQ(moved.Open({1, 0, "gradient"}).status().code(), StatusCode::kAlreadyExists);
}

TEST(NoiseKeyTest, RefusesKeysOfAnotherSizeAndPurposesThatAreNoNames) {
  EXPECT_EQ(NoiseKey::Create(crypto::SecretBytes(31), kJob, kSite).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(KeyOf(kJob, kSite).Open({1, 0, ""}).status().code(), StatusCode::kInvalidArgument);
}

TEST(NoiseKeyTest, AKeyThatWasGivenAwayOpensNothing) {
  NoiseKey key = KeyOf(kJob, kSite);
  const NoiseKey owner = std::move(key);

  // NOLINTNEXTLINE(bugprone-use-after-move): what is tested.
  EXPECT_EQ(key.Open({1, 0, "gradient"}).status().code(), StatusCode::kFailedPrecondition);
}

TEST(NoiseKeyTest, FreshKeysDiffer) {
  NoiseKey one = NoiseKey::Generate(kJob, kSite);
  NoiseKey two = NoiseKey::Generate(kJob, kSite);

  EXPECT_NE(WordsOf(*one.Open({1, 0, "gradient"})), WordsOf(*two.Open({1, 0, "gradient"})));
}

TEST(NoiseStreamTest, PiecesOfAnySizeReadTheSameBytes) {
  NoiseKey one = KeyOf(kJob, kSite);
  NoiseKey two = KeyOf(kJob, kSite);
  NoiseStream whole = *one.Open({1, 0, "gradient"});
  NoiseStream pieces = *two.Open({1, 0, "gradient"});
  Bytes expected(40'000);
  whole.Fill(expected);

  Bytes bytes(expected.size());
  std::size_t at = 0;
  for (std::size_t size = 1; at < bytes.size(); size = size * 3 + 1) {
    const std::size_t now = std::min(size, bytes.size() - at);
    pieces.Fill(std::span(bytes).subspan(at, now));
    at += now;
  }

  EXPECT_EQ(bytes, expected);
}

TEST(NoiseStreamTest, PartsHaveNothingInCommonWithTheStreamOrEachOther) {
  NoiseKey one = KeyOf(kJob, kSite);
  NoiseKey two = KeyOf(kJob, kSite);
  const auto whole = WordsOf(*one.Open({1, 0, "gradient"}));
  std::vector<NoiseStream> parts = (*two.Open({1, 0, "gradient"})).Split(2);
  ASSERT_EQ(parts.size(), 2u);
  const auto first = WordsOf(std::move(parts[0]));
  const auto second = WordsOf(std::move(parts[1]));

  for (std::size_t i = 0; i < 64; ++i) {
    EXPECT_NE(whole[i], first[i]);
    EXPECT_NE(whole[i], second[i]);
    EXPECT_NE(first[i], second[i]);
  }
}

TEST(NoiseStreamDeathTest, EndsTheProcessWhenUsedAfterItWasGivenAway) {
  NoiseKey key = KeyOf(kJob, kSite);
  NoiseStream stream = *key.Open({1, 0, "gradient"});
  const NoiseStream owner = std::move(stream);

  // NOLINTNEXTLINE(bugprone-use-after-move): what is tested.
  EXPECT_DEATH((void)stream.NextUint64(), "given away");
}

// What a forked child does; 0 where nothing stops it.
template <typename Function>
int StatusOfChild(Function function) {
  const pid_t child = ::fork();
  if (child == 0) {
    function();
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

TEST(NoiseStreamDeathTest, AForkedProcessCannotUseTheStreamsOrTheKeyOfItsParent) {
  NoiseKey key = KeyOf(kJob, kSite);
  NoiseStream stream = *key.Open({1, 0, "gradient"});
  (void)stream.NextUint64();  // The rest of the buffer would be the same in both.

  const int of_stream = StatusOfChild([&] { (void)stream.NextUint64(); });
  const int of_key = StatusOfChild([&] {
    const auto opened = key.Open({2, 0, "gradient"});
    ::_exit(opened.status().code() == StatusCode::kFailedPrecondition ? 17 : 18);
  });

  EXPECT_TRUE(WIFSIGNALED(of_stream));
  EXPECT_EQ(WEXITSTATUS(of_key), 17);
  EXPECT_TRUE(key.Open({2, 0, "gradient"}).ok());  // The parent goes on.
  (void)stream.NextUint64();
}

// How often writable memory holds these bytes, which are given with every bit flipped.
std::size_t CountInMemory(const Bytes& flipped) {
  std::ifstream maps("/proc/self/maps");
  std::ifstream memory("/proc/self/mem", std::ios::binary);
  std::size_t found = 0;
  std::vector<std::uint8_t> region;
  for (std::string line; std::getline(maps, line);) {
    if (line.find(" rw-p ") == std::string::npos) continue;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    char dash = 0;
    std::istringstream(line) >> std::hex >> begin >> dash >> end;
    if (end - begin > std::size_t{1} << 30) continue;  // A sanitizer's shadow.
    region.resize(end - begin);
    memory.clear();
    memory.seekg(static_cast<std::streamoff>(begin));
    if (!memory.read(reinterpret_cast<char*>(region.data()),
                     static_cast<std::streamsize>(region.size()))) {
      continue;
    }
    for (std::size_t at = 0; at + flipped.size() <= region.size(); at += 8) {
      bool is_equal = true;
      for (std::size_t i = 0; is_equal && i < flipped.size(); ++i) {
        is_equal = static_cast<std::uint8_t>(~region[at + i]) == flipped[i];
      }
      found += is_equal ? 1 : 0;
    }
    std::memset(region.data(), 0, region.size());
  }
  return found;
}

TEST(NoiseStreamTest, TheKeyIsGoneFromMemoryWithItsOwner) {
  Bytes flipped(32);
  for (std::size_t i = 0; i < 32; ++i) flipped[i] = static_cast<std::uint8_t>(~(i * i * 7 + 3));
  {
    crypto::SecretBytes secret(32);
    for (std::size_t i = 0; i < 32; ++i) {
      secret.MutableReveal()[i] = static_cast<std::uint8_t>(~flipped[i]);
    }
    NoiseKey key = *NoiseKey::Create(std::move(secret), kJob, kSite);
    NoiseStream stream = *key.Open({1, 0, "gradient"});
    (void)stream.NextUint64();
    ASSERT_GE(CountInMemory(flipped), 1u);  // The scan finds what is there.
  }

  EXPECT_EQ(CountInMemory(flipped), 0u);
}

}  // namespace
}  // namespace chorale::privacy
