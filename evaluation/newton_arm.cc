#include "evaluation/newton_arm.h"

#include <Eigen/Dense>
#include <cmath>
#include <utility>

#include "jobs/job_spec.h"

namespace chorale::evaluation {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr std::uint32_t kMaxSteps = 200;
constexpr int kMaxHalvings = 40;
constexpr double kRangeTolerance = 1e-12;  // Of the largest eigenvalue.

// The penalised loss at a point, with its derivatives.
struct Place {
  VectorXd coefficients;
  double loss = 0;
  VectorXd gradient;
  MatrixXd hessian;
};

class Problem {
 public:
  Problem(training::NewtonKind kind, const data::ExactExamples& rows, double l2_penalty)
      : kind_(kind), rows_(rows), penalty_(VectorXd::Zero(size())) {
    // The intercept, last where there is one, is not penalised.
    penalty_.head(static_cast<Index>(rows.num_inputs)).setConstant(l2_penalty);
  }

  [[nodiscard]] Index size() const {
    return static_cast<Index>(training::NumCoefficients(kind_, rows_.num_inputs));
  }

  [[nodiscard]] StatusOr<Place> At(VectorXd coefficients) const {
    CHORALE_ASSIGN_OR_RETURN(
        const std::vector<double> sums,
        training::NewtonSums(
            kind_, rows_,
            std::span(coefficients.data(), static_cast<std::size_t>(coefficients.size()))));
    Place place{.coefficients = std::move(coefficients),
                .loss = sums[0],
                .gradient = Eigen::Map<const VectorXd>(sums.data() + 2, size()),
                .hessian = MatrixXd(size(), size())};
    const double* next = sums.data() + 2 + size();
    for (Index row = 0; row < size(); ++row) {
      for (Index column = row; column < size(); ++column) {
        place.hessian(row, column) = place.hessian(column, row) = *next++;
      }
    }
    place.loss += 0.5 * penalty_.dot(place.coefficients.cwiseAbs2());
    place.gradient += penalty_.cwiseProduct(place.coefficients);
    place.hessian.diagonal() += penalty_;
    return place;
  }

 private:
  training::NewtonKind kind_;
  const data::ExactExamples& rows_;
  VectorXd penalty_;
};

// The smallest step that solves hessian * step = -gradient in the range of the Hessian.
VectorXd StepFrom(const Place& place) {
  const Eigen::SelfAdjointEigenSolver<MatrixXd> solver(place.hessian);
  const VectorXd& values = solver.eigenvalues();
  const double least = kRangeTolerance * values.cwiseAbs().maxCoeff();
  VectorXd along = solver.eigenvectors().transpose() * -place.gradient;
  for (Index i = 0; i < along.size(); ++i) along(i) = values(i) > least ? along(i) / values(i) : 0;
  return solver.eigenvectors() * along;
}

}  // namespace

StatusOr<NewtonSolution> SolveNewton(training::NewtonKind kind, const data::ExactExamples& rows,
                                     const v1::NewtonSpec& rules,
                                     const std::atomic<bool>* cancelled) {
  const v1::NewtonSpec spec = jobs::WithDefaults(rules);
  const Problem problem(kind, rows, spec.l2_penalty());
  NewtonSolution solution;
  CHORALE_ASSIGN_OR_RETURN(Place place, problem.At(VectorXd::Zero(problem.size())));
  while (solution.num_steps < kMaxSteps) {
    if (cancelled != nullptr && *cancelled) return Cancelled("interrupted");
    const VectorXd step = StepFrom(place);
    const double decrement = -place.gradient.dot(step);  // Squared.
    if (decrement / 2 <= spec.tolerance()) break;
    bool has_moved = false;
    double share = spec.damping();
    for (int halvings = 0; halvings <= kMaxHalvings && !has_moved; ++halvings, share /= 2) {
      CHORALE_ASSIGN_OR_RETURN(Place next, problem.At(place.coefficients + share * step));
      has_moved = next.loss <= place.loss;
      if (has_moved) place = std::move(next);
    }
    if (!has_moved) break;  // Rounding is all that is left.
    ++solution.num_steps;
  }
  solution.coefficients.assign(place.coefficients.begin(), place.coefficients.end());
  return solution;
}

}  // namespace chorale::evaluation
