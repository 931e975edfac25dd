#include "core/crypto/random.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <set>

#include "core/bytes.h"

namespace chorale::crypto {
namespace {

using Sample = std::array<std::uint8_t, 16>;

Sample Draw() {
  Sample sample{};
  SecureRandom().Fill(sample);
  return sample;
}

TEST(SecureRandomTest, NeverRepeatsItself) {
  std::set<Sample> samples;
  for (int i = 0; i < 1000; ++i) samples.insert(Draw());  // Collides by luck with chance 2^-109.

  EXPECT_EQ(samples.size(), 1000u);
}

TEST(SecureRandomTest, FillsEveryByte) {
  std::array<bool, 16> changed{};
  for (int i = 0; i < 32; ++i) {  // A byte stays zero by luck with chance 2^-256.
    const Sample sample = Draw();
    for (std::size_t k = 0; k < sample.size(); ++k) changed[k] = changed[k] || sample[k] != 0;
  }

  for (const bool is_changed : changed) EXPECT_TRUE(is_changed);
}

TEST(SecureRandomTest, FillsNothingWhenAskedForNothing) { SecureRandom().Fill({}); }

TEST(SecureRandomTest, DiffersBetweenParentAndChildAfterAFork) {
  (void)Draw();  // The generator has a state to inherit.
  std::array<int, 2> pipe_ends{};
  ASSERT_EQ(pipe(pipe_ends.data()), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const Sample sample = Draw();
    const bool is_written = write(pipe_ends[1], sample.data(), sample.size()) == sample.size();
    _exit(is_written ? 0 : 1);
  }
  const Sample of_parent = Draw();
  Sample of_child{};

  ASSERT_EQ(read(pipe_ends[0], of_child.data(), of_child.size()),
            static_cast<ssize_t>(of_child.size()));
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  close(pipe_ends[0]);
  close(pipe_ends[1]);
  EXPECT_NE(of_parent, of_child);
}

}  // namespace
}  // namespace chorale::crypto
