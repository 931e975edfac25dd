#include "coordinator/aggregation/newton_solver.h"

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/parameters.h"

namespace chorale::coordinator {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

// Share of a loss that rounding may add to it.
constexpr double kLossSlack = 1e-12;
// Share of the loss under which a decrement is rounding.
constexpr double kDecrementFloor = 1e-18;
// A last step under this much half squared decrement is safe to take without looking.
constexpr double kSafeLastStep = 1e-6;
// Eigenvalues of the scaled Hessian, as shares of the largest.
constexpr double kRankTolerance = 1e-11;
constexpr double kNegativeTolerance = 1e-6;
// Below this, a Cholesky decomposition is not trusted to tell the rank.
constexpr double kLeastReciprocalCondition = 1e-10;
constexpr double kLeastShare = 0x1p-30;
constexpr double kRunawayDecrement = 1e-4;
constexpr double kRunawayStep = 0.1;
// Squared weight in the directions left out with which a coefficient is named.
constexpr double kCollinearWeight = 1e-3;
constexpr std::size_t kMaxNamed = 8;

// Sums with the penalty in them.
struct Point {
  double loss = 0;
  double rows = 0;
  VectorXd gradient;
  MatrixXd hessian;
  VectorXd scale;  // Of columns, without the penalty.
};

struct Direction {
  VectorXd step;
  double half_decrement = 0;
  std::vector<std::size_t> collinear;
};

std::size_t NumPenalised(const NewtonRules& rules, std::size_t num_coefficients) {
  return num_coefficients - (rules.has_intercept ? 1 : 0);
}

Eigen::Map<const VectorXd> Map(std::span<const double> values) {
  return {values.data(), static_cast<Eigen::Index>(values.size())};
}

std::vector<double> ToVector(const VectorXd& values) {
  return {values.data(), values.data() + values.size()};
}

Status CheckSizes(const NewtonRules& rules, std::span<const double> coefficients,
                  std::span<const double> sums, const NewtonState& state) {
  const std::size_t p = coefficients.size();
  if (p == 0) return InvalidArgument("Newton's method needs at least one coefficient");
  const std::size_t num_sums = 2 + p + p * (p + 1) / 2;
  if (sums.size() != num_sums) {
    return InvalidArgument("the sums of " + std::to_string(p) + " coefficients must be " +
                           std::to_string(num_sums) + " numbers, got " +
                           std::to_string(sums.size()));
  }
  const bool is_first = state.best.empty() && state.direction.empty() && state.scale.empty();
  const bool fits =
      state.best.size() == p && state.direction.size() == p && state.scale.size() == p;
  if (!is_first && !fits) {
    return InvalidArgument("the state of Newton's method must have " + std::to_string(p) +
                           " coefficients");
  }
  if (!(rules.l2_penalty >= 0) || !(rules.damping > 0 && rules.damping <= 1)) {
    return InvalidArgument("l2_penalty must be at least 0 and damping in (0, 1]");
  }
  return OkStatus();
}

Point PointOf(const NewtonRules& rules, std::span<const double> coefficients,
              std::span<const double> sums) {
  const auto p = static_cast<Eigen::Index>(coefficients.size());
  Point point{.loss = sums[0],
              .rows = sums[1],
              .gradient = Map(sums.subspan(2, coefficients.size())),
              .hessian = MatrixXd(p, p),
              .scale = VectorXd(p)};
  std::size_t next = 2 + coefficients.size();
  for (Eigen::Index i = 0; i < p; ++i) {
    for (Eigen::Index j = i; j < p; ++j) {
      point.hessian(i, j) = point.hessian(j, i) = sums[next++];
    }
    const double diagonal = point.hessian(i, i);
    point.scale(i) = diagonal > 0 ? std::sqrt(diagonal) : 1.0;
  }
  const std::size_t num_penalised = NumPenalised(rules, coefficients.size());
  for (std::size_t j = 0; j < num_penalised; ++j) {
    const auto i = static_cast<Eigen::Index>(j);
    point.loss += rules.l2_penalty / 2 * coefficients[j] * coefficients[j];
    point.gradient(i) += rules.l2_penalty * coefficients[j];
    point.hessian(i, i) += rules.l2_penalty;
  }
  return point;
}

// Solves in the directions of the scaled Hessian that carry information.
Status SolveInRange(const MatrixXd& scaled, const VectorXd& gradient, Direction& direction) {
  const Eigen::SelfAdjointEigenSolver<MatrixXd> decomposition(scaled);
  if (decomposition.info() != Eigen::Success) {
    return FailedPrecondition("the sums of the sites have a Hessian that cannot be decomposed");
  }
  const VectorXd& eigenvalues = decomposition.eigenvalues();
  const double largest = std::max(eigenvalues.maxCoeff(), 0.0);
  if (eigenvalues.minCoeff() < -kNegativeTolerance * largest ||
      (largest == 0 && eigenvalues.minCoeff() < 0)) {
    return FailedPrecondition(
        "the sums of the sites have a Hessian that no convex loss has: a site reported something "
        "else");
  }
  VectorXd weight_left_out = VectorXd::Zero(gradient.size());
  direction.step = VectorXd::Zero(gradient.size());
  for (Eigen::Index i = 0; i < eigenvalues.size(); ++i) {
    const auto vector = decomposition.eigenvectors().col(i);
    if (eigenvalues(i) > kRankTolerance * largest) {
      direction.step -= vector * (vector.dot(gradient) / eigenvalues(i));
    } else {
      weight_left_out += vector.cwiseAbs2();
    }
  }
  for (Eigen::Index i = 0; i < weight_left_out.size(); ++i) {
    if (weight_left_out(i) > kCollinearWeight) {
      direction.collinear.push_back(static_cast<std::size_t>(i));
    }
  }
  return OkStatus();
}

StatusOr<Direction> DirectionAt(const Point& point, const VectorXd& scale) {
  const VectorXd unscale = scale.cwiseInverse();
  const MatrixXd scaled = unscale.asDiagonal() * point.hessian * unscale.asDiagonal();
  const VectorXd gradient = unscale.cwiseProduct(point.gradient);
  Direction direction;
  const Eigen::LLT<MatrixXd> cholesky(scaled);
  if (cholesky.info() == Eigen::Success && cholesky.rcond() >= kLeastReciprocalCondition) {
    direction.step = -cholesky.solve(gradient);
  } else {
    CHORALE_RETURN_IF_ERROR(SolveInRange(scaled, gradient, direction));
  }
  direction.half_decrement = std::max(0.0, -gradient.dot(direction.step) / 2);
  direction.step = unscale.cwiseProduct(direction.step);
  if (!direction.step.allFinite() || !std::isfinite(direction.half_decrement)) {
    return FailedPrecondition("the sums of the sites give a step that is not finite");
  }
  return direction;
}

std::string CollinearWarning(const std::vector<std::size_t>& collinear, const NewtonRules& rules,
                             std::size_t num_coefficients) {
  if (collinear.empty()) return "";
  std::string names;
  for (std::size_t i = 0; i < std::min(collinear.size(), kMaxNamed); ++i) {
    const bool is_intercept = rules.has_intercept && collinear[i] + 1 == num_coefficients;
    names += (i > 0 ? ", " : "") +
             (is_intercept ? "the intercept" : "input " + std::to_string(collinear[i]));
  }
  if (collinear.size() > kMaxNamed) names += ", ...";
  return "columns that depend on one another or never vary (" + names +
         ", counted from 0): of all equal solutions the one of smallest norm is taken";
}

// The scaled length of a step, over the coefficients that no penalty holds.
double FreeLength(const NewtonRules& rules, std::span<const double> step,
                  std::span<const double> scale) {
  const std::size_t first_free =
      rules.l2_penalty > 0 ? NumPenalised(rules, step.size()) : std::size_t{0};
  double squares = 0;
  for (std::size_t i = first_free; i < step.size(); ++i) {
    squares += step[i] * scale[i] * step[i] * scale[i];
  }
  return std::sqrt(squares);
}

std::string Short(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.2g", value);
  return text;
}

// The step before this one raised the loss.
NewtonStep Halve(const NewtonRules& rules, const NewtonState& state) {
  NewtonStep step{.coefficients = state.best, .state = state};
  step.state.share = state.share / 2;
  if (step.state.share < rules.damping * kLeastShare) {
    step.converged = "no step along Newton's direction lowers the loss any more";
    return step;
  }
  for (std::size_t i = 0; i < step.coefficients.size(); ++i) {
    step.coefficients[i] += step.state.share * state.direction[i];
  }
  return step;
}

void AppendSentence(std::string& text, std::string_view sentence) {
  if (!text.empty()) text += "; ";
  text += sentence;
}

}  // namespace

