#include "training/layer_gradients.h"

#include <algorithm>
#include <span>
#include <tuple>
#include <utility>

#include "training/clipping.h"
#include "training/unfold.h"

namespace chorale::training {
namespace {

using at::Tensor;
using Group = PassLayout::Group;
using Sizes = std::vector<std::int64_t>;

// A ghost norm below this share of what it would be without cancellation has lost too many digits
// to be trusted with a bound; such a patient's gradient is formed.
constexpr double kMinShare = 0x1p-12;
// Numbers of an unfolded image that are held at once, where that leaves the products enough
// positions to be worth their calls.
constexpr std::int64_t kMaxUnfolded = std::int64_t{1} << 16;
constexpr std::int64_t kMinPositions = 256;

// The rows of a group, with those of a patient along axis 1. [patients, positions, columns]
Tensor Positions(const Tensor& x, const Group& group) {
  return x.narrow(0, group.first_row, group.num_patients * group.rows_each)
      .reshape({group.num_patients, -1, x.size(-1)});
}

Tensor Of(const Tensor& by_patient, const Group& group) {
  return by_patient.narrow(0, group.first_patient, group.num_patients);
}

// Of each patient. [patients, ...] to [patients], float64
Tensor SquareSums(const Tensor& x) {
  if (!x.is_cpu()) return x.reshape({x.size(0), -1}).to(at::kDouble).square().sum(1);
  const Tensor sums = at::empty({x.size(0)}, at::kDouble);
  const Tensor dense = x.contiguous();
  const auto each = static_cast<std::size_t>(dense.numel() / std::max<std::int64_t>(1, x.size(0)));
  for (std::size_t i = 0; i < static_cast<std::size_t>(x.size(0)); ++i) {
    sums.data_ptr<double>()[i] =
        dense.scalar_type() == at::kDouble
            ? SumOfSquares(std::span(dense.data_ptr<double>() + i * each, each))
            : SumOfSquares(std::span(dense.data_ptr<float>() + i * each, each));
  }
  return sums;
}

// A view that moves along axis 0 of a tensor: to take another of every row costs as much as a small
// product.
class MovedView {
 public:
  // Of `x`, contiguous, from its number `first` of a row on.
  MovedView(const Tensor& x, std::int64_t first, at::IntArrayRef sizes, at::IntArrayRef strides)
      : start_(x.storage_offset() + first),
        step_(x.stride(0)),
        view_(x.as_strided(sizes, strides, start_)) {}
  void MoveTo(std::int64_t row) {
    view_.unsafeGetTensorImpl()->set_storage_offset(start_ + row * step_);
  }
  [[nodiscard]] Tensor& view() { return view_; }

 private:
  std::int64_t start_, step_;
  Tensor view_;
};

// Gradients that were formed: one tensor a patient of some group. [patients, ...]
class Formed {
 public:
  void Add(const Group& group, std::size_t parameter, Tensor gradients, const Tensor& squares) {
    Of(squares, group).add_(SquareSums(gradients));
    entries_.push_back({&group, parameter, std::move(gradients)});
  }
  void AddSum(const Tensor& factors, std::int64_t first, std::vector<GradientPart>& parts) const {
    for (const Entry& entry : entries_) {
      const Tensor& all = entry.gradients;
      const Tensor sum = at::mv(all.reshape({all.size(0), -1}).t(), Of(factors, *entry.group));
      parts.push_back({entry.parameter, first, sum.view(all.sizes().slice(1)), {}});
    }
  }

