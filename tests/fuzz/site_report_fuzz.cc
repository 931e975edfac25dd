// What a site sends to the coordinator: session messages, a report's header, pieces of its payload.
#include <cstddef>
#include <cstdint>
#include <memory>

#include "coordinator/site_messages.h"
#include "tests/support/valid_job.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace chorale;
  using namespace chorale::coordinator;
  OpenTask task{.id = TaskId("j1/1/1/north"),
                .job = JobId("j1"),
                .round = {RoundNumber(1), 1},
                .site = SiteId("north"),
                .payload_bytes = 8,
                .metrics = {},
                .num_coefficients = 2,
                .data = std::make_shared<const v1::DataSpec>(support::ValidJob().data())};
  task.metrics.emplace_back().set_kind(v1::METRIC_KIND_LOSS);
  v1::SiteMessage message;
  if (message.ParseFromArray(data, static_cast<int>(size))) (void)Decode(message);
  v1::ReportHeader header;
  if (header.ParseFromArray(data, static_cast<int>(size))) (void)DecodeReportHeader(header, task);
  const ByteSpan piece(data, size);
  (void)CheckPayloadPiece(task, 0, piece);
  for (const Phase phase :
       {Phase::kTraining, Phase::kPreparation, Phase::kNewton, Phase::kPersonalization}) {
    task.phase = phase;
    (void)CheckWholePayload(task, 10, piece);
  }
  return 0;
}
