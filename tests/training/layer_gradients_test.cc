#include "training/layer_gradients.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "training/unfold.h"

namespace chorale::training {
namespace {

using at::Tensor;

TEST(GhostNormTest, IsUsedForOnePositionAndWhereGramMatricesAreSmall) {
  EXPECT_TRUE(UsesGhostNorm(1, 1, 1));
  EXPECT_TRUE(UsesGhostNorm(8, 128, 128));
  EXPECT_FALSE(UsesGhostNorm(100, 16, 64));   // Memory.
  EXPECT_FALSE(UsesGhostNorm(80, 128, 128));  // Time.
  EXPECT_TRUE(UsesGhostNorm(64, 4096, 4096));
}

// Positions that cancel: the difference of Gram matrices has no digits left, the gradient has.
TEST(GhostNormTest, DoesNotLoseAGradientWhosePositionsCancel) {
  constexpr std::int64_t kPositions = 4, kIns = 16, kOuts = 12;
  ASSERT_TRUE(UsesGhostNorm(kPositions, kOuts, kIns));
  at::manual_seed(3);
  Tensor a = at::randn({1, 1, kIns}).repeat({2, kPositions, 1}) * 1e4;
  Tensor b = at::randn({1, 1, kOuts}).repeat({2, kPositions, 1});
  b.select(1, 1).mul_(-1);
  b.select(1, 3).mul_(-1.001);
  a[1] = at::randn({kPositions, kIns});  // A patient without cancellation beside it.
  const LayerRecord record{.has_bias = true, .bias = 1, .input = a};
  const PassLayout layout{
      .groups = {{0, 2, 0, 1}}, .num_patients = 2, .owners = at::arange(2, at::kLong)};
  const Tensor squares = at::zeros({2}, at::kDouble);
  MakeLayerGradient(record, b, layout)->AddSquares(squares);

  const Tensor wide_b = b.to(at::kDouble);
  const Tensor formed = at::bmm(wide_b.transpose(1, 2), a.to(at::kDouble));
  const Tensor expected =
      formed.square().sum(at::IntArrayRef({1, 2})) + wide_b.sum(1).square().sum(1);
  EXPECT_LT(((squares - expected) / expected).abs().max().item<double>(), 2e-3);
}

TEST(UnfolderTest, SeesWhatTheLibraryUnfolds) {
  const auto expect_equal = [](const UnfoldShape& shape) {
    const Tensor image = at::randn({1, shape.channels, shape.height, shape.width});
    const Tensor expected = at::im2col(image, {shape.kernel_height, shape.kernel_width},
                                       {shape.dilation_height, shape.dilation_width},
                                       {shape.padding_height, shape.padding_width},
                                       {shape.stride_height, shape.stride_width});
    Unfolder<float> unfolder(shape);
    const Tensor got = at::empty({shape.out_height * shape.out_width, shape.num_seen()});
    unfolder.Take(image.data_ptr<float>());
    const std::int64_t half = shape.out_height / 2;
    unfolder.Unfold(0, half, got.data_ptr<float>());
    unfolder.Unfold(half, shape.out_height,
                    got.data_ptr<float>() + half * shape.out_width * shape.num_seen());
    EXPECT_TRUE(at::equal(got, expected[0].t()));
  };
  for (const std::int64_t kernel : {1, 2, 3, 4, 5, 6, 7, 8}) {
    UnfoldShape shape{.channels = 3, .height = 11, .width = 9};
    shape.kernel_height = 2;
    shape.kernel_width = kernel;
    shape.stride_width = 2;
    shape.padding_height = 1;
    shape.padding_width = 3;
    shape.out_height = 12;
    shape.out_width = (9 + 6 - kernel) / 2 + 1;
    expect_equal(shape);
  }
  UnfoldShape dilated{.channels = 2, .height = 8, .width = 8};
  dilated.kernel_height = dilated.kernel_width = 3;
  dilated.dilation_height = dilated.dilation_width = 2;
  dilated.out_height = dilated.out_width = 4;
  expect_equal(dilated);
}

}  // namespace
}  // namespace chorale::training