 private:
  struct Entry {
    const Group* group;
    std::size_t parameter;
    Tensor gradients;
  };
  std::vector<Entry> entries_;
};

// Squared norms of the sums of outer products b_t a_t^T of each patient; with `has_bias` of (a_t,
// 1). a [patients, positions, ins], b [patients, positions, outs]
Tensor GhostSquares(const Tensor& a, const Tensor& b, bool has_bias) {
  if (a.size(1) == 1) {
    const Tensor of_inputs = SquareSums(a);
    return (has_bias ? of_inputs + 1 : of_inputs) * SquareSums(b);
  }
  Tensor of_inputs = at::bmm(a, a.transpose(1, 2));
  if (has_bias) of_inputs.add_(1);
  const Tensor of_outputs = at::bmm(b, b.transpose(1, 2));
  const Tensor squares = (of_inputs * of_outputs).sum(at::IntArrayRef({1, 2}));
  const Tensor inputs_each = of_inputs.diagonal(0, 1, 2);
  const Tensor outputs_each = of_outputs.diagonal(0, 1, 2);
  const Tensor lengths = (inputs_each * outputs_each).sqrt().sum(1);
  const Tensor is_lost = (squares < lengths.square() * kMinShare)
                             .logical_or(inputs_each.amax(1) < kLeastSquareSum)
                             .logical_or(outputs_each.amax(1) < kLeastSquareSum);
  if (is_lost.any().item<bool>()) {
    const Tensor lost = is_lost.nonzero().view(-1);
    const Tensor lost_outputs = b.index_select(0, lost);
    Tensor formed = SquareSums(at::bmm(lost_outputs.transpose(1, 2), a.index_select(0, lost)));
    if (has_bias) formed = formed + SquareSums(lost_outputs.sum(1));
    squares.index_copy_(0, lost, formed.to(squares.scalar_type()));
  }
  return squares;
}

class AffineGradient final : public LayerGradient {
 public:
  AffineGradient(LayerRecord record, const Tensor& gradient, const PassLayout& layout)
      : record_(std::move(record)), layout_(layout), outputs_(gradient) {
    if (record_.is_steps_first) outputs_ = outputs_.transpose(0, 1);
    if (record_.reset.defined()) {
      const std::int64_t hidden = record_.reset.size(-1);
      outputs_ = outputs_.clone();
      outputs_.narrow(-1, 2 * hidden, hidden).mul_(record_.reset);
    }
  }

  void AddSquares(const Tensor& squares) override {
    for (const Group& group : layout_.groups) {
      const Tensor a = Positions(record_.input, group), b = Positions(outputs_, group);
      if (UsesGhostNorm(a.size(1), b.size(2), a.size(2))) {
        Of(squares, group).add_(GhostSquares(a, b, record_.has_bias));
        ghosts_.push_back({&group, a, b});
        continue;
      }
      formed_.Add(group, record_.weight, at::bmm(b.transpose(1, 2), a), squares);
      if (record_.has_bias) formed_.Add(group, record_.bias, b.sum(1), squares);
    }
    record_.input = record_.reset = outputs_ = Tensor();
  }

  void AddSum(const Tensor& factors, std::vector<GradientPart>& parts) override {
    formed_.AddSum(factors, record_.first_out, parts);
    for (const auto& [group, a, b] : ghosts_) {
      const Tensor each = Of(factors, *group).view({-1, 1, 1});
      // The narrower side is multiplied with the factors, unless that is too much for it: factors
      // of automatic clipping can be above 1.
      bool scales_inputs = a.size(2) < b.size(2);
      Tensor scaled = (scales_inputs ? a : b) * each;
      if (!at::isfinite(scaled).all().item<bool>()) {
        scales_inputs = !scales_inputs;
        scaled = (scales_inputs ? a : b) * each;
      }
      const Tensor flat_a = (scales_inputs ? scaled : a).reshape({-1, a.size(2)});
      const Tensor flat_b = (scales_inputs ? b : scaled).reshape({-1, b.size(2)});
      parts.push_back({record_.weight, record_.first_out, at::mm(flat_b.t(), flat_a), {}});
      if (!record_.has_bias) continue;
      const Tensor bias = scales_inputs
                              ? at::mv(flat_b.t(), each.expand({-1, a.size(1), 1}).reshape(-1))
                              : flat_b.sum(0);
      parts.push_back({record_.bias, record_.first_out, bias, {}});
    }
  }

