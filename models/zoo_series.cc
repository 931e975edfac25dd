#include <string>
#include <utility>

#include "core/config/yaml.h"
#include "models/graph_builder.h"
#include "models/zoo_family.h"

// Networks for series: gru, cnn1d.
namespace chorale::models::zoo {
namespace {

using Value = GraphBuilder::Value;

constexpr std::uint32_t kMaxKernel = 63;
constexpr std::uint32_t kMaxFilters = 4096;

// How many inputs there are for each of `parts`.
StatusOr<std::uint64_t> Share(std::uint64_t inputs, std::uint32_t parts, const std::string& field) {
  if (inputs % parts == 0) return inputs / parts;
  return config::FieldError(field, "must divide the number of inputs (" + std::to_string(inputs) +
                                       "), got " + std::to_string(parts));
}

Widths FiltersOf(const v1::Cnn1d& spec) {
  if (!spec.filters().empty()) return spec.filters();
  Widths filters;
  filters.Add(16);
  filters.Add(32);
  return filters;
}

}  // namespace

Status Check(const v1::Gru& spec, const std::string& field) {
  if (spec.steps() == 0) return config::FieldError(field + ".steps", "must be at least 1, got 0");
  CHORALE_RETURN_IF_ERROR(CheckIn(Or(spec.hidden(), 32), 1, 4096, field + ".hidden"));
  CHORALE_RETURN_IF_ERROR(CheckIn(Or(spec.layers(), 1), 1, 8, field + ".layers"));
  return CheckLoss(spec, field);
}

Graph Expand(const v1::Gru& spec, std::uint64_t inputs, const std::string& field) {
  CHORALE_ASSIGN_OR_RETURN(const std::uint64_t channels,
                           Share(inputs, spec.steps(), field + ".steps"));
  const v1::Loss loss = LossOf(spec);
  GraphBuilder builder;
  const Value series = builder.Input("series", {spec.steps(), channels});
  v1::Recurrent& gru = *builder.Node("gru", {series}).mutable_recurrent();
  gru.set_kind(v1::RECURRENT_KIND_GRU);
  gru.set_hidden(Or(spec.hidden(), 32));
  gru.set_layers(Or(spec.layers(), 1));
  Value value = builder.Pick("last", "gru", spec.steps() - 1);
  value = builder.Linear("head", value, OutputsFor(loss));
  return std::move(builder).Build(value, loss);
}

Status Check(const v1::Cnn1d& spec, const std::string& field) {
  CHORALE_RETURN_IF_ERROR(CheckWidths(spec.filters(), 0, kMaxFilters, field + ".filters"));
  const std::uint32_t kernel = Or(spec.kernel(), 5);
  if (kernel % 2 == 0 || kernel > kMaxKernel) {
    return config::FieldError(field + ".kernel",
                              "must be odd and in [1, 63], got " + std::to_string(kernel));
  }
  return CheckLoss(spec, field);
}

// Convolutions that keep the length, each but the last followed by a halving; then the mean over
// time.
Graph Expand(const v1::Cnn1d& spec, std::uint64_t inputs, const std::string& field) {
  const std::uint32_t channels = Or(spec.channels(), 1);
  CHORALE_ASSIGN_OR_RETURN(std::uint64_t steps, Share(inputs, channels, field + ".channels"));
  const Widths filters = FiltersOf(spec);
  const std::uint32_t kernel = Or(spec.kernel(), 5);
  const v1::Loss loss = LossOf(spec);
  if (steps >> (filters.size() - 1) == 0) {
    return config::FieldError(field + ".filters",
                              "must be few enough to halve " + std::to_string(steps) +
                                  " steps between any two, got " + std::to_string(filters.size()));
  }
  GraphBuilder builder;
  Value value = builder.Input("series", {channels, steps});
  for (int i = 0; i < filters.size(); ++i) {
    const std::string number = std::to_string(i);
    builder.Convolution("convs." + number, value, filters[i],
                        {.axes = 1, .kernel = kernel, .padding = kernel / 2});
    value = builder.Activate("relus." + number, "convs." + number, v1::ACTIVATION_RELU);
    if (i + 1 == filters.size()) break;
    value = builder.MaxPool("pools." + number, value, {.axes = 1, .kernel = 2, .stride = 2});
  }
  value = builder.GlobalMean("mean", value, 1);
  value = builder.Linear("head", value, OutputsFor(loss));
  return std::move(builder).Build(value, loss);
}

}  // namespace chorale::models::zoo
