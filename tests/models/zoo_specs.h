#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/model.pb.h"
#include "core/config/yaml.h"

// One specification of each kind of the zoo, of moderate size.
namespace chorale::models {

struct ZooSpec {
  std::string name;
  std::string yaml;
  std::uint64_t num_inputs;
};

inline v1::ModelSpec SpecOf(std::string_view yaml) {
  v1::ModelSpec spec;
  const Status status = config::ParseYaml(yaml, "model.yaml", spec);
  EXPECT_TRUE(status.ok()) << status;
  return spec;
}

inline std::vector<ZooSpec> ZooSpecs() {
  return {
      {"logistic_regression", "logistic_regression: {}", 13},
      {"mlp", "mlp: {hidden_units: [16, 8], activation: relu, dropout: 0.1}", 13},
      {"linear_regression", "linear_regression: {}", 13},
      {"poisson_regression", "poisson_regression: {}", 13},
      {"cox", "cox: {}", 13},
      {"discrete_survival",
       "discrete_survival: {interval_ends: [1, 2, 3, 4, 5], hidden_units: [8]}", 4},
      {"tabular_resnet", "tabular_resnet: {}", 10},
      {"ft_transformer", "ft_transformer: {}", 10},
      {"gru", "gru: {steps: 12}", 60},
      {"cnn1d", "cnn1d: {}", 100},
      {"cnn2d", "cnn2d: {image: {height: 28, width: 28}}", 28 * 28},
      {"resnet18_gn", "resnet18_gn: {image: {channels: 3, height: 28, width: 28}}", 3 * 28 * 28},
      {"unet2d", "unet2d: {image: {height: 64, width: 64}}", 64 * 64},
  };
}

}  // namespace chorale::models