 private:
  struct Ghost {
    const Group* group;
    Tensor a, b;
  };
  LayerRecord record_;
  const PassLayout& layout_;
  Tensor outputs_;  // Their gradient. [rows, ..., outs]
  Formed formed_;
  std::vector<Ghost> ghosts_;
};

class ConvolutionGradient final : public LayerGradient {
 public:
  ConvolutionGradient(LayerRecord record, const Tensor& gradient, const PassLayout& layout)
      : record_(std::move(record)),
        spec_(record_.node->convolution()),
        layout_(layout),
        outputs_(gradient.contiguous()) {
    const auto list = [](const auto& numbers) { return Sizes(numbers.begin(), numbers.end()); };
    kernel_ = list(spec_.kernel());
    stride_ = list(spec_.stride());
    padding_ = list(spec_.padding());
    dilation_ = list(spec_.dilation());
    ins_ = record_.input.size(1) / spec_.groups();
    for (const std::int64_t size : kernel_) ins_ *= size;
  }

  void AddSquares(const Tensor& squares) override {
    const std::int64_t positions = outputs_.numel() / (outputs_.size(0) * outputs_.size(1));
    const bool unfolds = kernel_.size() <= 2 && spec_.groups() == 1 && outputs_.is_cpu();
    for (const Group& group : layout_.groups) {
      if (unfolds && UsesGhostNorm(positions * group.rows_each, outputs_.size(1), ins_)) {
        const Tensor b = Rows(outputs_, group).flatten(2).transpose(1, 2);
        Of(squares, group)
            .add_(GhostSquares(Positions(Unfolded(group), Whole(group)), Positions(b, Whole(group)),
                               record_.has_bias));
        ghosts_.push_back(&group);
        continue;
      }
      if (unfolds) {
        FormUnfolded(group, squares);
      } else {
        FormOneByOne(group, squares);
      }
      if (!record_.has_bias) continue;
      const Tensor sums = Rows(outputs_, group).flatten(2).sum(2);
      formed_.Add(group, record_.bias, sums.view({group.num_patients, group.rows_each, -1}).sum(1),
                  squares);
    }
    if (ghosts_.empty()) record_.input = outputs_ = Tensor();
  }

  void AddSum(const Tensor& factors, std::vector<GradientPart>& parts) override {
    formed_.AddSum(factors, 0, parts);
    for (const OneByOne& entry : one_by_one_) {
      const Tensor host = Of(factors, *entry.group).to(at::kCPU, at::kDouble);
      Tensor sum = entry.gradients[0] * host[0].item<double>();
      for (std::size_t i = 1; i < entry.gradients.size(); ++i) {
        sum.add_(entry.gradients[i], host[static_cast<std::int64_t>(i)].item<double>());
      }
      parts.push_back({record_.weight, 0, sum, {}});
    }
    for (const Group* group : ghosts_) {
      const Tensor rows = Of(factors, *group).repeat_interleave(group->rows_each);
      const Tensor scaled = Rows(outputs_, *group) * rows.view(Broadcast(rows));
      parts.push_back({record_.weight, 0, WeightGradient(scaled, Rows(record_.input, *group)), {}});
      if (record_.has_bias)
        parts.push_back({record_.bias, 0, scaled.flatten(2).sum(at::IntArrayRef({0, 2})), {}});
    }
  }

 private:
  struct OneByOne {
    const Group* group;
    std::vector<Tensor> gradients;
  };
  // The same group of what has been narrowed to it already.
  static Group Whole(const Group& group) { return {0, group.num_patients, 0, group.rows_each}; }
  static Tensor Rows(const Tensor& x, const Group& group) {
    return x.narrow(0, group.first_row, group.num_patients * group.rows_each);
  }
  Sizes Broadcast(const Tensor& rows) const {
    Sizes sizes(static_cast<std::size_t>(outputs_.dim()), 1);
    sizes[0] = rows.numel();
    return sizes;
  }

