#include "identity/key_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "core/bytes.h"
#include "tests/support/temporary_directory.h"

namespace chorale::identity {
namespace {

using std::filesystem::perms;
using ::testing::HasSubstr;
using ::testing::Not;

class KeyFilesTest : public testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path Path(const char* name) const {
    return directory_.path() / name;
  }
  [[nodiscard]] perms ModeOf(const char* name) const {
    return std::filesystem::status(Path(name)).permissions();
  }

  support::TemporaryDirectory directory_;
};

constexpr perms kOwnerOnly = perms::owner_read | perms::owner_write;

TEST_F(KeyFilesTest, KeysComeBackFromFilesThatOnlyTheOwnerReads) {
  const crypto::TlsKey tls = crypto::TlsKey::Generate();
  const crypto::SigningKey signing = crypto::SigningKey::Generate();

  ASSERT_TRUE(SaveTlsKey(Path("tls.key"), tls).ok());
  ASSERT_TRUE(SaveSigningKey(Path("signing.key"), signing).ok());

  EXPECT_EQ(ToHex(LoadTlsKey(Path("tls.key"))->ToPem().Reveal()), ToHex(tls.ToPem().Reveal()));
  EXPECT_EQ(LoadSigningKey(Path("signing.key"))->public_key(), signing.public_key());
  EXPECT_EQ(ModeOf("tls.key"), kOwnerOnly);
  EXPECT_EQ(ModeOf("signing.key"), kOwnerOnly);
}

TEST_F(KeyFilesTest, RefusesAKeyThatOthersMayRead) {
  ASSERT_TRUE(SaveTlsKey(Path("tls.key"), crypto::TlsKey::Generate()).ok());
  ASSERT_TRUE(SaveSigningKey(Path("signing.key"), crypto::SigningKey::Generate()).ok());
  for (const perms extra : {perms::group_read, perms::others_read, perms::group_write}) {
    std::filesystem::permissions(Path("tls.key"), kOwnerOnly | extra);
    std::filesystem::permissions(Path("signing.key"), kOwnerOnly | extra);

    const Status tls = LoadTlsKey(Path("tls.key")).status();
    const Status signing = LoadSigningKey(Path("signing.key")).status();

    EXPECT_EQ(tls.code(), StatusCode::kPermissionDenied);
    EXPECT_EQ(signing.code(), StatusCode::kPermissionDenied);
    EXPECT_THAT(MessageOf(tls), HasSubstr("run: chmod 600 " + Path("tls.key").string()));
  }
}

TEST_F(KeyFilesTest, TellsAMissingKey) {
  EXPECT_EQ(LoadTlsKey(Path("tls.key")).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(LoadSigningKey(Path("signing.key")).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(LoadCertificate(Path("root.pem")).status().code(), StatusCode::kNotFound);
}

TEST_F(KeyFilesTest, RefusesADamagedKeyWithoutQuotingIt) {
  const crypto::SigningKey key = crypto::SigningKey::Generate();
  const std::string hex = ToHex(key.seed().Reveal());
  for (const std::string& text : {hex.substr(1), hex + "00", "g" + hex.substr(1), std::string()}) {
    std::ofstream(Path("signing.key")) << text;
    std::filesystem::permissions(Path("signing.key"), kOwnerOnly);

    const Status status = LoadSigningKey(Path("signing.key")).status();

    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(MessageOf(status), HasSubstr("64 hexadecimal characters"));
    EXPECT_THAT(MessageOf(status), Not(HasSubstr(hex.substr(1, 20))));
  }
}

TEST_F(KeyFilesTest, NamesTheFileThatHoldsNoCertificate) {
  std::ofstream(Path("root.pem")) << "nothing";

  const Status status = LoadCertificate(Path("root.pem")).status();

  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(status), HasSubstr(Path("root.pem").string()));
}

}  // namespace
}  // namespace chorale::identity
