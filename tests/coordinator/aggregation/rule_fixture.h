#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/aggregation/server_rule.h"
#include "coordinator/payload_store.h"
#include "core/chunking.h"
#include "core/parameters.h"
#include "core/random.h"
#include "tests/support/temporary_directory.h"

namespace chorale::coordinator {

// A store, and rules applied to vectors in it.
class RuleFixture : public testing::Test {
 protected:
  template <typename Number>
  crypto::BlobId Keep(const std::vector<Number>& values) {
    const ByteSpan bytes = AsBytes(std::span<const Number>(values));
    PayloadWriter writer = *payloads_->Create(bytes.size());
    for (std::uint64_t i = 0; i < NumChunks(bytes.size()); ++i) {
      const ChunkRange range = ChunkAt(bytes.size(), i);
      EXPECT_TRUE(writer.Append(bytes.subspan(range.offset_bytes, range.size_bytes)).ok());
    }
    auto held = std::move(writer).Commit();
    EXPECT_TRUE(held.ok()) << held.status();
    const crypto::BlobId id = held->id();
    payloads_->Keep(id, held->bytes());
    return id;
  }
  std::vector<float> Load(const crypto::BlobId& id) const {
    const auto reader = payloads_->Find(id);
    EXPECT_TRUE(reader.ok()) << reader.status();
    std::vector<float> values(id.size_bytes / sizeof(float));
    EXPECT_TRUE(
        reader->ReadAt(0, {reinterpret_cast<std::uint8_t*>(values.data()), id.size_bytes}).ok());
    return values;
  }
  // Sites are called a, b, c, ...; the k-th has 10 * (k + 1) examples.
  ServerRuleRequest MakeRequest(const std::vector<float>& model,
                                const std::vector<std::vector<float>>& updates) {
    ServerRuleRequest request{.model = Keep(model),
                              .cohort_size = static_cast<std::uint32_t>(updates.size())};
    for (std::size_t k = 0; k < updates.size(); ++k) {
      std::string name = "site-";
      name += static_cast<char>('a' + k);
      request.contributions.push_back({SiteId(name), Keep(updates[k]), 10 * (k + 1)});
    }
    return request;
  }
  StatusOr<ServerRuleResult> Apply(const ServerRuleRequest& request, int num_threads = 2) {
    return ApplyServerRule(*payloads_, request, num_threads, cancelled_);
  }
  // The next model; a failure of the test when there is none.
  std::vector<float> NextModel(const ServerRuleRequest& request) {
    const auto result = Apply(request);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? Load(result->model.id()) : std::vector<float>();
  }
  std::vector<float> Draw(std::size_t size) {
    std::vector<float> values(size);
    for (float& value : values) value = static_cast<float>(random_.NextDouble() - 0.5);
    return values;
  }

  support::TemporaryDirectory directory_{support::Medium::kMemory};
  std::unique_ptr<PayloadStore> payloads_ = *PayloadStore::Open(directory_.path() / "payloads");
  std::atomic<bool> cancelled_ = false;
  SeededRandom random_{1};
};

}  // namespace chorale::coordinator