  UnfoldShape ShapeToUnfold() const {
    const auto last_two = [](const auto& sizes, std::int64_t first) {
      return std::pair(sizes.size() > 1 ? sizes[sizes.size() - 2] : first, sizes.back());
    };
    const auto planes = [&](const Tensor& x) { return last_two(x.sizes().slice(2), 1); };
    UnfoldShape shape;
    shape.channels = record_.input.size(1);
    std::tie(shape.height, shape.width) = planes(record_.input);
    std::tie(shape.kernel_height, shape.kernel_width) = last_two(kernel_, 1);
    std::tie(shape.stride_height, shape.stride_width) = last_two(stride_, 1);
    std::tie(shape.padding_height, shape.padding_width) = last_two(padding_, 0);
    std::tie(shape.dilation_height, shape.dilation_width) = last_two(dilation_, 1);
    std::tie(shape.out_height, shape.out_width) = planes(outputs_);
    return shape;
  }

  // Calls `use(unfolder, shape, number)` with the type computed in.
  template <typename Use>
  void WithUnfolder(const Use& use) const {
    const UnfoldShape shape = ShapeToUnfold();
    if (outputs_.scalar_type() == at::kDouble) {
      Unfolder<double> unfolder(shape);
      use(unfolder, shape, double{});
    } else {
      Unfolder<float> unfolder(shape);
      use(unfolder, shape, float{});
    }
  }

  // What each position of the output sees. [rows, positions, ins]
  Tensor Unfolded(const Group& group) const {
    const Tensor x = Rows(record_.input, group).contiguous();
    Tensor unfolded;
    WithUnfolder([&](auto& unfolder, const UnfoldShape& shape, auto number) {
      using Number = decltype(number);
      unfolded = at::empty({x.size(0), shape.out_height * shape.out_width, ins_}, x.options());
      for (std::int64_t row = 0; row < x.size(0); ++row) {
        unfolder.Take(x[row].template data_ptr<Number>());
        unfolder.Unfold(0, shape.out_height, unfolded[row].template data_ptr<Number>());
      }
    });
    return unfolded;
  }

  // Unfolded a part at a time, which stays in cache: faster than the library's convolutions, which
  // set themselves up for every row.
  void FormUnfolded(const Group& group, const Tensor& squares) {
    const Tensor x = Rows(record_.input, group).contiguous();
    const Tensor b = Rows(outputs_, group);
    const Tensor formed = at::empty({group.num_patients, outputs_.size(1), ins_}, x.options());
    WithUnfolder([&](auto& unfolder, const UnfoldShape& shape, auto number) {
      using Number = decltype(number);
      const std::int64_t lines =
          std::clamp(std::max(kMaxUnfolded / (shape.out_width * ins_),
                              kMinPositions / shape.out_width),
                     std::int64_t{1}, shape.out_height);
      const Tensor seen = at::empty({lines * shape.out_width, ins_}, x.options());
      struct Part {
        std::int64_t first, end;
        Tensor seen;
        MovedView outputs;
      };
      std::vector<Part> parts;
      for (std::int64_t first = 0; first < shape.out_height; first += lines) {
        const std::int64_t end = std::min(first + lines, shape.out_height);
        const std::int64_t positions = (end - first) * shape.out_width;
        parts.push_back({first, end, seen.narrow(0, 0, positions),
                         MovedView(b, first * shape.out_width, {b.size(1), positions},
                                   {shape.out_height * shape.out_width, 1})});
      }
      MovedView sum(formed, 0, {b.size(1), ins_}, {ins_, 1});
      const Number* image = x.data_ptr<Number>();
      for (std::int64_t row = 0; row < x.size(0); ++row, image += x.stride(0)) {
        unfolder.Take(image);
        sum.MoveTo(row / group.rows_each);
        for (Part& part : parts) {
          unfolder.Unfold(part.first, part.end, seen.data_ptr<Number>());
          part.outputs.MoveTo(row);
          if (part.first == 0 && row % group.rows_each == 0) {
            at::mm_out(sum.view(), part.outputs.view(), part.seen);
          } else {
            sum.view().addmm_(part.outputs.view(), part.seen);
          }
        }
      }
    });
    Sizes shape = {group.num_patients, outputs_.size(1), record_.input.size(1)};
    shape.insert(shape.end(), kernel_.begin(), kernel_.end());
    formed_.Add(group, record_.weight, formed.view(shape), squares);
  }

