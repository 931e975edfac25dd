#include "tests/coordinator/coordinator_fixture.h"

namespace chorale::coordinator {
namespace {

class CoordinatorUploadsTest : public CoordinatorTest {
 protected:
  std::uint64_t Received(const crypto::BlobId& id) {
    grpc::ClientContext context;
    v1::FindUploadRequest request;
    *request.mutable_weights() = rpc::ToProto(id);
    v1::FindUploadResponse response;
    EXPECT_TRUE(researcher_->FindUpload(&context, request, &response).ok());
    return response.received_bytes();
  }
};

TEST_F(CoordinatorUploadsTest, StartsAJobFromUploadedWeights) {
  const std::vector<float> weights = {1, 2, 3, 4};
  WireSite north = Site("north");
  WireSite south = Site("south");
  ASSERT_TRUE(north.Connect().ok());
  ASSERT_TRUE(south.Connect().ok());
  std::string id;
  EXPECT_EQ(Submit(Request(SpecFrom(weights)), id).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);

  ASSERT_TRUE(Upload(weights).ok());
  MustSubmit(SpecFrom(weights));
  const v1::Task task = *north.NextTask();
  Bytes model;
  ASSERT_TRUE(north.Fetch(task.task_id(), task.training().global_model(), model).ok());

  EXPECT_EQ(*ParametersFromBytes(model), weights);
}

TEST_F(CoordinatorUploadsTest, TakesLargeUploadsAndForgetsThemWithTheProcess) {
  const std::vector<float> weights(kChunkBytes / 2, 1.5f);  // Two chunks.
  ASSERT_TRUE(Upload(weights).ok());
  const std::filesystem::path payloads = directory_.path() / "state" / "payloads";
  const std::string name =
      ToHex(crypto::IdentifyBlob(AsBytes(std::span<const float>(weights))).digest);
  EXPECT_TRUE(std::filesystem::exists(payloads / name));

  coordinator_.reset();

  EXPECT_FALSE(std::filesystem::exists(payloads / name));
}

TEST_F(CoordinatorUploadsTest, RefusesUploadsThatAreNotWhatTheySay) {
  const std::vector<float> weights = {1, 2, 3, 4};
  const ByteSpan bytes = AsBytes(std::span<const float>(weights));
  const crypto::BlobId id = crypto::IdentifyBlob(bytes);
  crypto::BlobId other = id;
  other.digest[0] ^= 1;

  EXPECT_EQ(Upload(other, bytes).error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(Upload(id, {}).error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(Upload(id, bytes.first(8)).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Upload({.size_bytes = 15, .digest = id.digest}, bytes).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Upload({.size_bytes = 0, .digest = id.digest}, {}).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Upload({.size_bytes = 65ull << 30, .digest = id.digest}, bytes).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Upload({1, std::numeric_limits<float>::quiet_NaN()}).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  std::string job;
  EXPECT_EQ(Submit(Request(SpecFrom(weights)), job).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(CoordinatorUploadsTest, RefusesUploadsOfAnotherForm) {
  v1::UploadModelRequest header;
  *header.mutable_header() = rpc::ToProto({.size_bytes = 8, .digest = {1}});
  v1::UploadModelRequest chunk;
  chunk.mutable_chunk()->set_data("12345678");
  v1::UploadModelRequest short_digest;
  short_digest.mutable_header()->set_digest("short");
  short_digest.mutable_header()->set_size_bytes(8);
  const std::vector<std::vector<v1::UploadModelRequest>> uploads = {
      {}, {chunk}, {header, header}, {short_digest}, {v1::UploadModelRequest()}};
  for (const std::vector<v1::UploadModelRequest>& upload : uploads) {
    grpc::ClientContext context;
    v1::UploadModelResponse response;
    const auto writer = researcher_->UploadModel(&context, &response);
    for (const v1::UploadModelRequest& request : upload) writer->Write(request);
    writer->WritesDone();

    EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
}

TEST_F(CoordinatorUploadsTest, GoesOnWithAnUploadThatBroke) {
  std::vector<float> weights(kChunkBytes / 2, 1.5f);  // Two chunks.
  weights.back() = 2;
  const ByteSpan bytes = AsBytes(std::span<const float>(weights));
  const crypto::BlobId id = crypto::IdentifyBlob(bytes);
  EXPECT_EQ(Received(id), 0u);
  EXPECT_EQ(Upload(id, bytes.first(kChunkBytes)).error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(Received(id), kChunkBytes);

  EXPECT_EQ(Upload(id, bytes, 2 * kChunkBytes).error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(Received(id), kChunkBytes);
  EXPECT_TRUE(Upload(id, bytes, kChunkBytes).ok());

  EXPECT_EQ(Received(id), id.size_bytes);
}

TEST_F(CoordinatorUploadsTest, BeginsAnewWhereTheBeginningIsGone) {
  const std::vector<float> weights(kChunkBytes / 2, 1.5f);
  const ByteSpan bytes = AsBytes(std::span<const float>(weights));
  const crypto::BlobId id = crypto::IdentifyBlob(bytes);

  EXPECT_EQ(Upload(id, bytes, kChunkBytes).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(Upload(weights).ok());
}

TEST_F(CoordinatorUploadsTest, TakesUploadsOfResearchersOnly) {
  const identity::Identity north = Load(v1::PARTY_ROLE_SITE, "north");
  researcher_ = v1::Jobs::NewStub(*rpc::MakeChannel(
      {.address = address_, .proxy = "none", .keepalive_interval = {}}, support::TlsOf(north)));

  EXPECT_EQ(Upload({1, 2, 3, 4}).error_code(), grpc::StatusCode::PERMISSION_DENIED);
}

}  // namespace
}  // namespace chorale::coordinator
