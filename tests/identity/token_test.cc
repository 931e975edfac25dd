#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/bytes.h"
#include "core/random.h"
#include "identity/enrolment.h"

namespace chorale::identity {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

Token TestToken() {
  return Token{.id = "0123456789abcdef",
               .secret = crypto::SecretBytes(Bytes(16, 0x5a)),
               .root_fingerprint = Bytes(16, 0xc3)};
}

TEST(TokenTest, ComesBackFromItsText) {
  const std::string text = RenderToken(TestToken());

  const StatusOr<Token> token = ParseToken(text);

  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_THAT(text, MatchesRegex("chorale-[A-Za-z0-9_-]{59}"));
  EXPECT_EQ(token->id, "0123456789abcdef");
  EXPECT_EQ(ToHex(token->secret.Reveal()), ToHex(Bytes(16, 0x5a)));
  EXPECT_EQ(token->root_fingerprint, Bytes(16, 0xc3));
}

TEST(TokenTest, MayHaveWhitespaceAround) {
  EXPECT_TRUE(ParseToken("  " + RenderToken(TestToken()) + "\r\n").ok());
}

TEST(TokenTest, TellsEveryMistypedCharacter) {
  const std::string text = RenderToken(TestToken());
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string mistyped = text;
    mistyped[i] = mistyped[i] == 'x' ? 'y' : 'x';
    const Status status = ParseToken(mistyped).status();

    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << i;
    EXPECT_THAT(MessageOf(status), Not(HasSubstr(mistyped))) << "the secret must not be repeated";
  }
}

TEST(TokenTest, TellsSwappedCharacters) {
  const std::string text = RenderToken(TestToken());
  for (std::size_t i = 8; i + 1 < text.size(); ++i) {
    std::string swapped = text;
    std::swap(swapped[i], swapped[i + 1]);
    if (swapped == text) continue;

    EXPECT_FALSE(ParseToken(swapped).ok()) << i;
  }
}

TEST(TokenTest, TellsWhatIsWrong) {
  const std::string text = RenderToken(TestToken());
  const auto message = [](const std::string& t) { return MessageOf(ParseToken(t).status()); };

  EXPECT_EQ(message(""), "not an enrolment token: it must begin with \"chorale-\"");
  EXPECT_EQ(message("token"), "not an enrolment token: it must begin with \"chorale-\"");
  EXPECT_THAT(message(text.substr(0, 30)), HasSubstr("mistyped"));
  EXPECT_THAT(message(text + "A"), HasSubstr("mistyped"));
  EXPECT_THAT(message("chorale-"), HasSubstr("mistyped"));
  EXPECT_THAT(message(text.substr(0, 20) + " " + text.substr(20)), HasSubstr("wrong character"));
}

TEST(TokenTest, NoRandomTextPasses) {
  SeededRandom random(11);
  for (int i = 0; i < 2000; ++i) {  // One passes by luck with chance 2000 / 2^32.
    Bytes bytes(44);
    random.Fill(bytes);

    EXPECT_FALSE(ParseToken("chorale-" + ToBase64Url(bytes)).ok());
  }
}

}  // namespace
}  // namespace chorale::identity
