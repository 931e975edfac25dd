#include "identity/enrolment_messages.h"

#include <gmock/gmock.h>
#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include <string>

#include "core/random.h"

namespace chorale::identity {
namespace {

using ::testing::HasSubstr;

Token TestToken() {
  return Token{.id = "0123456789abcdef",
               .secret = crypto::SecretBytes(Bytes(16, 0x5a)),
               .root_fingerprint = Bytes(16, 0xc3)};
}

class EnrolmentRequestTest : public testing::Test {
 protected:
  crypto::SigningKey signing_key_ = crypto::SigningKey::Generate();
  v1::EnrolmentRequest request_ =
      *MakeEnrolmentRequest(TestToken(), crypto::TlsKey::Generate(), signing_key_);
};

TEST_F(EnrolmentRequestTest, ComesBackFromItsBytes) {
  const StatusOr<v1::EnrolmentRequest> decoded =
      DecodeEnrolmentRequest(request_.SerializeAsString());

  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->SerializeAsString(), request_.SerializeAsString());
  EXPECT_EQ(SigningKeyOf(*decoded), signing_key_.public_key());
}

TEST_F(EnrolmentRequestTest, ProvesTheKeysAndTheSecret) {
  EXPECT_TRUE(VerifyTokenProof(request_, TestToken().secret.Reveal()).ok());
  EXPECT_TRUE(VerifyKeyProof(request_).ok());
}

TEST_F(EnrolmentRequestTest, RefusesAnotherSecret) {
  const Status status = VerifyTokenProof(request_, Bytes(16, 0x5b));

  EXPECT_EQ(status.code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(
      MessageOf(status),
      "wrong secret for token 0123456789abcdef: the request was not made with the token that was "
      "issued");
}

TEST_F(EnrolmentRequestTest, BindsTheSecretToBothKeys) {
  v1::EnrolmentRequest other_key = request_;
  other_key.set_signing_key(std::string(32, 'k'));
  v1::EnrolmentRequest other_csr = request_;
  other_csr.mutable_csr()->back() ^= 1;
  v1::EnrolmentRequest shifted = request_;
  shifted.mutable_csr()->push_back(shifted.signing_key().front());
  shifted.set_signing_key(shifted.signing_key().substr(1) + "x");

  for (const v1::EnrolmentRequest* request : {&other_key, &other_csr, &shifted}) {
    EXPECT_EQ(VerifyTokenProof(*request, TestToken().secret.Reveal()).code(),
              StatusCode::kPermissionDenied);
  }
}

TEST_F(EnrolmentRequestTest, RefusesASigningKeyThatIsNotProved) {
  request_.set_signing_key(ToString(crypto::SigningKey::Generate().public_key()));

  EXPECT_EQ(VerifyKeyProof(request_).code(), StatusCode::kPermissionDenied);
  EXPECT_THAT(MessageOf(VerifyKeyProof(request_)), HasSubstr("keys not proved"));
}

TEST_F(EnrolmentRequestTest, NamesTheFieldThatCannotBeRight) {
  const auto refusal = [this](auto spoil) {
    v1::EnrolmentRequest request = request_;
    spoil(request);
    const Status status = DecodeEnrolmentRequest(request.SerializeAsString()).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    return MessageOf(status);
  };
  using Request = v1::EnrolmentRequest;

  EXPECT_THAT(refusal([](Request& r) { r.set_token_id("../../etc"); }), HasSubstr("token_id"));
  EXPECT_THAT(refusal([](Request& r) { r.set_token_id("0123456789ABCDEF"); }),
              HasSubstr("token_id"));
  EXPECT_THAT(refusal([](Request& r) { r.clear_token_id(); }), HasSubstr("token_id"));
  EXPECT_THAT(refusal([](Request& r) { r.clear_csr(); }),
              HasSubstr("csr must have 1 to 16384 bytes"));
  EXPECT_THAT(refusal([](Request& r) { r.set_csr(std::string(16385, 'a')); }),
              HasSubstr("got 16385"));
  EXPECT_THAT(refusal([](Request& r) { r.set_signing_key("short"); }),
              HasSubstr("signing_key must have 32 bytes, got 5"));
  EXPECT_THAT(refusal([](Request& r) { r.set_key_proof(std::string(65, 'a')); }),
              HasSubstr("key_proof must have 64 bytes, got 65"));
  EXPECT_THAT(refusal([](Request& r) { r.clear_token_proof(); }),
              HasSubstr("token_proof must have 32 bytes, got 0"));
}

TEST_F(EnrolmentRequestTest, RefusesWhatIsNoMessage) {
  const auto message = [](std::string_view bytes) {
    return MessageOf(DecodeEnrolmentRequest(bytes).status());
  };

  EXPECT_THAT(message(""), HasSubstr("must have 1 to 65536 bytes, got 0"));
  EXPECT_THAT(message(std::string(65537, 'a')), HasSubstr("got 65537"));
  EXPECT_THAT(message("\xff\xff\xff"), HasSubstr("damaged"));
  EXPECT_THAT(message("-----BEGIN CERTIFICATE REQUEST-----"), HasSubstr("damaged"));
}

TEST_F(EnrolmentRequestTest, NoMutationProvesAnything) {
  const google::protobuf::LogSilencer silencer;
  const std::string bytes = request_.SerializeAsString();
  SeededRandom random(3);
  for (int i = 0; i < 3000; ++i) {
    std::string mutated = bytes;
    mutated[random.NextBelow(mutated.size())] = static_cast<char>(random.NextBelow(256));
    if (random.NextBelow(4) == 0) mutated.resize(random.NextBelow(mutated.size()));
    const StatusOr<v1::EnrolmentRequest> decoded = DecodeEnrolmentRequest(mutated);
    if (!decoded.ok() || decoded->SerializeAsString() == bytes) continue;
    if (decoded->token_id() != request_.token_id()) continue;  // Another token has another secret.

    const bool is_accepted =
        VerifyTokenProof(*decoded, TestToken().secret.Reveal()).ok() &&
        VerifyKeyProof(*decoded).ok() &&
        (decoded->csr() != request_.csr() || decoded->signing_key() != request_.signing_key());
    EXPECT_FALSE(is_accepted);
  }
}

TEST(EnrolmentBundleTest, RefusesWhatIsNoBundle) {
  v1::EnrolmentBundle bundle;
  bundle.set_token_id("0123456789abcdef");
  const auto message = [](std::string_view bytes) {
    const Status status = DecodeEnrolmentBundle(bytes).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    return MessageOf(status);
  };

  EXPECT_THAT(message(""), HasSubstr("got 0"));
  EXPECT_THAT(message(std::string(70'000, 'a')), HasSubstr("got 70000"));
  EXPECT_THAT(message("\xff\xff"), HasSubstr("damaged"));
  EXPECT_THAT(message(bundle.SerializeAsString()),
              HasSubstr("enrolment bundle: certificate: not a certificate"));
  bundle.set_token_id("token");
  EXPECT_THAT(message(bundle.SerializeAsString()), HasSubstr("token_id"));
}

}  // namespace
}  // namespace chorale::identity
