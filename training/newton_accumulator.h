#pragma once

// One thread: sums do not depend on how many there are.
#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Core>
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <vector>

// Where newton_sums.cc and newton_cox.cc add up. Internal: Eigen shows.
namespace chorale::training {

using RowMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Rows that enter a Hessian as one product of matrices.
inline constexpr Eigen::Index kNewtonBlockRows = 256;

// Loss, gradient and upper triangle of the Hessian.
class NewtonAccumulator {
 public:
  NewtonAccumulator(std::size_t num_coefficients, const std::atomic<bool>* cancelled)
      : cancelled_(cancelled),
        gradient_(Eigen::VectorXd::Zero(static_cast<Eigen::Index>(num_coefficients))),
        hessian_(Eigen::MatrixXd::Zero(gradient_.size(), gradient_.size())) {}

  // Whoever adds rows stops early then: the sums are worth nothing.
  [[nodiscard]] bool is_cancelled() const {
    return cancelled_ != nullptr && cancelled_->load(std::memory_order_relaxed);
  }

  void AddLoss(double loss) {
    const double total = loss_ + loss;
    compensation_ +=
        std::abs(loss_) >= std::abs(loss) ? (loss_ - total) + loss : (loss - total) + loss_;
    loss_ = total;
  }
  // += rows^T * residuals
  template <typename Rows, typename Residuals>
  void AddGradient(const Rows& rows, const Residuals& residuals) {
    gradient_.noalias() += rows.transpose() * residuals;
  }
  // += sign * rows^T * rows
  template <typename Rows>
  void AddHessian(const Rows& rows, double sign) {
    hessian_.selfadjointView<Eigen::Upper>().rankUpdate(rows.transpose(), sign);
  }

  [[nodiscard]] std::vector<double> Encode(std::size_t num_rows) const {
    std::vector<double> sums = {loss_ + compensation_, static_cast<double>(num_rows)};
    sums.insert(sums.end(), gradient_.data(), gradient_.data() + gradient_.size());
    for (Eigen::Index i = 0; i < hessian_.rows(); ++i) {
      // A difference of equal sums may come out below zero by a rounding.
      sums.push_back(std::max(0.0, hessian_(i, i)));
      for (Eigen::Index j = i + 1; j < hessian_.cols(); ++j) sums.push_back(hessian_(i, j));
    }
    return sums;
  }

 private:
  const std::atomic<bool>* cancelled_;  // May be null.
  double loss_ = 0;
  double compensation_ = 0;
  Eigen::VectorXd gradient_;
  Eigen::MatrixXd hessian_;
};

}  // namespace chorale::training