  void FormOneByOne(const Group& group, const Tensor& squares) {
    OneByOne entry{&group, {}};
    std::vector<Tensor> of_each;
    for (std::int64_t i = 0; i < group.num_patients; ++i) {
      const std::int64_t first = group.first_row + i * group.rows_each;
      entry.gradients.push_back(WeightGradient(outputs_.narrow(0, first, group.rows_each),
                                               record_.input.narrow(0, first, group.rows_each)));
      of_each.push_back(SquareSums(entry.gradients.back().unsqueeze(0)));
    }
    Of(squares, group).add_(at::cat(of_each));
    one_by_one_.push_back(std::move(entry));
  }

  // Summed over rows. Of the weight only its shape is looked at.
  Tensor WeightGradient(const Tensor& outputs, const Tensor& inputs) const {
    Sizes shape = {outputs_.size(1), record_.input.size(1) / spec_.groups()};
    shape.insert(shape.end(), kernel_.begin(), kernel_.end());
    const Tensor weight = at::empty({1}, outputs_.options()).expand(shape);
    return std::get<1>(at::convolution_backward(
        outputs, inputs, weight, c10::nullopt, stride_, padding_, dilation_, /*transposed=*/false,
        Sizes(kernel_.size(), 0), spec_.groups(), {false, true, false}));
  }

  LayerRecord record_;
  const v1::Convolution& spec_;
  const PassLayout& layout_;
  Tensor outputs_;  // Their gradient. [rows, channels, ...]
  Sizes kernel_, stride_, padding_, dilation_;
  std::int64_t ins_ = 0;  // Numbers that one of the output sees.
  Formed formed_;
  std::vector<OneByOne> one_by_one_;
  std::vector<const Group*> ghosts_;
};

// A table's gradient is zero but for the rows that were read: one vector for each pair of a patient
// and a row.
class EmbeddingGradient final : public LayerGradient {
 public:
  EmbeddingGradient(const LayerRecord& record, const Tensor& gradient, const PassLayout& layout)
      : table_(record.weight) {
    const std::int64_t table_rows = record.node->embedding().rows();
    const Tensor numbers = record.input.reshape({record.input.size(0), -1});
    const Tensor pairs = (numbers + layout.owners.view({-1, 1}) * table_rows).reshape(-1);
    const auto [unique, places] = at::_unique(pairs, /*sorted=*/true, /*return_inverse=*/true);
    owners_ = at::floor_divide(unique, table_rows);
    rows_ = unique - owners_ * table_rows;
    const Tensor flat = gradient.reshape({-1, gradient.size(-1)});
    sums_ = at::zeros({unique.numel(), flat.size(1)}, flat.options());
    AddPart({.parameter = 0, .first = 0, .values = flat, .rows = places}, sums_);
  }
  void AddSquares(const Tensor& squares) override {
    squares.index_add_(0, owners_, SquareSums(sums_));
  }
  void AddSum(const Tensor& factors, std::vector<GradientPart>& parts) override {
    const Tensor scaled = sums_ * factors.index_select(0, owners_).view({-1, 1});
    parts.push_back({table_, 0, scaled, rows_});
  }

