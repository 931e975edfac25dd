#include "coordinator/aggregation/server_optimizer.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "coordinator/aggregation/weighted_sum.h"

namespace chorale::coordinator {
namespace {

// Below this, starting threads costs more than computing.
constexpr std::int64_t kLeastParallel = 64 * 1024;

double Next(SecondMoment kind, double v, double square, double beta2) {
  switch (kind) {
    case SecondMoment::kAdam:
      return beta2 * v + (1 - beta2) * square;
    case SecondMoment::kYogi: {
      const double sign = static_cast<double>(v > square) - static_cast<double>(v < square);
      return v - (1 - beta2) * square * sign;
    }
    case SecondMoment::kAdagrad:
      return v + square;
  }
  return v;
}

// The kind is known when this is compiled, so that the loop has no branches.
template <SecondMoment kKind>
void StepAll(const Adaptive& rule, const OptimizerPiece& piece, int num_threads) {
  const auto size = static_cast<std::int64_t>(piece.model.size());
  const bool is_first = piece.m.empty();
  const double tau = rule.tau;
  const double learning_rate = rule.learning_rate;
  const double beta1 = rule.beta1;
  const double beta2 = rule.beta2;
#pragma omp parallel for simd schedule(static) num_threads(num_threads) if (size >= kLeastParallel)
  for (std::int64_t index = 0; index < size; ++index) {
    const auto i = static_cast<std::size_t>(index);
    const double update = piece.mean_update[i];
    const double old_m = is_first ? 0.0 : static_cast<double>(piece.m[i]);
    const double old_v = is_first ? tau * tau : static_cast<double>(piece.v[i]);
    const double m = beta1 * old_m + (1 - beta1) * update;
    const double v = Next(kKind, old_v, update * update, beta2);
    piece.next_m[i] = static_cast<float>(m);
    piece.next_v[i] = static_cast<float>(v);
    piece.next_model[i] = static_cast<float>(static_cast<double>(piece.model[i]) +
                                             learning_rate * m / (std::sqrt(v) + tau));
  }
}

// Everything one piece needs besides what was read.
struct Buffers {
  std::vector<double> mean_update;
  std::vector<float> model;
  std::vector<float> m;
  std::vector<float> v;
  void Resize(std::size_t size) {
    mean_update.resize(size);
    for (std::vector<float>* values : {&model, &m, &v}) values->resize(size);
  }
};

using Write = std::function<Status(const Buffers&)>;

// Steps through all coordinates and hands every piece to `write`.
Status StepAllPieces(const RuleRun& run, std::span<const double> weights, std::uint64_t num_moments,
                     const std::function<void(const OptimizerPiece&)>& step, const Write& write) {
  Sections sections(run);
  CHORALE_RETURN_IF_ERROR(sections.AddModel());
  CHORALE_RETURN_IF_ERROR(sections.AddUpdates());
  for (std::uint64_t index = 0; index < num_moments; ++index) {
    CHORALE_RETURN_IF_ERROR(sections.AddState(index));
  }
  const std::size_t num_updates = weights.size();
  Buffers buffers;
  return ForEachPiece(run, sections, [&](const PieceValues& values) {
    buffers.Resize(values.front().size());
    const auto updates = std::span(values).subspan(1, num_updates);
    WeightedSum(updates, weights, std::span<double>(buffers.mean_update), run.num_threads);
    const auto moments = std::span(values).subspan(1 + num_updates);
    step({.model = values.front(),
          .mean_update = buffers.mean_update,
          .m = moments.empty() ? std::span<const float>() : moments[0],
          .v = moments.size() < 2 ? std::span<const float>() : moments[1],
          .next_model = buffers.model,
          .next_m = buffers.m,
          .next_v = buffers.v});
    return write(buffers);
  });
}

}  // namespace

void StepMomentum(const Momentum& rule, const OptimizerPiece& piece, int num_threads) {
  const auto size = static_cast<std::int64_t>(piece.model.size());
  const bool is_first = piece.m.empty();
  const double momentum = rule.momentum;
  const double learning_rate = rule.learning_rate;
#pragma omp parallel for simd schedule(static) num_threads(num_threads) if (size >= kLeastParallel)
  for (std::int64_t index = 0; index < size; ++index) {
    const auto i = static_cast<std::size_t>(index);
    const double old_m = is_first ? 0.0 : static_cast<double>(piece.m[i]);
    const double m = momentum * old_m + piece.mean_update[i];
    piece.next_m[i] = static_cast<float>(m);
    piece.next_model[i] =
        static_cast<float>(static_cast<double>(piece.model[i]) + learning_rate * m);
  }
}

void StepAdaptive(const Adaptive& rule, const OptimizerPiece& piece, int num_threads) {
  switch (rule.second_moment) {
    case SecondMoment::kAdam:
      return StepAll<SecondMoment::kAdam>(rule, piece, num_threads);
    case SecondMoment::kYogi:
      return StepAll<SecondMoment::kYogi>(rule, piece, num_threads);
    case SecondMoment::kAdagrad:
      return StepAll<SecondMoment::kAdagrad>(rule, piece, num_threads);
  }
}

StatusOr<ServerRuleResult> ApplyMomentum(const RuleRun& run, const v1::FedAvgM& spec) {
  CHORALE_ASSIGN_OR_RETURN(const std::vector<double> weights,
                           ContributionWeights(run.request.contributions, spec.weighting()));
  const std::uint64_t size_bytes = run.request.model.size_bytes;
  CHORALE_ASSIGN_OR_RETURN(ValueWriter model, ValueWriter::Create(run.payloads, size_bytes));
  CHORALE_ASSIGN_OR_RETURN(ValueWriter state, ValueWriter::Create(run.payloads, size_bytes));
  const Momentum rule{.learning_rate = spec.learning_rate(), .momentum = spec.momentum()};
  const auto step = [&](const OptimizerPiece& piece) {
    StepMomentum(rule, piece, run.num_threads);
  };
  const auto write = [&](const Buffers& piece) {
    CHORALE_RETURN_IF_ERROR(model.Append(piece.model));
    return state.Append(piece.m);
  };
  CHORALE_RETURN_IF_ERROR(StepAllPieces(run, weights, 1, step, write));
  CHORALE_ASSIGN_OR_RETURN(HeldPayload next_model, std::move(model).Commit());
  CHORALE_ASSIGN_OR_RETURN(HeldPayload next_state, std::move(state).Commit());
  return ServerRuleResult{std::move(next_model), std::move(next_state)};
}

StatusOr<ServerRuleResult> ApplyAdaptive(const RuleRun& run, SecondMoment moment,
                                         const v1::FedAdaptive& spec) {
  CHORALE_ASSIGN_OR_RETURN(const std::vector<double> weights,
                           ContributionWeights(run.request.contributions, spec.weighting()));
  const std::uint64_t size_bytes = run.request.model.size_bytes;
  CHORALE_ASSIGN_OR_RETURN(ValueWriter model, ValueWriter::Create(run.payloads, size_bytes));
  CHORALE_ASSIGN_OR_RETURN(ValueWriter state, ValueWriter::Create(run.payloads, 2 * size_bytes));
  // The state is m as a whole and then v as a whole: v waits in a payload of its own.
  CHORALE_ASSIGN_OR_RETURN(ValueWriter waiting_v, ValueWriter::Create(run.payloads, size_bytes));
  const Adaptive rule{.second_moment = moment,
                      .learning_rate = spec.learning_rate(),
                      .beta1 = spec.beta1(),
                      .beta2 = spec.beta2(),
                      .tau = spec.tau()};
  const auto step = [&](const OptimizerPiece& piece) {
    StepAdaptive(rule, piece, run.num_threads);
  };
  const auto write = [&](const Buffers& piece) {
    CHORALE_RETURN_IF_ERROR(model.Append(piece.model));
    CHORALE_RETURN_IF_ERROR(state.Append(piece.m));
    return waiting_v.Append(piece.v);
  };
  CHORALE_RETURN_IF_ERROR(StepAllPieces(run, weights, 2, step, write));
  CHORALE_ASSIGN_OR_RETURN(HeldPayload next_model, std::move(model).Commit());
  CHORALE_ASSIGN_OR_RETURN(const HeldPayload v, std::move(waiting_v).Commit());
  Sections v_section(run);
  CHORALE_RETURN_IF_ERROR(v_section.Add(v.id()));
  CHORALE_RETURN_IF_ERROR(ForEachPiece(
      run, v_section, [&](const PieceValues& values) { return state.Append(values.front()); }));
  CHORALE_ASSIGN_OR_RETURN(HeldPayload next_state, std::move(state).Commit());
  return ServerRuleResult{std::move(next_model), std::move(next_state)};
}

}  // namespace chorale::coordinator
