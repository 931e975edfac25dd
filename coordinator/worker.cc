#include "coordinator/worker.h"

#include <algorithm>
#include <new>
#include <span>
#include <string>
#include <utility>

#include "coordinator/aggregation/newton_sums.h"
#include "coordinator/aggregation/preparation_sums.h"
#include "coordinator/metric_sums.h"
#include "core/bytes.h"
#include "core/chunking.h"
#include "core/parameters.h"
#include "data/preparation.h"
#include "models/model.h"

namespace chorale::coordinator {
namespace {

v1::FeatureMoments ToProto(const data::Moments& moments) {
  v1::FeatureMoments out;
  out.set_mean(moments.mean);
  out.set_standard_deviation(moments.standard_deviation);
  out.set_imputed(moments.imputed);
  return out;
}

v1::ColumnStatistics ToProto(const data::ColumnStatistics& column) {
  v1::ColumnStatistics out;
  out.set_column(column.column);
  out.set_count(static_cast<std::uint64_t>(column.count));
  out.set_missing(static_cast<std::uint64_t>(column.missing));
  if (column.levels.empty()) {
    out.set_mean(column.moments.mean);
    out.set_standard_deviation(column.moments.standard_deviation);
  }
  out.mutable_quantiles()->Assign(column.quantiles.begin(), column.quantiles.end());
  for (const data::LevelCount& level : column.levels) {
    out.add_level_counts(static_cast<std::uint64_t>(level.count));
  }
  return out;
}

StatusOr<HeldPayload> Write(PayloadStore& payloads, ByteSpan bytes,
                            const std::atomic<bool>& cancelled) {
  CHORALE_ASSIGN_OR_RETURN(PayloadWriter writer, payloads.Create(bytes.size()));
  for (std::uint64_t i = 0; i < NumChunks(bytes.size()); ++i) {
    if (cancelled) return Cancelled("writing a payload was interrupted");
    const ChunkRange range = ChunkAt(bytes.size(), i);
    CHORALE_RETURN_IF_ERROR(writer.Append(bytes.subspan(range.offset_bytes, range.size_bytes)));
  }
  return std::move(writer).Commit();
}

StatusOr<std::vector<double>> ReadDoubles(const PayloadStore& payloads, const crypto::BlobId& id) {
  CHORALE_ASSIGN_OR_RETURN(const PayloadReader reader, payloads.Find(id));
  Bytes bytes(id.size_bytes);
  CHORALE_RETURN_IF_ERROR(reader.ReadAt(0, bytes));
  return DoublesFromBytes(bytes);
}

StatusOr<WorkProduct> Do(PayloadStore& payloads, const MakeModelWork& work, int,
                         const std::atomic<bool>& cancelled) {
  if (work.uploaded.has_value()) {
    CHORALE_ASSIGN_OR_RETURN(HeldPayload model, payloads.HoldKept(*work.uploaded));
    return WorkProduct(NextModel{std::move(model)});
  }
  CHORALE_ASSIGN_OR_RETURN(const models::GraphPlan plan,
                           models::PlanOf(work.model, work.num_inputs));
  if (work.uses_newton) {
    const std::vector<double> zeros(plan.layout().num_parameters(), 0.0);
    CHORALE_ASSIGN_OR_RETURN(HeldPayload model,
                             Write(payloads, AsBytes(std::span<const double>(zeros)), cancelled));
    return WorkProduct(NextModel{std::move(model)});
  }
  const ParameterVector parameters = models::InitialParameters(plan, work.seed);
  CHORALE_ASSIGN_OR_RETURN(HeldPayload model,
                           Write(payloads, AsBytes(std::span<const float>(parameters)), cancelled));
  return WorkProduct(NextModel{std::move(model)});
}

StatusOr<WorkProduct> Do(PayloadStore& payloads, const ServerRuleWork& work, int num_threads,
                         const std::atomic<bool>& cancelled) {
  CHORALE_ASSIGN_OR_RETURN(ServerRuleResult result,
                           ApplyServerRule(payloads, work.request, num_threads, cancelled));
  return WorkProduct(NextModel{std::move(result.model), std::move(result.state)});
}

StatusOr<WorkProduct> Do(PayloadStore& payloads, const PreparationWork& work, int,
                         const std::atomic<bool>&) {
  CHORALE_ASSIGN_OR_RETURN(
      const std::vector<double> sums,
      SumPreparation(payloads, work.contributions, data::PreparationSize(work.data)));
  const std::vector<data::ColumnStatistics> statistics = data::StatisticsOf(sums, work.data);
  Preparation preparation;
  for (const data::ColumnStatistics& column : statistics) {
    preparation.statistics.push_back(ToProto(column));
  }
  for (const data::Moments& moments : data::PreparationOf(statistics, work.data)) {
    preparation.moments.push_back(ToProto(moments));
  }
  return WorkProduct(std::move(preparation));
}

StatusOr<WorkProduct> Do(PayloadStore& payloads, const NewtonWork& work, int,
                         const std::atomic<bool>& cancelled) {
  CHORALE_ASSIGN_OR_RETURN(const std::vector<double> coefficients,
                           ReadDoubles(payloads, work.coefficients));
  NewtonState state;
  if (work.state.has_value()) {
    CHORALE_ASSIGN_OR_RETURN(const std::vector<double> numbers, ReadDoubles(payloads, *work.state));
    CHORALE_ASSIGN_OR_RETURN(state, DecodeNewtonState(numbers, coefficients.size()));
  }
  CHORALE_ASSIGN_OR_RETURN(const std::vector<double> sums,
                           SumNewton(payloads, work.contributions, coefficients.size()));
  CHORALE_ASSIGN_OR_RETURN(NewtonStep step, StepNewton(work.rules, coefficients, sums, state));
  CHORALE_ASSIGN_OR_RETURN(
      HeldPayload model,
      Write(payloads, AsBytes(std::span<const double>(step.coefficients)), cancelled));
  const std::vector<double> next_state = Encode(step.state);
  CHORALE_ASSIGN_OR_RETURN(
      HeldPayload held_state,
      Write(payloads, AsBytes(std::span<const double>(next_state)), cancelled));
  return WorkProduct(NextModel{std::move(model), std::move(held_state), std::move(step.converged),
                               std::move(step.warning)});
}

StatusOr<WorkProduct> Do(PayloadStore& payloads, const MetricsWork& work, int,
                         const std::atomic<bool>&) {
  CHORALE_ASSIGN_OR_RETURN(RoundMetrics metrics,
                           AverageMetrics(payloads, work.contributions, work.metrics));
  return WorkProduct(std::move(metrics));
}

}  // namespace

StatusOr<WorkProduct> DoWork(PayloadStore& payloads, const Work& work, int num_threads,
                             const std::atomic<bool>& cancelled) {
  try {
    return std::visit([&](const auto& task) { return Do(payloads, task, num_threads, cancelled); },
                      work.task);
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("the coordinator has not enough memory for this model");
  }
}

Worker::Worker(PayloadStore& payloads, int num_threads, std::function<void(WorkDone)> done)
    : payloads_(payloads),
      num_threads_(num_threads),
      done_(std::move(done)),
      thread_([this] { Run(); }) {}

Worker::~Worker() { Stop(); }

void Worker::Start(Work work) {
  {
    const std::scoped_lock lock(mutex_);
    queue_.push_back(std::move(work));
  }
  has_work_.notify_one();
}

void Worker::Stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
  }
  has_work_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Worker::Run() {
  while (true) {
    std::unique_lock lock(mutex_);
    has_work_.wait(lock, [this] { return stopped_ || !queue_.empty(); });
    if (stopped_) return;
    const Work work = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    StatusOr<WorkProduct> product = DoWork(payloads_, work, num_threads_, stopped_);
    done_({work.job, std::move(product)});
  }
}

}  // namespace chorale::coordinator
