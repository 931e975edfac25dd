#include "coordinator/worker.h"

#include <algorithm>
#include <new>
#include <span>
#include <string>
#include <utility>

#include "coordinator/aggregation/compensated_sums.h"
#include "coordinator/aggregation/newton_sums.h"
#include "coordinator/aggregation/preparation_sums.h"
#include "coordinator/metric_sums.h"
#include "coordinator/unmasking.h"
#include "core/bytes.h"
#include "core/chunking.h"
#include "core/parameters.h"
#include "data/preparation.h"
#include "jobs/private_preparation.h"
#include "models/model.h"
#include "secagg/mask_terms.h"

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
                             Write(payloads, AsBytes(std::span<const double>(zeros)), &cancelled));
    return WorkProduct(NextModel{std::move(model)});
  }
  const ParameterVector parameters = models::InitialParameters(plan, work.seed);
  CHORALE_ASSIGN_OR_RETURN(
      HeldPayload model, Write(payloads, AsBytes(std::span<const float>(parameters)), &cancelled));
  return WorkProduct(NextModel{std::move(model)});
}

StatusOr<WorkProduct> Do(PayloadStore& payloads, const ServerRuleWork& work, int num_threads,
                         const std::atomic<bool>& cancelled) {
  CHORALE_ASSIGN_OR_RETURN(ServerRuleResult result,
                           ApplyServerRule(payloads, work.request, num_threads, cancelled));
  return WorkProduct(NextModel{std::move(result.model), std::move(result.state)});
}

// Numbers in the sum that a preparation takes.
std::uint64_t NumSums(const v1::JobSpec& job) {
  return jobs::HasPrivatePreparation(job) ? jobs::PreparationSumOf(job).num_values
                                          : data::PreparationSize(job.data());
}

StatusOr<WorkProduct> Do(PayloadStore& payloads, const PreparationWork& work, int,
                         const std::atomic<bool>&) {
  CHORALE_ASSIGN_OR_RETURN(const std::vector<double> sums,
                           SumPreparation(payloads, work.contributions, NumSums(work.job)));
  jobs::NoisyMoments found;
  if (jobs::HasPrivatePreparation(work.job)) {
    found = jobs::NoisyMomentsOf(work.job, sums);
  } else {
    found.statistics = data::StatisticsOf(sums, work.job.data());
    found.moments = data::PreparationOf(found.statistics, work.job.data());
  }
  Preparation preparation;
  for (const data::ColumnStatistics& column : found.statistics) {
    preparation.statistics.push_back(ToProto(column));
  }
  for (const data::Moments& moments : found.moments) {
    preparation.moments.push_back(ToProto(moments));
  }
  return WorkProduct(std::move(preparation));
}

StatusOr<WorkProduct> StepFrom(PayloadStore& payloads, const NoisyNewton& noisy,
                               const NewtonWork& work, const std::atomic<bool>& cancelled) {
  CHORALE_ASSIGN_OR_RETURN(const std::vector<double> coefficients,
                           ReadDoubles(payloads, work.coefficients));
  CHORALE_ASSIGN_OR_RETURN(
      const std::vector<double> sums,
      AddPayloads(payloads, work.contributions, training::NewtonVectorSize(coefficients.size()),
                  "the noisy Newton sums"));
  const training::NewtonEstimate estimate =
      training::NewtonEstimateOf(noisy.bounds, sums, coefficients.size());
  CHORALE_ASSIGN_OR_RETURN(
      const std::vector<double> next,
      StepNoisyNewton(noisy.rules, coefficients, estimate.gradient, estimate.hessian));
  CHORALE_ASSIGN_OR_RETURN(HeldPayload model,
                           Write(payloads, AsBytes(std::span<const double>(next)), &cancelled));
  return WorkProduct(NextModel{std::move(model)});
}

