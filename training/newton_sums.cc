#include "training/newton_sums.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/parameters.h"
#include "training/newton_accumulator.h"
#include "training/newton_cox.h"
#include "training/newton_terms.h"

namespace chorale::training {
namespace {

using Eigen::Index;
using Eigen::VectorXd;

// Beyond this the rate of a Poisson model is taken as constant: a step that went too far then has a
// loss that is finite, and is halved.
constexpr double kMaxLogRate = 300;

bool IsCox(NewtonKind kind) {
  return kind == NewtonKind::kCoxEfron || kind == NewtonKind::kCoxBreslow;
}

// log(1 + exp(x)) without overflow, and exact where exp(x) is small.
double SoftPlus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }

double Sigmoid(double x) {
  const double e = std::exp(-std::abs(x));
  return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

double Rate(double eta) { return std::exp(std::min(eta, kMaxLogRate)); }

// Never quotes the value: it is a patient's.
Status CheckTargets(NewtonKind kind, const std::vector<double>& targets) {
  const auto all = [&](auto&& is_fit) {
    return std::all_of(targets.begin(), targets.end(), is_fit);
  };
  switch (kind) {
    case NewtonKind::kLogistic:
      if (all([](double y) { return y == 0 || y == 1; })) return OkStatus();
      return InvalidArgument("the target of a logistic regression must be 0 or 1 in every row");
    case NewtonKind::kLinear:
      if (all([](double y) { return std::isfinite(y); })) return OkStatus();
      return InvalidArgument("the target of a linear regression must be finite in every row");
    case NewtonKind::kPoisson:
      if (all([](double y) { return std::isfinite(y) && y >= 0; })) return OkStatus();
      return InvalidArgument(
          "the target of a Poisson regression must be a count of at least 0 in every row");
    case NewtonKind::kCoxEfron:
    case NewtonKind::kCoxBreslow:
      for (std::size_t i = 0; i < targets.size(); i += 2) {
        if (!std::isfinite(targets[i]) || targets[i] < 0) {
          return InvalidArgument("the time of a Cox regression must be at least 0 in every row");
        }
        if (targets[i + 1] != 0 && targets[i + 1] != 1) {
          return InvalidArgument("the event of a Cox regression must be 0 or 1 in every row");
        }
      }
      return OkStatus();
  }
  return InvalidArgument("the kind of regression is unknown");
}

// ---------------------------------------------------------------------------- generalised linear

void AddLinearRows(NewtonKind kind, const data::ExactExamples& examples,
                   const VectorXd& coefficients, NewtonAccumulator& sums) {
  const auto num_rows = static_cast<Index>(examples.size());
  const auto num_inputs = static_cast<Index>(examples.num_inputs);
  const Eigen::Map<const RowMatrix> inputs(examples.inputs.data(), num_rows, num_inputs);
  RowMatrix block(kNewtonBlockRows, num_inputs + 1);
  VectorXd residuals(kNewtonBlockRows);
  for (Index begin = 0; begin < num_rows && !sums.is_cancelled(); begin += kNewtonBlockRows) {
    const Index size = std::min(kNewtonBlockRows, num_rows - begin);
    auto rows = block.topRows(size);
    rows.leftCols(num_inputs) = inputs.middleRows(begin, size);
    rows.rightCols(1).setOnes();
    const VectorXd eta = rows * coefficients;
    VectorXd roots(size);
    for (Index i = 0; i < size; ++i) {
      const NewtonTerm term =
          NewtonTermOf(kind, eta(i), examples.targets[static_cast<std::size_t>(begin + i)]);
      sums.AddLoss(term.loss);
      residuals(i) = term.residual;
      roots(i) = std::sqrt(term.weight);
    }
    sums.AddGradient(rows, residuals.head(size));
    rows.array().colwise() *= roots.array();
    sums.AddHessian(rows, 1);
  }
}

}  // namespace

Status CheckNewtonSizes(NewtonKind kind, const data::ExactExamples& examples,
                        std::span<const double> coefficients) {
  const std::size_t num_targets = IsCox(kind) ? 2 : 1;
  if (examples.num_targets != num_targets) {
    return InvalidArgument("the model takes " + std::to_string(num_targets) +
                           " targets an example, got " + std::to_string(examples.num_targets));
  }
  if (examples.targets.size() % num_targets != 0 ||
      examples.inputs.size() != examples.size() * examples.num_inputs) {
    return InvalidArgument(
        "the inputs do not fit the targets: " + std::to_string(examples.inputs.size()) +
        " numbers for " + std::to_string(examples.size()) + " examples of " +
        std::to_string(examples.num_inputs) + " inputs");
  }
  const std::size_t expected = NumCoefficients(kind, examples.num_inputs);
  if (coefficients.size() != expected || expected == 0 || expected > kMaxNewtonCoefficients) {
    return InvalidArgument("a model of " + std::to_string(examples.num_inputs) + " inputs has " +
                           std::to_string(expected) + " coefficients, of at most " +
                           std::to_string(kMaxNewtonCoefficients) + ", got " +
                           std::to_string(coefficients.size()));
  }
  return OkStatus();
}

NewtonTerm NewtonTermOf(NewtonKind kind, double eta, double y) {
  switch (kind) {
    case NewtonKind::kLogistic: {
      const double p = Sigmoid(eta);
      return {SoftPlus(y == 1 ? -eta : eta), y == 1 ? -Sigmoid(-eta) : p, p * Sigmoid(-eta)};
    }
    case NewtonKind::kPoisson: {
      const double rate = Rate(eta);
      return {rate - y * eta, rate - y, rate};
    }
    case NewtonKind::kLinear:
    case NewtonKind::kCoxEfron:
    case NewtonKind::kCoxBreslow:
      break;
  }
  return {(y - eta) * (y - eta) / 2, eta - y, 1};
}

std::optional<NewtonKind> NewtonKindOf(const v1::ModelSpec& model) {
  switch (model.kind_case()) {
    case v1::ModelSpec::kLogisticRegression:
      return NewtonKind::kLogistic;
    case v1::ModelSpec::kLinearRegression:
      return NewtonKind::kLinear;
    case v1::ModelSpec::kPoissonRegression:
      return NewtonKind::kPoisson;
    case v1::ModelSpec::kCox:
      return model.cox().ties() == v1::COX_TIES_BRESLOW ? NewtonKind::kCoxBreslow
                                                        : NewtonKind::kCoxEfron;
    default:
      return std::nullopt;
  }
}

std::size_t NumCoefficients(NewtonKind kind, std::size_t num_inputs) {
  return num_inputs + (IsCox(kind) ? 0 : 1);
}

std::size_t NewtonSumsSize(std::size_t num_coefficients) {
  return 2 + num_coefficients + num_coefficients * (num_coefficients + 1) / 2;
}

StatusOr<std::vector<double>> NewtonSums(NewtonKind kind, const data::ExactExamples& examples,
                                         std::span<const double> coefficients,
                                         const std::atomic<bool>* cancelled) {
  CHORALE_RETURN_IF_ERROR(CheckNewtonSizes(kind, examples, coefficients));
  CHORALE_RETURN_IF_ERROR(CheckTargets(kind, examples.targets));
  const VectorXd beta =
      Eigen::Map<const VectorXd>(coefficients.data(), static_cast<Index>(coefficients.size()));
  NewtonAccumulator sums(coefficients.size(), cancelled);
  if (IsCox(kind)) {
    AddCoxStratum(examples, beta, kind == NewtonKind::kCoxEfron, sums);
  } else {
    AddLinearRows(kind, examples, beta, sums);
  }
  if (sums.is_cancelled()) return Cancelled("Newton's sums were cancelled");
  std::vector<double> encoded = sums.Encode(examples.size());
  if (!AllFinite(std::span<const double>(encoded))) {
    return FailedPrecondition(
        "a sum over this site's rows is not finite: an input or a coefficient is too large");
  }
  return encoded;
}

std::vector<double> NewtonPredict(NewtonKind kind, const data::ExactExamples& examples,
                                  std::span<const double> coefficients) {
  std::vector<double> predictions(examples.size());
  for (std::size_t i = 0; i < predictions.size(); ++i) {
    const double* inputs = examples.inputs.data() + i * examples.num_inputs;
    double eta = IsCox(kind) ? 0 : coefficients[examples.num_inputs];
    for (std::size_t j = 0; j < examples.num_inputs; ++j) eta += coefficients[j] * inputs[j];
    switch (kind) {
      case NewtonKind::kLogistic:
        predictions[i] = Sigmoid(eta);
        break;
      case NewtonKind::kPoisson:
        predictions[i] = Rate(eta);
        break;
      case NewtonKind::kLinear:
      case NewtonKind::kCoxEfron:
      case NewtonKind::kCoxBreslow:
        predictions[i] = eta;
        break;
    }
  }
  return predictions;
}

}  // namespace chorale::training
