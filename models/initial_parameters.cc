#include <cmath>
#include <cstdint>
#include <span>

#include "core/random.h"
#include "models/model.h"

namespace chorale::models {
namespace {

constexpr double kSmallDeviation = 0.02;

// Uniform in +-bound.
class Uniform {
 public:
  explicit Uniform(double bound) : bound_(bound) {}
  double operator()(RandomSource& random) const { return bound_ * (2 * random.NextDouble() - 1); }

 private:
  double bound_;
};

// Normal by the ratio of uniforms (Kinderman and Monahan 1977). The logarithm, which libraries
// round differently, only decides whether a value counts: the value itself is one division, and
// the same on every machine.
class Normal {
 public:
  explicit Normal(double deviation) : deviation_(deviation) {}
  double operator()(RandomSource& random) const {
    constexpr double kWidth = 1.7155277699214135;  // sqrt(8 / e)
    while (true) {
      const double u = 1 - random.NextDouble();  // In (0, 1].
      const double x = kWidth * (random.NextDouble() - 0.5) / u;
      if (x * x <= -4 * std::log(u)) return deviation_ * x;
    }
  }

 private:
  double deviation_;
};

template <typename Distribution>
void Draw(const Distribution& distribution, RandomSource& random, std::span<float> values) {
  for (float& value : values) value = static_cast<float>(distribution(random));
}

// He et al. (2015) for HE_NORMAL, Glorot and Bengio (2010) for XAVIER_UNIFORM.
void Initialize(const GraphParameter& parameter, RandomSource& random, std::span<float> values) {
  const auto fan_in = static_cast<double>(parameter.fan_in);
  const auto fan_out = static_cast<double>(parameter.fan_out);
  switch (parameter.initializer) {
    case v1::INITIALIZER_ONES:
      std::fill(values.begin(), values.end(), 1.0F);
      return;
    case v1::INITIALIZER_FAN_IN_UNIFORM:
      return Draw(Uniform(1 / std::sqrt(fan_in)), random, values);
    case v1::INITIALIZER_HE_NORMAL:
      return Draw(Normal(std::sqrt(2 / fan_in)), random, values);
    case v1::INITIALIZER_XAVIER_UNIFORM:
      return Draw(Uniform(std::sqrt(6 / (fan_in + fan_out))), random, values);
    case v1::INITIALIZER_NORMAL_002:
      return Draw(Normal(kSmallDeviation), random, values);
    case v1::INITIALIZER_NORMAL:
      return Draw(Normal(1), random, values);
    default:
      return;  // Zeros, as they are; nothing else stands in a plan.
  }
}

}  // namespace

ParameterVector InitialParameters(const GraphPlan& plan, std::uint64_t seed) {
  ParameterVector values(plan.layout().num_parameters(), 0.0F);
  SeededRandom random(seed);
  for (std::size_t i = 0; i < plan.parameters().size(); ++i) {
    const TensorLayout& place = plan.layout().tensors()[i];
    Initialize(plan.parameters()[i], random, std::span(values).subspan(place.offset, place.size));
  }
  return values;
}

}  // namespace chorale::models
