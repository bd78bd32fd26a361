// What the cases of the norms do not reach on a GPU: packs and single channels, several tiles and
// pieces, rows that fit registers and rows that do not, misaligned operands and half types.

#include "ops/norm/batch_norm.h"
#include "ops/norm/group_norm.h"
#include "ops/norm/instance_norm.h"
#include "ops/norm/layer_norm.h"
#include "ops/norm/softmax.h"
#include "tests/ops/device_compare.h"

namespace tessera::testing {
namespace {

using NormDevice = OnDevice;

const DType kFloating[] = {DType::f32, DType::f64, DType::f16, DType::bf16};

Tensor parameter(const std::string& name, int64_t n, DType dtype) {
  return hashed(name, {n}, dtype, 0.5, 1.5);
}

// Gradients pass through one more rounding than results do.
double allowed(DType dtype) { return 4 * rounding(dtype); }

TEST_F(NormDevice, BatchNormOfAnyChannels) {
  for (DType dtype : kFloating)
    for (const Shape& shape : {Shape{40000, 1}, Shape{2, 61, 61, 3}, Shape{3, 40, 41, 64},
                               Shape{900, 68}, Shape{2, 3, 3, 520}, Shape{5, 37}})
      for (Activation activation : {Activation::none, Activation::relu, Activation::relu6}) {
        const int64_t channels = shape.back();
        const std::string what =
            cat("batch_norm ", shape, ' ', to_string(dtype), ' ', static_cast<int>(activation));
        const Tensors in{hashed(what, shape, dtype, -1, 4), parameter("w", channels, DType::f32),
                         parameter("b", channels, DType::f32),
                         hashed(what + "r", shape, dtype, -1, 1)};
        for (bool residual : {false, true}) {
          const auto run = [&](const Tensors& t) {
            return batch_norm(t[0], t[1], t[2], {}, {}, {.training = true},
                              {residual ? t[3] : Tensor(), activation});
          };
          const Tensors used(in.begin(), in.begin() + (residual ? 4 : 3));
          compare_on_device(what, used, allowed(dtype), run);
          if (channels == 64 && dtype != DType::f64)
            compare_on_device(what + " misaligned", used, allowed(dtype), run, misaligned);
        }
      }
}

TEST_F(NormDevice, BatchNormInEvaluation) {
  for (const Shape& shape : {Shape{2, 5, 7, 48}, Shape{2, 5, 7, 5}})
    for (Activation activation : {Activation::none, Activation::relu6}) {
      const int64_t channels = shape.back();
      const Tensor mean = hashed("m", {channels}, DType::f32, -1, 1);
      const Tensor var = parameter("v", channels, DType::f32);
      const std::string what = cat("evaluation ", shape);
      compare_on_device(what,
                        {hashed(what, shape, DType::f32), parameter("w", channels, DType::f32),
                         parameter("b", channels, DType::f32), hashed("r", shape, DType::f32)},
                        allowed(DType::f32), [&](const Tensors& t) {
                          return batch_norm(t[0], t[1], t[2], beside(t[0], mean), beside(t[0], var),
                                            {}, {t[3], activation});
                        });
    }
}

TEST_F(NormDevice, GroupsAndInstances) {
  for (DType dtype : kFloating)
    for (int64_t groups : {1, 2, 5, 60}) {
      const std::string what = cat("group_norm ", groups, ' ', to_string(dtype));
      const Tensors in{hashed(what, {3, 33, 20, 60}, dtype), parameter("w", 60, DType::f32),
                       parameter("b", 60, DType::f32)};
      compare_on_device(what, in, allowed(dtype),
                        [&](const Tensors& t) { return group_norm(t[0], groups, t[1], t[2]); });
    }
  const Tensors wide{hashed("wide", {2, 3, 1, 2000}, DType::f32)};
  compare_on_device("wide groups", wide, allowed(DType::f32),
                    [](const Tensors& t) { return group_norm(t[0], 2); });
  compare_on_device("instance_norm", {hashed("instance", {3, 70, 70, 8}, DType::f32)},
                    allowed(DType::f32), [](const Tensors& t) { return instance_norm(t[0]); });
}

TEST_F(NormDevice, LayerNormOfAnyLength) {
  for (DType dtype : kFloating)
    for (const auto& [rows, n] : {std::pair<int64_t, int64_t>{300, 5},
                                  {70, 768},
                                  {9, 1001},
                                  {3, 4096},
                                  {3, 9000},
                                  {2, 9001}}) {
      const std::string what = cat("layer_norm ", n, ' ', to_string(dtype));
      const Tensors in{hashed(what, {rows, n}, dtype), parameter("w", n, DType::f32),
                       parameter("b", n, DType::f32)};
      compare_on_device(what, in, allowed(dtype),
                        [n = n](const Tensors& t) { return layer_norm(t[0], {n}, t[1], t[2]); });
    }
}

TEST_F(NormDevice, SoftmaxOfAnyLengthAndAxis) {
  struct Row {
    Shape shape;
    int64_t axis;
  };
  for (const Row& r : {Row{{500, 3}, 1}, Row{{33, 80}, 1}, Row{{7, 751}, 1}, Row{{3, 4096}, 1},
                       Row{{3, 9004}, 1}, Row{{2, 9001}, 1}, Row{{3, 300, 20}, 1},
                       Row{{3, 2, 700}, 1}, Row{{2, 9, 33}, 1}, Row{{1000, 6}, 0}})
    for (DType dtype : kFloating) {
      const std::string what = cat("softmax ", r.shape, r.axis, ' ', to_string(dtype));
      const Tensor x = hashed(what, r.shape, dtype, -9, 9), there = on_gpu(x);
      expect_close(softmax(there, r.axis), softmax(x, r.axis), rounding(dtype), what);
      expect_close(log_softmax(there, r.axis), log_softmax(x, r.axis), rounding(dtype),
                   what + " log");
      expect_close(softmax(misaligned(x), r.axis), softmax(x, r.axis), rounding(dtype),
                   what + " misaligned");
    }
}

TEST_F(NormDevice, SoftmaxOfNanAndInfinity) {
  const double inf = INFINITY;
  const Tensor x = view::to(from_vector(std::vector<double>{1,    inf,  2,    -inf, NAN, 1, 2, 3,
                                                            -inf, -inf, -inf, -inf,  //
                                                            -inf, 5,    -inf, 2,    0,   1, 2, 3},
                                        {5, 4}),
                            DType::f32);
  for (int64_t axis : {0, 1}) {
    expect_close(softmax(on_gpu(x), axis), softmax(x, axis), 1e-6, cat("axis ", axis));
    expect_close(log_softmax(on_gpu(x), axis), log_softmax(x, axis), 1e-6, cat("log ", axis));
  }
}

}  // namespace
}  // namespace tessera::testing
