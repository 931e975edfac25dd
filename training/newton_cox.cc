#include "training/newton_cox.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace chorale::training {
namespace {

using Eigen::Index;
using Eigen::VectorXd;

// Rows of the stratum, longest time first, so that a risk set is what has been passed so far. Rows
// that end before the first event are in no risk set and are left out. Columns are centred, which
// changes no difference between rows, keeps the sums small, and makes a constant column zero.
struct Stratum {
  RowMatrix inputs;                 // [num_rows, num_inputs]
  std::vector<double> times = {};   // [num_rows], descending
  std::vector<char> is_event = {};  // [num_rows]
  VectorXd eta = {};                // [num_rows]
};

Stratum StratumOf(const data::ExactExamples& examples, const VectorXd& coefficients) {
  const auto time = [&](std::size_t row) { return examples.targets[2 * row]; };
  const auto is_event = [&](std::size_t row) { return examples.targets[2 * row + 1] == 1; };
  std::vector<std::size_t> order(examples.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return time(a) > time(b); });
  const auto last_event = std::find_if(order.rbegin(), order.rend(), is_event);
  if (last_event == order.rend()) {
    order.clear();
  } else {
    const double first_time = time(*last_event);
    std::erase_if(order, [&](std::size_t row) { return time(row) < first_time; });
  }

  const auto num_inputs = static_cast<Index>(examples.num_inputs);
  Stratum stratum{.inputs = RowMatrix(static_cast<Index>(order.size()), num_inputs)};
  for (std::size_t i = 0; i < order.size(); ++i) {
    stratum.inputs.row(static_cast<Index>(i)) = Eigen::Map<const Eigen::RowVectorXd>(
        examples.inputs.data() + order[i] * examples.num_inputs, num_inputs);
    stratum.times.push_back(time(order[i]));
    stratum.is_event.push_back(is_event(order[i]) ? 1 : 0);
  }
  if (!order.empty()) {
    // By a row first: exactly zero for a constant column, which the mean alone may miss.
    const Eigen::RowVectorXd first = stratum.inputs.row(0);
    stratum.inputs.rowwise() -= first;
    const Eigen::RowVectorXd mean = stratum.inputs.colwise().mean();
    stratum.inputs.rowwise() -= mean;
  }
  stratum.eta = stratum.inputs * coefficients;
  return stratum;
}

// Rows that end at the same time: [begin, end) of a stratum.
struct Tie {
  Index begin = 0;
  Index end = 0;
  Index num_events = 0;
  double max_eta = 0;  // Of the risk set.
  // Sums over events of 1 / denominator, and of the share that Efron takes off over it; times
  // exp(max_eta).
  double inverse = 0;
  double inverse_share = 0;
};

// Walks from the longest time to the shortest, with sums over the risk set that are scaled by the
// largest hazard in it: no exponential overflows, and no risk set sums to zero.
class RiskSets {
 public:
  RiskSets(const Stratum& stratum, bool is_efron, NewtonAccumulator& sums)
      : stratum_(stratum),
        is_efron_(is_efron),
        sums_(sums),
        risk_x_(VectorXd::Zero(stratum.inputs.cols())),
        means_(kNewtonBlockRows, stratum.inputs.cols()) {}

  [[nodiscard]] std::vector<Tie> Walk() {
    std::vector<Tie> ties;
    const Index num_rows = stratum_.inputs.rows();
    for (Index begin = 0; begin < num_rows && !sums_.is_cancelled();) {
      Tie tie{.begin = begin, .end = begin};
      const double time = stratum_.times[static_cast<std::size_t>(begin)];
      while (tie.end < num_rows && stratum_.times[static_cast<std::size_t>(tie.end)] == time) {
        Enter(tie.end++);
      }
      AddEvents(tie);
      ties.push_back(tie);
      begin = tie.end;
    }
    FlushMeans();
    return ties;
  }