 private:
  std::size_t table_;
  Tensor owners_, rows_;  // Of each vector.
  Tensor sums_;           // [vectors, width]
};

// Scales and shifts, and constants: as few numbers as an output of the layer.
class SmallGradient final : public LayerGradient {
 public:
  SmallGradient(const LayerRecord& record, const Tensor& gradient, const PassLayout& layout)
      : layout_(layout) {
    switch (record.kind) {
      case LayerRecord::Kind::kConstant:
        Take(record.weight, gradient);
        break;
      case LayerRecord::Kind::kLayerNorm:
        Take(record.weight, OverPositions(gradient * Normalized(record)));
        Take(record.bias, OverPositions(gradient));
        break;
      default:
        Take(record.weight, OverPlanes(gradient * Normalized(record)));
        Take(record.bias, OverPlanes(gradient));
    }
  }
  void AddSquares(const Tensor& squares) override {
    for (const auto& [parameter, by_row] : by_row_) {
      for (const Group& group : layout_.groups) {
        Tensor sums = by_row.narrow(0, group.first_row, group.num_patients * group.rows_each);
        if (group.rows_each > 1) {
          Sizes shape = {group.num_patients, group.rows_each};
          shape.insert(shape.end(), by_row.sizes().begin() + 1, by_row.sizes().end());
          sums = sums.reshape(shape).sum(1);
        }
        formed_.Add(group, parameter, sums, squares);
      }
    }
    by_row_.clear();
  }
  void AddSum(const Tensor& factors, std::vector<GradientPart>& parts) override {
    formed_.AddSum(factors, 0, parts);
  }

 private:
  void Take(std::size_t parameter, Tensor by_row) {
    by_row_.emplace_back(parameter, std::move(by_row));
  }
  static Tensor OverPositions(const Tensor& x) { return x.dim() > 2 ? x.flatten(1, -2).sum(1) : x; }
  static Tensor OverPlanes(const Tensor& x) { return x.dim() > 2 ? x.flatten(2).sum(2) : x; }

  static Tensor Normalized(const LayerRecord& record) {
    const Tensor& x = record.input;
    if (record.kind == LayerRecord::Kind::kLayerNorm) {
      return at::layer_norm(x, {x.size(-1)}, {}, {}, record.node->layer_norm().epsilon());
    }
    if (record.node->has_group_norm()) {
      return at::group_norm(x, record.node->group_norm().groups(), {}, {},
                            record.node->group_norm().epsilon());
    }
    return at::instance_norm(x, {}, {}, {}, {}, /*use_input_stats=*/true, /*momentum=*/0,
                             record.node->instance_norm().epsilon(), /*cudnn_enabled=*/true);
  }

  const PassLayout& layout_;
  std::vector<std::pair<std::size_t, Tensor>> by_row_;
  Formed formed_;
};

template <typename Number>
void AddRows(const Tensor& values, const Tensor& rows, const Tensor& sums) {
  const auto width = static_cast<std::size_t>(values.size(1));
  const Number* from = values.data_ptr<Number>();
  const std::int64_t* row = rows.data_ptr<std::int64_t>();
  Number* const to = sums.data_ptr<Number>();
  for (std::int64_t i = 0; i < rows.numel(); ++i, from += width) {
    Number* sum = to + static_cast<std::size_t>(row[i]) * width;
    for (std::size_t j = 0; j < width; ++j) sum[j] += from[j];
  }
}

}  // namespace

void AddPart(const GradientPart& part, const Tensor& gradient) {
  if (!part.rows.defined()) {
    gradient.narrow(0, part.first, part.values.size(0)).add_(part.values);
  } else if (!gradient.is_cpu()) {
    gradient.index_add_(0, part.rows, part.values);
  } else if (gradient.scalar_type() == at::kDouble) {
    AddRows<double>(part.values.contiguous(), part.rows.contiguous(), gradient);
  } else {
    AddRows<float>(part.values.contiguous(), part.rows.contiguous(), gradient);
  }
}

std::unique_ptr<LayerGradient> MakeLayerGradient(LayerRecord record, const Tensor& gradient,
                                                 const PassLayout& layout) {
  switch (record.kind) {
    case LayerRecord::Kind::kAffine:
      return std::make_unique<AffineGradient>(std::move(record), gradient, layout);
    case LayerRecord::Kind::kConvolution:
      return std::make_unique<ConvolutionGradient>(std::move(record), gradient, layout);
    case LayerRecord::Kind::kEmbedding:
      return std::make_unique<EmbeddingGradient>(record, gradient, layout);
    case LayerRecord::Kind::kChannelNorm:
    case LayerRecord::Kind::kLayerNorm:
    case LayerRecord::Kind::kConstant:
      break;
  }
  return std::make_unique<SmallGradient>(record, gradient, layout);
}

}  // namespace chorale::training