StatusOr<WorkProduct> StepFrom(PayloadStore& payloads, const NewtonRules& rules,
                               const NewtonWork& work, const std::atomic<bool>& cancelled) {
  CHORALE_ASSIGN_OR_RETURN(const std::vector<double> coefficients,
                           ReadDoubles(payloads, work.coefficients));
  NewtonState state;
  std::uint64_t num_examples = 0;
  for (const Contribution& contribution : work.contributions) {
    num_examples += contribution.num_examples;
  }
  if (work.state.has_value() && num_examples == work.num_examples_of_state) {
    CHORALE_ASSIGN_OR_RETURN(const std::vector<double> numbers, ReadDoubles(payloads, *work.state));
    CHORALE_ASSIGN_OR_RETURN(state, DecodeNewtonState(numbers, coefficients.size()));
  }
  CHORALE_ASSIGN_OR_RETURN(const std::vector<double> sums,
                           SumNewton(payloads, work.contributions, coefficients.size()));
  CHORALE_ASSIGN_OR_RETURN(NewtonStep step, StepNewton(rules, coefficients, sums, state));
  CHORALE_ASSIGN_OR_RETURN(
      HeldPayload model,
      Write(payloads, AsBytes(std::span<const double>(step.coefficients)), &cancelled));
  const std::vector<double> next_state = Encode(step.state);
  CHORALE_ASSIGN_OR_RETURN(
      HeldPayload held_state,
      Write(payloads, AsBytes(std::span<const double>(next_state)), &cancelled));
  return WorkProduct(NextModel{std::move(model), std::move(held_state), std::move(step.converged),
                               std::move(step.warning)});
}

StatusOr<WorkProduct> Do(PayloadStore& payloads, const NewtonWork& work, int,
                         const std::atomic<bool>& cancelled) {
  return std::visit([&](const auto& method) { return StepFrom(payloads, method, work, cancelled); },
                    work.method);
}

StatusOr<WorkProduct> Do(PayloadStore& payloads, const MetricsWork& work, int,
                         const std::atomic<bool>&) {
  CHORALE_ASSIGN_OR_RETURN(RoundMetrics metrics,
                           AverageMetrics(payloads, work.contributions, work.metrics));
  return WorkProduct(std::move(metrics));
}

// ---------------------------------------------------------------------------- secure aggregation

StatusOr<Bytes> ReadAll(const PayloadStore& payloads, const crypto::BlobId& id) {
  CHORALE_ASSIGN_OR_RETURN(const PayloadReader reader, payloads.Find(id));
  Bytes bytes(id.size_bytes);
  CHORALE_RETURN_IF_ERROR(reader.ReadAt(0, bytes));
  return bytes;
}

StatusOr<StepResult> CloseStep(PayloadStore& payloads, const ExchangeWork& work) {
  std::vector<ExchangeAnswer> answers;
  for (const ExchangeInput& input : work.inputs) {
    ExchangeAnswer& answer =
        answers.emplace_back(ExchangeAnswer{.site = input.site, .message = {}});
    if (work.step == RoundStep::kReport) {
      const ByteSpan message = AsBytes(input.masked_input);
      answer.message.assign(message.begin(), message.end());
      answer.vector = input.payload.digest;
    } else {
      CHORALE_ASSIGN_OR_RETURN(answer.message, ReadAll(payloads, input.payload));
    }
  }
  return work.exchange->CloseStep(work.step, std::move(answers), work.wall_now);
}

Blamed TextOf(const std::vector<std::pair<SiteId, Status>>& blamed) {
  Blamed texts;
  for (const auto& [site, why] : blamed) texts.emplace_back(site, MessageOf(why));
  return texts;
}