std::vector<double> Encode(const NewtonState& state) {
  if (state.best.empty()) return {};
  std::vector<double> numbers = {state.loss, state.rows, state.share};
  for (const std::vector<double>* part : {&state.best, &state.direction, &state.scale}) {
    numbers.insert(numbers.end(), part->begin(), part->end());
  }
  return numbers;
}

StatusOr<NewtonState> DecodeNewtonState(std::span<const double> numbers,
                                        std::size_t num_coefficients) {
  if (numbers.empty()) return NewtonState{};
  constexpr std::size_t kHead = 3;
  if (numbers.size() != kHead + 3 * num_coefficients) {
    return InvalidArgument("the state of Newton's method must be " +
                           std::to_string(kHead + 3 * num_coefficients) + " numbers, got " +
                           std::to_string(numbers.size()));
  }
  const auto part = [&](std::size_t index) {
    const auto values = numbers.subspan(kHead + index * num_coefficients, num_coefficients);
    return std::vector<double>(values.begin(), values.end());
  };
  NewtonState state{.loss = numbers[0],
                    .rows = numbers[1],
                    .share = numbers[2],
                    .best = part(0),
                    .direction = part(1),
                    .scale = part(2)};
  const bool has_scale =
      std::all_of(state.scale.begin(), state.scale.end(), [](double s) { return s > 0; });
  if (!AllFinite(numbers) || !(state.share > 0 && state.share <= 1) || !has_scale) {
    return InvalidArgument("the state of Newton's method holds numbers that it cannot have");
  }
  return state;
}

