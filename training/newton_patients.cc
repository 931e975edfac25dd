#include "training/newton_patients.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "training/newton_accumulator.h"
#include "training/newton_terms.h"

namespace chorale::training {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

// What numbers of this length are multiplied with: cut to `most`, they come to `target` at most.
// Where the length overflows that is 0, and NaN stays NaN.
double FactorOf(double length, double most, double target) {
  return (length > most ? most / length : 1) * (target / most);
}

// Gradient and Hessian of the rows of one patient after the other.
class PatientSums {
 public:
  PatientSums(NewtonKind kind, const data::ExactExamples& examples,
              std::span<const double> coefficients)
      : kind_(kind),
        examples_(examples),
        inputs_(examples.inputs.data(), static_cast<Index>(examples.size()),
                static_cast<Index>(examples.num_inputs)),
        coefficients_(coefficients.data(), static_cast<Index>(coefficients.size())),
        gradient_(coefficients_.size()),
        hessian_(coefficients_.size(), coefficients_.size()),
        block_(kNewtonBlockRows, coefficients_.size()) {}

  void Sum(std::span<const std::size_t> rows) {
    gradient_.setZero();
    hessian_.triangularView<Eigen::Upper>().setZero();
    for (std::size_t begin = 0; begin < rows.size(); begin += kNewtonBlockRows) {
      AddBlock(rows.subspan(begin, std::min<std::size_t>(kNewtonBlockRows, rows.size() - begin)));
    }
  }

  void Write(const NewtonBounds& bounds, std::span<double> vector) const {
    const Index size = gradient_.size();
    double squares = 0;
    for (Index i = 0; i < size; ++i) {
      squares += hessian_(i, i) * hessian_(i, i);
      for (Index j = i + 1; j < size; ++j) squares += 2 * hessian_(i, j) * hessian_(i, j);
    }
    const double to_gradient =
        FactorOf(gradient_.norm(), bounds.gradient, std::sqrt(1 - bounds.hessian_share));
    const double to_hessian =
        FactorOf(std::sqrt(squares), bounds.hessian, std::sqrt(bounds.hessian_share));
    auto out = vector.begin();
    for (Index i = 0; i < size; ++i) *out++ = to_gradient * gradient_(i);
    for (Index i = 0; i < size; ++i) {
      *out++ = to_hessian * hessian_(i, i);
      for (Index j = i + 1; j < size; ++j) {
        *out++ = to_hessian * std::numbers::sqrt2 * hessian_(i, j);
      }
    }
  }

 private:
  void AddBlock(std::span<const std::size_t> rows) {
    const auto size = static_cast<Index>(rows.size());
    const Index num_inputs = inputs_.cols();
    auto block = block_.topRows(size);
    VectorXd residuals(size);
    VectorXd roots(size);
    for (Index i = 0; i < size; ++i) {
      const std::size_t row = rows[static_cast<std::size_t>(i)];
      block.row(i).head(num_inputs) = inputs_.row(static_cast<Index>(row));
      block(i, num_inputs) = 1;
      const double eta = block.row(i).dot(coefficients_);
      const NewtonTerm term = NewtonTermOf(kind_, eta, examples_.targets[row]);
      residuals(i) = term.residual;
      roots(i) = std::sqrt(term.weight);
    }
    gradient_.noalias() += block.transpose() * residuals;
    block.array().colwise() *= roots.array();
    hessian_.selfadjointView<Eigen::Upper>().rankUpdate(block.transpose());
  }

  NewtonKind kind_;
  const data::ExactExamples& examples_;
  Eigen::Map<const RowMatrix> inputs_;
  Eigen::Map<const VectorXd> coefficients_;
  VectorXd gradient_;
  MatrixXd hessian_;  // Upper triangle.
  RowMatrix block_;
};

}  // namespace

std::size_t NewtonVectorSize(std::size_t num_coefficients) {
  return num_coefficients + num_coefficients * (num_coefficients + 1) / 2;
}

Status ForEachNewtonPatient(NewtonKind kind, const data::ExactExamples& examples,
                            std::span<const double> coefficients, const NewtonBounds& bounds,
                            std::span<const std::vector<std::size_t>> patients,
                            const std::function<void(std::span<const double>)>& on_patient,
                            const std::atomic<bool>* cancelled) {
  if (kind != NewtonKind::kLogistic && kind != NewtonKind::kLinear) {
    return InvalidArgument(
        "a patient's part in a step of Newton's method is bounded for logistic and linear "
        "regression alone");
  }
  CHORALE_RETURN_IF_ERROR(CheckNewtonSizes(kind, examples, coefficients));
  PatientSums sums(kind, examples, coefficients);
  std::vector<double> vector(NewtonVectorSize(coefficients.size()));
  for (const std::vector<std::size_t>& rows : patients) {
    if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) {
      return Cancelled("Newton's sums were cancelled");
    }
    sums.Sum(rows);
    sums.Write(bounds, vector);
    on_patient(vector);
  }
  return OkStatus();
}

NewtonEstimate NewtonEstimateOf(const NewtonBounds& bounds, std::span<const double> vector,
                                std::size_t num_coefficients) {
  const double of_gradient = bounds.gradient / std::sqrt(1 - bounds.hessian_share);
  const double of_hessian = bounds.hessian / std::sqrt(bounds.hessian_share);
  NewtonEstimate estimate;
  for (std::size_t i = 0; i < num_coefficients; ++i) {
    estimate.gradient.push_back(of_gradient * vector[i]);
  }
  std::size_t place = num_coefficients;
  for (std::size_t i = 0; i < num_coefficients; ++i) {
    for (std::size_t j = i; j < num_coefficients; ++j) {
      const double scale = i == j ? of_hessian : of_hessian / std::numbers::sqrt2;
      estimate.hessian.push_back(scale * vector[place++]);
    }
  }
  return estimate;
}

}  // namespace chorale::training
