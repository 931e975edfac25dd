#include "cli/model_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>
#include <string>

#include "core/bytes.h"
#include "core/chunking.h"
#include "core/crypto/digest.h"
#include "core/parameters.h"
#include "core/random.h"
#include "core/rpc/chunks.h"
#include "models/model.h"
#include "models/safetensors.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/test_pki.h"

namespace chorale::cli {
namespace {

using testing::HasSubstr;

// A model that spans two chunks, signed as a coordinator would.
class ModelWriterTest : public testing::Test {
 protected:
  ModelWriterTest() : values_(300'000) {
    std::iota(values_.begin(), values_.end(), 0.5f);
    const auto layout =
        ParameterLayout::Create({{"linear.weight", {1000, 299}}, {"linear.bias", {1000}}});
    EXPECT_TRUE(layout.ok());
    layout_ = *layout;
    weights_ = crypto::IdentifyBlob(AsBytes(std::span<const float>(values_)));
    SignAs(v1::PARTY_ROLE_COORDINATOR, Manifest());
  }

  [[nodiscard]] nlohmann::json Manifest() const {
    return {{"job", "job-1"}, {"weights", {{"digest", ToHex(weights_.digest)}}}};
  }
  void SignAs(v1::PartyRole role, const nlohmann::json& manifest) {
    const identity::Identity signer = pki_.Load(role, "signer");
    header_.set_manifest(manifest.dump());
    const crypto::Signature signature =
        signer.signing_key().Sign("chorale/v1/manifest", AsBytes(header_.manifest()));
    header_.set_signature(ToString(signature));
    header_.set_certificate(signer.certificate().pem());
    *header_.mutable_layout() = models::ToProto(layout_);
    *header_.mutable_weights() = rpc::ToProto(weights_);
  }
  StatusOr<ModelWriter> Create() {
    const identity::Identity researcher = pki_.Load(v1::PARTY_ROLE_RESEARCHER, "alice");
    return ModelWriter::Create(out_, "job-1", header_, researcher.root(), SystemClock().WallNow());
  }
  // Sends all values, as they are now.
  Status SendAll(ModelWriter& writer) {
    Status status;
    const Status sent =
        rpc::SendBytes(AsBytes(std::span<const float>(values_)), [&](v1::Chunk&& chunk) {
          status = writer.Append(chunk);
          return status.ok();
        });
    return status.ok() ? sent : status;
  }
  std::string Read(const std::string& name) {
    std::ifstream file(out_ / name, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  [[nodiscard]] bool IsEmpty() const {
    return !std::filesystem::exists(out_) || std::filesystem::is_empty(out_);
  }

  support::TestPki pki_;
  support::TemporaryDirectory directory_;
  std::filesystem::path out_ = directory_.path() / "model";
  ParameterVector values_;
  ParameterLayout layout_;
  crypto::BlobId weights_;
  v1::PullModelHeader header_;
};

TEST_F(ModelWriterTest, WritesWeightsManifestAndSignature) {
  auto writer = Create();
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE(SendAll(*writer).ok());
  ASSERT_TRUE((*std::move(writer)).Finish().ok());

  const auto model = models::LoadSafetensors(out_ / "model.safetensors", 1 << 24);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->layout, layout_);
  EXPECT_EQ(model->values, values_);
  EXPECT_EQ(model->metadata.at("chorale.job_id"), "job-1");
  EXPECT_EQ(Read("manifest.json"), header_.manifest());
  const auto signature = nlohmann::json::parse(Read("manifest.json.sig"));
  EXPECT_EQ(signature["signature"], ToHex(AsBytes(header_.signature())));
  EXPECT_EQ(signature["certificate"], header_.certificate());
}

TEST_F(ModelWriterTest, WritesDoublesWhereTheManifestSaysSo) {
  const std::vector<double> values = {0.1, -2, 3e300, 4};
  layout_ = *ParameterLayout::Create({{"linear.weight", {1, 3}}, {"linear.bias", {1}}});
  const ByteSpan bytes = AsBytes(std::span<const double>(values));
  weights_ = crypto::IdentifyBlob(bytes);
  nlohmann::json manifest = Manifest();
  manifest["weights"]["numbers"] = "float64";
  SignAs(v1::PARTY_ROLE_COORDINATOR, manifest);
  auto writer = Create();
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE(
      rpc::SendBytes(bytes, [&](v1::Chunk&& chunk) { return writer->Append(chunk).ok(); }).ok());
  EXPECT_EQ(writer->size_bytes(), 32u);
  ASSERT_TRUE((*std::move(writer)).Finish().ok());

  const auto model = models::LoadExactSafetensors(out_ / "model.safetensors", 1 << 20);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->layout, layout_);
  EXPECT_EQ(model->values, values);
}

TEST_F(ModelWriterTest, RefusesDoublesThatTheManifestCallsFloats) {
  const std::vector<double> values = {0.1, -2, 3, 4};
  layout_ = *ParameterLayout::Create({{"linear.weight", {1, 3}}, {"linear.bias", {1}}});
  weights_ = crypto::IdentifyBlob(AsBytes(std::span<const double>(values)));
  SignAs(v1::PARTY_ROLE_COORDINATOR, Manifest());

  EXPECT_EQ(Create().status().code(), StatusCode::kDataLoss);
  EXPECT_TRUE(IsEmpty());
}

TEST_F(ModelWriterTest, RefusesAManifestThatWasChanged) {
  header_.mutable_manifest()->append(" ");

  EXPECT_EQ(Create().status().code(), StatusCode::kPermissionDenied);
  EXPECT_TRUE(IsEmpty());
}

TEST_F(ModelWriterTest, RefusesAManifestSignedByASite) {
  SignAs(v1::PARTY_ROLE_SITE, Manifest());

  const auto writer = Create();

  EXPECT_EQ(writer.status().code(), StatusCode::kPermissionDenied);
  EXPECT_THAT(MessageOf(writer.status()), HasSubstr("signed by a site"));
}

TEST_F(ModelWriterTest, RefusesACoordinatorOfAnotherFederation) {
  support::TestPki other("other");
  const identity::Identity stranger = other.Load(v1::PARTY_ROLE_COORDINATOR, "signer");
  header_.set_signature(
      ToString(stranger.signing_key().Sign("chorale/v1/manifest", AsBytes(header_.manifest()))));
  header_.set_certificate(stranger.certificate().pem());

  EXPECT_EQ(Create().status().code(), StatusCode::kUnauthenticated);
  EXPECT_TRUE(IsEmpty());
}

TEST_F(ModelWriterTest, RefusesTheManifestOfAnotherJob) {
  nlohmann::json manifest = Manifest();
  manifest["job"] = "job-2";
  SignAs(v1::PARTY_ROLE_COORDINATOR, manifest);

  EXPECT_EQ(Create().status().code(), StatusCode::kDataLoss);
}

TEST_F(ModelWriterTest, RefusesWeightsThatTheManifestDoesNotName) {
  values_[0] = 7;
  weights_ = crypto::IdentifyBlob(AsBytes(std::span<const float>(values_)));
  *header_.mutable_weights() = rpc::ToProto(weights_);

  EXPECT_EQ(Create().status().code(), StatusCode::kDataLoss);
}

TEST_F(ModelWriterTest, RefusesAManifestOfAnyOtherShape) {
  for (const char* manifest :
       {"[]", "null", "{}", "\"job-1\"", R"({"job": 7})", R"({"job": "job-1", "weights": []})"}) {
    SignAs(v1::PARTY_ROLE_COORDINATOR, nlohmann::json::parse(manifest));
    EXPECT_EQ(Create().status().code(), StatusCode::kDataLoss) << manifest;
  }
}

// The bytes are the coordinator's to choose: signed, they may be anything.
TEST_F(ModelWriterTest, SurvivesMutatedManifestsThatAreSigned) {
  const identity::Identity signer = pki_.Load(v1::PARTY_ROLE_COORDINATOR, "signer");
  const identity::Identity researcher = pki_.Load(v1::PARTY_ROLE_RESEARCHER, "alice");
  const std::string whole = Manifest().dump();
  SeededRandom random(1);
  for (int i = 0; i < 300; ++i) {
    std::string manifest = whole.substr(0, 1 + random.NextBelow(whole.size()));
    for (int k = 0; k < 3; ++k) {
      manifest[random.NextBelow(manifest.size())] = static_cast<char>(random.NextBelow(256));
    }
    header_.set_manifest(manifest);
    header_.set_signature(
        ToString(signer.signing_key().Sign("chorale/v1/manifest", AsBytes(manifest))));

    const auto writer =
        ModelWriter::Create(out_, "job-1", header_, researcher.root(), SystemClock().WallNow());

    EXPECT_TRUE(writer.ok() || writer.status().code() == StatusCode::kDataLoss) << writer.status();
  }
}

TEST_F(ModelWriterTest, RefusesALayoutThatDoesNotFitTheWeights) {
  header_.mutable_layout()->mutable_tensors(0)->set_shape(0, 999);

  EXPECT_EQ(Create().status().code(), StatusCode::kDataLoss);
}

TEST_F(ModelWriterTest, RefusesADescriptorWithAShortDigest) {
  header_.mutable_weights()->set_digest("short");

  EXPECT_EQ(Create().status().code(), StatusCode::kInvalidArgument);
}

TEST_F(ModelWriterTest, LeavesNothingBehindWhenWeightsAreSpoilt) {
  auto writer = Create();
  ASSERT_TRUE(writer.ok());
  values_.back() = 0;

  // Each chunk carries a digest of its own, so the spoilt value shows at the end alone.
  ASSERT_TRUE(SendAll(*writer).ok());
  EXPECT_EQ((*std::move(writer)).Finish().code(), StatusCode::kDataLoss);
  writer = Unavailable("gone");

  EXPECT_TRUE(IsEmpty());
}

TEST_F(ModelWriterTest, LeavesNothingBehindWhenTheEndIsMissing) {
  auto writer = Create();
  ASSERT_TRUE(writer.ok());
  v1::Chunk chunk;
  const std::string_view bytes =
      AsText(AsBytes(std::span<const float>(values_))).substr(0, kChunkBytes);
  chunk.set_data(std::string(bytes));
  chunk.set_sha256(ToString(crypto::Sha256(AsBytes(bytes))));
  ASSERT_TRUE(writer->Append(chunk).ok());

  EXPECT_EQ((*std::move(writer)).Finish().code(), StatusCode::kDataLoss);
  writer = Unavailable("gone");

  EXPECT_TRUE(IsEmpty());
}

TEST_F(ModelWriterTest, KeepsAnEarlierModelUntilTheNextIsProved) {
  std::filesystem::create_directories(out_);
  std::ofstream(out_ / "model.safetensors") << "earlier";

  { ASSERT_TRUE(Create().ok()); }

  EXPECT_EQ(Read("model.safetensors"), "earlier");
}

}  // namespace
}  // namespace chorale::cli
