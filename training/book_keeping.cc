#include "training/book_keeping.h"

#include <c10/core/GradMode.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "training/fixed_blocks.h"
#include "training/layer_tape.h"
#include "training/micro_batch.h"
#include "training/work_cut.h"

namespace chorale::training {
namespace {

using at::Tensor;

// A pass, ready to run: rows in the order in which it takes them.
struct Pass {
  PassLayout layout;
  std::vector<std::int64_t> rows;
  std::vector<GraphNetwork::Part> parts;  // One a patient.
};

// REQUIRES: places in order of rising numbers of rows.
Pass LayOut(const PatientRows& patients, std::span<const std::size_t> places, std::uint64_t seed) {
  Pass pass;
  std::vector<std::int64_t> owners;
  for (const std::size_t place : places) {
    const std::span<const std::int64_t> rows = patients.rows(place);
    const auto size = static_cast<std::int64_t>(rows.size());
    if (pass.layout.groups.empty() || pass.layout.groups.back().rows_each != size) {
      pass.layout.groups.push_back({.first_patient = pass.layout.num_patients,
                                    .num_patients = 0,
                                    .first_row = static_cast<std::int64_t>(pass.rows.size()),
                                    .rows_each = size});
    }
    pass.rows.insert(pass.rows.end(), rows.begin(), rows.end());
    owners.insert(owners.end(), rows.size(), pass.layout.num_patients);
    pass.parts.push_back({size, SeedOfPatient(seed, patients.patient(place))});
    ++pass.layout.groups.back().num_patients;
    ++pass.layout.num_patients;
  }
  pass.layout.owners = at::tensor(owners, at::kLong);
  return pass;
}

}  // namespace

BookKeeping::BookKeeping(const GradSampleSetup& setup, std::uint32_t max_patients)
    : setup_(setup),
      max_patients_(max_patients),
      network_(setup.plan),
      loss_(setup.plan.graph().loss(), setup.parameters.device()),
      rows_(setup.examples, setup.parameters.device()),
      layers_(LayersOfParameters(setup.plan)),
      num_layers_(NumLayers(setup.plan)),
      workers_(static_cast<std::size_t>(setup.parameters.is_cpu() ? setup.threads : 1)) {
  for (Worker& worker : workers_) {
    worker.views = network_.Views(setup.parameters);
    for (Tensor& view : worker.views) view = view.detach();
  }
}

// Whole patients, in the order drawn, cut where the rows of a piece of training are.
std::vector<BookKeeping::Places> BookKeeping::Cut(const PatientRows& patients, Places& left) const {
  const models::GraphPlan& plan = setup_.plan;
  const std::uint64_t piece = setup_.parameters.is_cpu()
                                  ? PassRows(plan, patients.num_rows())
                                  : DevicePieceRows(plan, patients.num_rows());
  const std::uint64_t most_rows = std::max(piece, MaxRowsAtOnce(plan));
  std::uint64_t most_patients = MaxPatientsAtOnce(plan);
  if (max_patients_ > 0) most_patients = std::min<std::uint64_t>(most_patients, max_patients_);
  std::vector<Places> passes;
  std::uint64_t rows = 0;
  for (std::size_t place = 0; place < patients.num_patients(); ++place) {
    const std::uint64_t size = patients.rows(place).size();
    if (size > most_rows) {
      left.push_back(place);
      continue;
    }
    if (passes.empty() || rows + size > piece || passes.back().size() >= most_patients) {
      passes.emplace_back();
      rows = 0;
    }
    passes.back().push_back(place);
    rows += size;
  }
  for (Places& pass : passes) {
    std::stable_sort(pass.begin(), pass.end(), [&](std::size_t a, std::size_t b) {
      return patients.rows(a).size() < patients.rows(b).size();
    });
  }
  return passes;
}

bool BookKeeping::Add(const PatientRows& patients, ClippedTotals& totals) {
  if (patients.num_patients() == 0) return true;
  Places left;
  const std::vector<Places> passes = Cut(patients, left);
  std::vector<Tensor> gradients = network_.Views(totals.sum);
  for (Tensor& gradient : gradients) gradient = gradient.detach();
  std::atomic<bool> was_cancelled = false;
  const auto compute = [&](int worker, std::int64_t index) {
    if (setup_.IsCancelled()) was_cancelled = true;
    if (was_cancelled) return;
    RunPass(patients, passes[static_cast<std::size_t>(index)],
            workers_[static_cast<std::size_t>(worker)]);
  };
  const auto commit = [&](int index_of_worker, std::int64_t) {
    if (was_cancelled) return;
    Worker& worker = workers_[static_cast<std::size_t>(index_of_worker)];
    const c10::NoGradGuard guard;
    for (const GradientPart& part : worker.parts) AddPart(part, gradients[part.parameter]);
    worker.parts.clear();
    totals.num_clipped += worker.counts.num_clipped;
    totals.votes += worker.counts.votes;
    left.insert(left.end(), worker.left.begin(), worker.left.end());
  };
  ForEachInOrder(static_cast<int>(workers_.size()), static_cast<std::int64_t>(passes.size()),
                 compute, commit);
  if (was_cancelled) return false;
  return left.empty() || MicroBatch(setup_).Add(patients.Only(left), totals);
}

// What a pass has found out, before anything is clipped.
struct BookKeeping::Measured {
  struct Layer {
    std::size_t number = 0;
    std::unique_ptr<LayerGradient> gradient;
  };
  std::vector<Layer> layers;
  Tensor squares;  // [num_layers, num_patients], float64
};

void BookKeeping::RunPass(const PatientRows& patients, Places places, Worker& worker) const {
  worker.parts.clear();
  worker.counts = {};
  worker.left.clear();
  while (!places.empty()) {
    Pass pass = LayOut(patients, places, setup_.seed);
    pass.layout.owners = pass.layout.owners.to(setup_.parameters.device());
    const Measured measured = Measure(pass.rows, pass.parts, pass.layout, worker);
    const c10::NoGradGuard guard;
    const Tensor squares = measured.squares.to(at::kCPU).t().contiguous();
    const Tensor factors = at::empty_like(squares);  // [num_patients, num_layers]
    Places finite;
    ClippedTotals counts;
    for (std::size_t i = 0; i < places.size(); ++i) {
      const ClippingRule::Verdict verdict =
          setup_.rule.Decide({squares.data_ptr<double>() + i * num_layers_, num_layers_},
                             {factors.data_ptr<double>() + i * num_layers_, num_layers_});
      counts.Count(verdict);
      (verdict.is_finite ? finite : worker.left).push_back(places[i]);
    }
    // A factor of 0 would not do away with infinity: what is not finite must not be there at all.
    if (finite.size() < places.size()) {
      places = std::move(finite);
      continue;
    }
    worker.counts = std::move(counts);
    const Tensor by_layer =
        factors.t().contiguous().to(setup_.parameters.device(), setup_.parameters.scalar_type());
    for (const Measured::Layer& layer : measured.layers) {
      layer.gradient->AddSum(by_layer[static_cast<std::int64_t>(layer.number)], worker.parts);
    }
    return;
  }
}

BookKeeping::Measured BookKeeping::Measure(std::span<const std::int64_t> rows,
                                           std::span<const GraphNetwork::Part> parts,
                                           const PassLayout& layout, Worker& worker) const {
  const auto type = setup_.parameters.scalar_type();
  Measured measured;
  measured.squares = at::zeros({static_cast<std::int64_t>(num_layers_), layout.num_patients},
                               at::TensorOptions(at::kDouble).device(setup_.parameters.device()));
  LayerTape tape([&](LayerRecord record, const Tensor& gradient) {
    const std::size_t layer = layers_[record.weight];
    measured.layers.push_back({layer, MakeLayerGradient(std::move(record), gradient, layout)});
    measured.layers.back().gradient->AddSquares(measured.squares[static_cast<std::int64_t>(layer)]);
  });
  const c10::AutoGradMode with_gradients(true);
  const RowSource::Rows taken = rows_.Gather(rows, worker.buffer);
  const Tensor outputs = network_.Forward(worker.views, taken.inputs.to(type),
                                          {.is_training = true, .parts = parts, .tape = &tape});
  tape.Backward(loss_.Sum(outputs, taken.targets.to(type)));
  return measured;
}

}  // namespace chorale::training
