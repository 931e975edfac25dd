#include "core/crypto/secret_bytes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <type_traits>
#include <utility>

#include "core/bytes.h"

namespace chorale::crypto {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

static_assert(!std::is_copy_constructible_v<SecretBytes>);
static_assert(!std::is_copy_assignable_v<SecretBytes>);
static_assert(std::is_nothrow_move_constructible_v<SecretBytes>);

TEST(SecretBytesTest, WipeLeavesZeroes) {
  std::array<std::uint8_t, 5> bytes = {1, 2, 3, 4, 5};

  Wipe(bytes);

  EXPECT_THAT(bytes, Each(0));
}

TEST(SecretBytesTest, WipeOfNothingDoesNothing) { Wipe({}); }

TEST(SecretBytesTest, LeavesNothingBehindWhenMoved) {
  SecretBytes first(Bytes{1, 2, 3});

  const SecretBytes second = std::move(first);

  EXPECT_THAT(first.Reveal(),
              IsEmpty());  // NOLINT(bugprone-use-after-move): the promise under test.
  EXPECT_THAT(second.Reveal(), ElementsAre(1, 2, 3));
}

TEST(SecretBytesTest, TakesTheOtherSecretWhenAssigned) {
  SecretBytes first(Bytes{1, 2, 3});
  SecretBytes second(Bytes{9, 9});

  second = std::move(first);

  EXPECT_THAT(second.Reveal(), ElementsAre(1, 2, 3));
}

TEST(SecretBytesTest, KeepsItsValueWhenAssignedToItself) {
  SecretBytes secret(Bytes{1, 2, 3});
  SecretBytes& alias = secret;

  secret = std::move(alias);

  EXPECT_THAT(secret.Reveal(), ElementsAre(1, 2, 3));
}

TEST(SecretBytesTest, StartsAsZeroesWhenSized) {
  SecretBytes secret(4);

  EXPECT_THAT(secret.Reveal(), ElementsAre(0, 0, 0, 0));
  secret.MutableReveal()[1] = 7;
  EXPECT_THAT(secret.Reveal(), ElementsAre(0, 7, 0, 0));
}

TEST(ConstantTimeEqualTest, TellsEqualFromDifferent) {
  EXPECT_TRUE(ConstantTimeEqual(Bytes{1, 2, 3}, Bytes{1, 2, 3}));
  EXPECT_TRUE(ConstantTimeEqual({}, {}));
  EXPECT_FALSE(ConstantTimeEqual(Bytes{1, 2, 3}, Bytes{1, 2, 4}));
  EXPECT_FALSE(ConstantTimeEqual(Bytes{1, 2, 3}, Bytes{1, 2}));
  EXPECT_FALSE(ConstantTimeEqual(Bytes{0}, {}));
}

}  // namespace
}  // namespace chorale::crypto
