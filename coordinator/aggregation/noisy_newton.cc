#include "coordinator/aggregation/noisy_newton.h"

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <string>

#include "core/parameters.h"

namespace chorale::coordinator {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

// Of the largest eigenvalue that the noise itself has.
constexpr double kFloorShare = 0.5;
// Of the largest eigenvalue: what is below is rounding.
constexpr double kLeastShare = 1e-10;

VectorXd ToVector(std::span<const double> numbers) {
  return Eigen::Map<const VectorXd>(numbers.data(), static_cast<Index>(numbers.size()));
}

MatrixXd ToMatrix(std::span<const double> upper, Index size) {
  MatrixXd matrix(size, size);
  auto next = upper.begin();
  for (Index i = 0; i < size; ++i) {
    for (Index j = i; j < size; ++j) matrix(i, j) = matrix(j, i) = *next++;
  }
  return matrix;
}

// The same with no eigenvalue below the floor.
StatusOr<MatrixXd> Floored(const MatrixXd& matrix, double floor) {
  const Eigen::SelfAdjointEigenSolver<MatrixXd> decomposition(matrix);
  if (decomposition.info() != Eigen::Success) {
    return FailedPrecondition("the noisy Hessian has no decomposition");
  }
  const VectorXd& eigenvalues = decomposition.eigenvalues();
  const double least = std::max(floor, kLeastShare * eigenvalues.maxCoeff());
  if (!(least > 0)) {
    return FailedPrecondition("the Hessian has no positive eigenvalue, as no sum over rows has");
  }
  const MatrixXd& vectors = decomposition.eigenvectors();
  return MatrixXd(vectors * eigenvalues.cwiseMax(least).asDiagonal() * vectors.transpose());
}

}  // namespace

StatusOr<std::vector<double>> StepNoisyNewton(const NoisyNewtonRules& rules,
                                              std::span<const double> coefficients,
                                              std::span<const double> gradient,
                                              std::span<const double> hessian) {
  const std::size_t num_coefficients = coefficients.size();
  if (num_coefficients == 0 || gradient.size() != num_coefficients ||
      hessian.size() != num_coefficients * (num_coefficients + 1) / 2) {
    return InvalidArgument("a step of " + std::to_string(num_coefficients) +
                           " coefficients takes as many numbers of a gradient and the upper "
                           "triangle of a Hessian, got " +
                           std::to_string(gradient.size()) + " and " +
                           std::to_string(hessian.size()));
  }
  if (!AllFinite(coefficients) || !AllFinite(gradient) || !AllFinite(hessian)) {
    return FailedPrecondition("the noisy sums of the sites must be finite");
  }
  const auto size = static_cast<Index>(num_coefficients);
  const double floor =
      kFloorShare * rules.hessian_deviation * std::sqrt(2 * static_cast<double>(num_coefficients));
  CHORALE_ASSIGN_OR_RETURN(MatrixXd curvature, Floored(ToMatrix(hessian, size), floor));
  VectorXd slope = ToVector(gradient);
  const Index num_penalised = size - (rules.has_intercept ? 1 : 0);
  curvature.diagonal().head(num_penalised).array() += rules.l2_penalty;
  slope.head(num_penalised) += rules.l2_penalty * ToVector(coefficients).head(num_penalised);

  VectorXd step = -rules.damping * curvature.llt().solve(slope);
  const double length = step.stableNorm();
  if (rules.max_step.has_value() && length > *rules.max_step) step *= *rules.max_step / length;
  std::vector<double> next(coefficients.begin(), coefficients.end());
  for (std::size_t i = 0; i < num_coefficients; ++i) next[i] += step(static_cast<Index>(i));
  if (!AllFinite(std::span<const double>(next))) {
    return FailedPrecondition("the noisy sums of the sites give a step that is not finite");
  }
  return next;
}

}  // namespace chorale::coordinator