StatusOr<NewtonStep> StepNewton(const NewtonRules& rules, std::span<const double> coefficients,
                                std::span<const double> sums, const NewtonState& state) {
  CHORALE_RETURN_IF_ERROR(CheckSizes(rules, coefficients, sums, state));
  if (!AllFinite(sums) || !AllFinite(coefficients)) {
    return FailedPrecondition("the sums of the sites must be finite");
  }
  const Point point = PointOf(rules, coefficients, sums);
  const bool is_first = state.best.empty();
  const bool is_comparable = !is_first && state.rows == point.rows;
  if (is_comparable && point.loss > state.loss + kLossSlack * (1 + std::abs(state.loss))) {
    return Halve(rules, state);
  }

  const VectorXd scale = is_first ? point.scale : VectorXd(Map(state.scale));
  CHORALE_ASSIGN_OR_RETURN(const Direction direction, DirectionAt(point, scale));
  NewtonStep step{.coefficients = {coefficients.begin(), coefficients.end()},
                  .state = {.loss = point.loss,
                            .rows = point.rows,
                            .share = rules.damping,
                            .best = {coefficients.begin(), coefficients.end()},
                            .direction = ToVector(direction.step),
                            .scale = ToVector(scale)},
                  .warning = CollinearWarning(direction.collinear, rules, coefficients.size()),
                  .collinear = direction.collinear};
  const auto advance = [&](double share) {
    for (std::size_t i = 0; i < coefficients.size(); ++i) {
      step.coefficients[i] += share * step.state.direction[i];
    }
  };

  const double half_decrement = direction.half_decrement;
  const double goal = std::max(rules.tolerance, kDecrementFloor * (1 + std::abs(point.loss)));
  const double length = FreeLength(rules, step.state.direction, step.state.scale);
  const bool is_running_away =
      !is_first && half_decrement <= std::max(kRunawayDecrement, goal) && length > kRunawayStep &&
      length >= (1 - rules.damping / 2) * FreeLength(rules, state.direction, state.scale);
  if (is_running_away) {
    step.converged = "the loss hardly falls any more while coefficients keep growing";
    AppendSentence(
        step.warning,
        "coefficients grow without bound, since a column or some columns together tell "
        "the outcome apart (separation): set newton.l2_penalty, or leave the column out");
  } else if (half_decrement <= goal) {
    step.converged =
        "half the squared Newton decrement is " + Short(half_decrement) + ", within " + Short(goal);
    if (half_decrement <= kSafeLastStep) advance(1);
  } else {
    advance(rules.damping);
  }
  return step;
}

}  // namespace chorale::coordinator
