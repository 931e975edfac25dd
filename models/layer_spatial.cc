#include <algorithm>
#include <string>
#include <utility>

#include "core/config/field_text.h"
#include "models/layer.h"
#include "models/sizes.h"

// Operations on [channels, ...] that have no parameters: pooling and upsampling.
namespace chorale::models {
namespace {

constexpr std::uint32_t kMinFactor = 2;
constexpr std::uint32_t kMaxFactor = 16;

Status CheckKind(const Layer& layer, v1::PoolKind kind) {
  if (kind != v1::POOL_KIND_UNSPECIFIED && v1::PoolKind_IsValid(kind)) return OkStatus();
  return layer.AttributeError("kind",
                              "must be one of " + config::EnumChoices(*v1::PoolKind_descriptor()));
}

// `entries`: of the list that has one for each axis behind the channels.
Status CheckAxes(const Layer& layer, const char* attribute, int entries) {
  if (entries < 1 || entries > 3) {
    return layer.AttributeError(attribute,
                                "must have 1 to 3 entries, got " + std::to_string(entries));
  }
  if (layer.input().size() == static_cast<std::size_t>(entries) + 1) return OkStatus();
  return layer.Misfit("[channels, ...] with " + std::to_string(entries) + " further axes");
}

Status CheckPool(const Layer& layer) {
  const v1::Pool& pool = layer.node.pool();
  CHORALE_RETURN_IF_ERROR(CheckKind(layer, pool.kind()));
  CHORALE_RETURN_IF_ERROR(CheckAxes(layer, "kernel", pool.kernel_size()));
  for (const auto& [attribute, list] :
       {std::pair{"stride", &pool.stride()}, std::pair{"padding", &pool.padding()}}) {
    if (list->size() == pool.kernel_size()) continue;
    return layer.AttributeError(attribute, "must have as many entries as the kernel (" +
                                               std::to_string(pool.kernel_size()) + "), got " +
                                               std::to_string(list->size()));
  }
  for (int axis = 0; axis < pool.kernel_size(); ++axis) {
    CHORALE_RETURN_IF_ERROR(layer.CheckAtLeast1("kernel", pool.kernel(axis)));
    CHORALE_RETURN_IF_ERROR(layer.CheckAtLeast1("stride", pool.stride(axis)));
    if (pool.padding(axis) <= pool.kernel(axis) / 2) continue;
    return layer.AttributeError("padding", "must be at most half the kernel (" +
                                               std::to_string(pool.kernel(axis)) + "), got " +
                                               std::to_string(pool.padding(axis)));
  }
  return OkStatus();
}

// The largest result keeps the place of each maximum, of 64 bits.
std::uint64_t NumKept(v1::PoolKind kind, const Shape& output) {
  return kind == v1::POOL_KIND_MAX ? Product(2, NumNumbers(output)) : 0;
}

StatusOr<LayerPlan> PlanPool(const Layer& layer) {
  CHORALE_RETURN_IF_ERROR(CheckPool(layer));
  const v1::Pool& pool = layer.node.pool();
  LayerPlan plan{.output = {layer.input().front()}};
  std::uint64_t window = 1;
  for (int axis = 0; axis < pool.kernel_size(); ++axis) {
    const std::uint64_t places =
        WindowPlaces(layer.input()[static_cast<std::size_t>(axis) + 1], pool.kernel(axis),
                     pool.stride(axis), pool.padding(axis), 1);
    if (places == 0) return layer.Misfit("axes at least as long as its kernel");
    plan.output.push_back(places);
    window = Product(window, pool.kernel(axis));
  }
  plan.multiply_adds = Product(NumNumbers(plan.output), window);
  plan.num_kept = NumKept(pool.kind(), plan.output);
  return plan;
}

StatusOr<LayerPlan> PlanAdaptivePool(const Layer& layer) {
  const v1::AdaptivePool& pool = layer.node.adaptive_pool();
  CHORALE_RETURN_IF_ERROR(CheckKind(layer, pool.kind()));
  CHORALE_RETURN_IF_ERROR(CheckAxes(layer, "size", pool.size_size()));
  LayerPlan plan{.output = {layer.input().front()}};
  std::uint64_t window = 1;
  for (int axis = 0; axis < pool.size_size(); ++axis) {
    const std::uint64_t size = pool.size(axis);
    CHORALE_RETURN_IF_ERROR(layer.CheckAtLeast1("size", size));
    const std::uint64_t in = layer.input()[static_cast<std::size_t>(axis) + 1];
    plan.output.push_back(size);
    // Windows that do not divide the axis overlap by up to two numbers.
    window = Product(window, in % size == 0 ? in / size : in / size + 2);
  }
  plan.multiply_adds = Product(NumNumbers(plan.output), window);
  plan.num_kept = NumKept(pool.kind(), plan.output);
  return plan;
}

StatusOr<LayerPlan> PlanUpsample(const Layer& layer) {
  const std::uint32_t factor = layer.node.upsample().factor();
  if (factor < kMinFactor || factor > kMaxFactor) {
    return layer.AttributeError("factor", "must be in [2, 16], got " + std::to_string(factor));
  }
  if (layer.input().size() < 2 || layer.input().size() > 4) {
    return layer.Misfit("[channels, ...] with 1 to 3 further axes");
  }
  LayerPlan plan{.output = layer.input()};
  std::for_each(plan.output.begin() + 1, plan.output.end(),
                [&](std::uint64_t& size) { size = Product(size, factor); });
  return plan;
}

}  // namespace

StatusOr<LayerPlan> PlanPooling(const Layer& layer) {
  if (layer.node.has_pool()) return PlanPool(layer);
  if (layer.node.has_adaptive_pool()) return PlanAdaptivePool(layer);
  return PlanUpsample(layer);
}

}  // namespace chorale::models
