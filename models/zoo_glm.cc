#include <string>
#include <utility>

#include "models/graph_builder.h"
#include "models/zoo_family.h"

// Generalised linear models and Cox regression: one linear layer that starts at zero.
namespace chorale::models::zoo {
namespace {

v1::ModelGraph OneLayer(std::uint64_t inputs, bool has_bias, const v1::Loss& loss) {
  GraphBuilder builder;
  v1::GraphNode& node = builder.Node("linear", {builder.Input("x", {inputs})});
  node.mutable_linear()->set_units(1);
  node.set_weight_initializer(v1::INITIALIZER_ZEROS);
  if (has_bias) {
    node.set_bias_initializer(v1::INITIALIZER_ZEROS);
  } else {
    node.mutable_linear()->set_no_bias(true);
  }
  return std::move(builder).Build("linear", loss);
}

}  // namespace

Status Check(const v1::LogisticRegression&, const std::string&) { return OkStatus(); }
Status Check(const v1::LinearRegression&, const std::string&) { return OkStatus(); }
Status Check(const v1::PoissonRegression&, const std::string&) { return OkStatus(); }

Status Check(const v1::CoxRegression& spec, const std::string& field) {
  return ValidateTies(spec.ties(), field + ".ties");
}

Graph Expand(const v1::LogisticRegression&, std::uint64_t inputs, const std::string&) {
  v1::Loss loss;
  loss.mutable_binary_cross_entropy();
  return OneLayer(inputs, true, loss);
}

Graph Expand(const v1::LinearRegression&, std::uint64_t inputs, const std::string&) {
  v1::Loss loss;
  loss.mutable_mean_squared_error();
  return OneLayer(inputs, true, loss);
}

Graph Expand(const v1::PoissonRegression&, std::uint64_t inputs, const std::string&) {
  v1::Loss loss;
  loss.mutable_poisson();
  return OneLayer(inputs, true, loss);
}

Graph Expand(const v1::CoxRegression& spec, std::uint64_t inputs, const std::string&) {
  v1::Loss loss;
  loss.mutable_cox()->set_ties(spec.ties());
  return OneLayer(inputs, false, loss);
}

}  // namespace chorale::models::zoo