StatusOr<WorkProduct> Do(PayloadStore& payloads, const ExchangeWork& work, int,
                         const std::atomic<bool>& cancelled) {
  CHORALE_ASSIGN_OR_RETURN(StepResult result, CloseStep(payloads, work));
  auto messages = std::make_shared<StepMessages>();
  if (work.step == RoundStep::kAcknowledgeShares) {
    RoundOpening opening = work.opening;
    opening.sites = result.sites;
    CHORALE_ASSIGN_OR_RETURN(const Bytes start, work.exchange->StartRound(opening, work.wall_now));
    messages->round_start = ToString(start);
  }
  for (const auto& [site, message] : result.messages) {
    CHORALE_ASSIGN_OR_RETURN(HeldPayload held, Write(payloads, message, &cancelled));
    messages->blobs.emplace(site, held.id());
    messages->held.push_back(std::move(held));
  }
  return WorkProduct(StepOutcome{std::move(result.sites), std::move(messages),
                                 TextOf(result.blamed), work.wall_now});
}

// Sums that sites could have, as each would be checked by itself.
Status CheckSums(const jobs::SummedNumbers& numbers, const PreparationWork& work) {
  if (jobs::HasPrivatePreparation(work.job)) return OkStatus();  // Noise may make any numbers.
  return data::CheckPreparation(numbers.sums, work.job.data(), numbers.num_examples);
}
Status CheckSums(const jobs::SummedNumbers& numbers, const NewtonWork& work) {
  if (std::holds_alternative<NoisyNewton>(work.method)) return OkStatus();
  return CheckNewtonSums(AsBytes(std::span<const double>(numbers.sums)),
                         work.coefficients.size_bytes / sizeof(double), numbers.num_examples);
}
Status CheckSums(const jobs::SummedNumbers& numbers, const MetricsWork& work) {
  return CheckMetricSums(AsBytes(std::span<const double>(numbers.sums)), work.metrics);
}

std::vector<Contribution>& ContributionsOf(ServerRuleWork& work) {
  return work.request.contributions;
}
template <typename Work>
std::vector<Contribution>& ContributionsOf(Work& work) {
  return work.contributions;
}

StatusOr<WorkProduct> Do(PayloadStore& payloads, const UnmaskWork& work, int num_threads,
                         const std::atomic<bool>& cancelled) {
  CHORALE_ASSIGN_OR_RETURN(StepResult step, CloseStep(payloads, work.exchange));
  if (!step.unmasking.has_value()) return Internal("the last step took no masks off");
  const std::vector<secagg::MaskTerm> terms = secagg::Borrow(step.unmasking->terms);
  CHORALE_ASSIGN_OR_RETURN(UnmaskedSum sum, UnmaskSum(payloads, work.layout, work.vectors, terms,
                                                      num_threads, cancelled));
  CHORALE_RETURN_IF_ERROR(
      work.exchange.exchange->Reveal(sum.digest, work.exchange.wall_now).status());

  // From here on the sum is one report, whoever made it.
  StatusOr<WorkProduct> product = std::visit(
      [&](auto next) -> StatusOr<WorkProduct> {
        if constexpr (!std::is_same_v<decltype(next), ServerRuleWork>) {
          CHORALE_RETURN_IF_ERROR(
              Annotate(CheckSums(sum.numbers, next), "the sum over sites is no sum over rows"));
          CHORALE_ASSIGN_OR_RETURN(
              sum.updates,
              Write(payloads, AsBytes(std::span<const double>(sum.numbers.sums)), &cancelled));
        }
        ContributionsOf(next) = {
            {.site = {}, .payload = sum.updates->id(), .num_examples = sum.numbers.num_examples}};
        return Do(payloads, next, num_threads, cancelled);
      },
      work.next);
  if (!product.ok()) return product;
  Unmasked unmasked{.result = {},
                    .sums = {.num_examples = sum.numbers.num_examples,
                             .metrics = std::move(sum.numbers.metrics),
                             .session = work.exchange.exchange->id(),
                             .next_clipping_norm = sum.numbers.next_clipping_norm},
                    .blamed = TextOf(step.blamed)};
  if (auto* model = std::get_if<NextModel>(&*product)) {
    unmasked.result = std::move(*model);
  } else if (auto* preparation = std::get_if<Preparation>(&*product)) {
    unmasked.result = std::move(*preparation);
  } else {
    unmasked.result = std::get<RoundMetrics>(*std::move(product));
  }
  return WorkProduct(std::move(unmasked));
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