 private:
  void Enter(Index row) {
    const double eta = stratum_.eta(row);
    if (row == 0 || eta > max_eta_) {
      const double shrink = row == 0 ? 0 : std::exp(max_eta_ - eta);
      risk_ *= shrink;
      risk_x_ *= shrink;
      max_eta_ = eta;
    }
    const double hazard = std::exp(eta - max_eta_);
    risk_ += hazard;
    risk_x_ += hazard * stratum_.inputs.row(row).transpose();
  }

  void AddEvents(Tie& tie) {
    double tied = 0;
    VectorXd tied_x = VectorXd::Zero(risk_x_.size());
    for (Index row = tie.begin; row < tie.end; ++row) {
      if (stratum_.is_event[static_cast<std::size_t>(row)] == 0) continue;
      const double hazard = std::exp(stratum_.eta(row) - max_eta_);
      tied += hazard;
      tied_x += hazard * stratum_.inputs.row(row).transpose();
      sums_.AddLoss(-(stratum_.eta(row) - max_eta_));
      ++tie.num_events;
    }
    tie.max_eta = max_eta_;
    for (Index k = 0; k < tie.num_events && !sums_.is_cancelled(); ++k) {
      const double share =
          is_efron_ ? static_cast<double>(k) / static_cast<double>(tie.num_events) : 0.0;
      const double denominator = risk_ - share * tied;
      sums_.AddLoss(std::log(denominator));
      tie.inverse += 1 / denominator;
      tie.inverse_share += share / denominator;
      AddMean((risk_x_ - share * tied_x) / denominator);
    }
  }

  void AddMean(const VectorXd& mean) {
    means_.row(num_means_++) = mean.transpose();
    if (num_means_ == kNewtonBlockRows) FlushMeans();
  }
  void FlushMeans() {
    sums_.AddHessian(means_.topRows(num_means_), -1);
    num_means_ = 0;
  }

  const Stratum& stratum_;
  const bool is_efron_;
  NewtonAccumulator& sums_;
  double max_eta_ = 0;
  double risk_ = 0;  // Of exp(eta - max_eta_).
  VectorXd risk_x_;  // The same times the inputs.
  RowMatrix means_;  // Weighted means over risk sets that are not in the Hessian yet.
  Index num_means_ = 0;
};

}  // namespace

// With u_i = exp(eta_i) * (sum over events no later than i of 1 / denominator), less Efron's share
// where i is one of the tied events: gradient = X^T (u - event), Hessian = X^T diag(u) X - the sum
// over events of mean mean^T.
void AddCoxStratum(const data::ExactExamples& examples, const VectorXd& coefficients, bool is_efron,
                   NewtonAccumulator& sums) {
  const Stratum stratum = StratumOf(examples, coefficients);
  const Index num_rows = stratum.inputs.rows();
  if (num_rows == 0) return;
  const std::vector<Tie> ties = RiskSets(stratum, is_efron, sums).Walk();
  if (sums.is_cancelled()) return;
  VectorXd u(num_rows);
  VectorXd residuals(num_rows);
  // From the shortest time on; scaled as the risk set at hand, whose largest hazard only falls.
  double hazard = 0;
  double max_eta = ties.back().max_eta;
  for (auto tie = ties.rbegin(); tie != ties.rend(); ++tie) {
    hazard = hazard * std::exp(tie->max_eta - max_eta) + tie->inverse;
    max_eta = tie->max_eta;
    for (Index row = tie->begin; row < tie->end; ++row) {
      const bool is_event = stratum.is_event[static_cast<std::size_t>(row)] != 0;
      const double cumulated = is_event ? hazard - tie->inverse_share : hazard;
      u(row) = std::exp(stratum.eta(row) - max_eta) * std::max(0.0, cumulated);
      residuals(row) = u(row) - (is_event ? 1.0 : 0.0);
    }
  }
  sums.AddGradient(stratum.inputs, residuals);
  for (Index begin = 0; begin < num_rows && !sums.is_cancelled(); begin += kNewtonBlockRows) {
    const Index size = std::min(kNewtonBlockRows, num_rows - begin);
    const RowMatrix rows =
        u.segment(begin, size).cwiseSqrt().asDiagonal() * stratum.inputs.middleRows(begin, size);
    sums.AddHessian(rows, 1);
  }
}

}  // namespace chorale::training
