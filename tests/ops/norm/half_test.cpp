// Half-precision input of the norms, pools and cross entropy: the result and the gradient are the
// f32 ones of the rounded input, rounded.

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "autograd/engine.h"
#include "ops/loss/cross_entropy.h"
#include "ops/norm/group_norm.h"
#include "ops/norm/instance_norm.h"
#include "ops/norm/layer_norm.h"
#include "ops/norm/softmax.h"
#include "ops/pool/adaptive_pool.h"
#include "ops/pool/avg_pool.h"
#include "ops/pool/max_pool.h"
#include "tests/ops/op_case.h"

namespace tessera::testing {
namespace {

using Function = std::function<Tensor(const Tensor&)>;

void expect_rounded(const char* name, const Tensor& half, const Tensor& full) {
  const std::vector<double> a = half.to_vector<double>(), b = full.to_vector<double>();
  double size = 0;
  for (double v : b) size = std::max(size, std::abs(v));
  const double unit = half.dtype() == DType::f16 ? 1.0 / 1024 : 1.0 / 128;
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_NEAR(a[i], b[i], unit * size) << name << " " << half.dtype() << " element " << i;
}

TEST(HalfTypes, FollowF32) {
  const Tensor targets = from_vector(std::vector<int64_t>(60, 3), {2, 6, 5});
  const std::pair<const char*, Function> table[] = {
      {"max_pool2d",
       [](const Tensor& x) { return max_pool2d(x, {.kernel = 3, .stride = 2, .padding = 1}); }},
      {"avg_pool2d",
       [](const Tensor& x) { return avg_pool2d(x, {.kernel = 3, .stride = 2, .padding = 1}); }},
      {"adaptive_avg_pool2d", [](const Tensor& x) { return adaptive_avg_pool2d(x, 2); }},
      {"instance_norm", [](const Tensor& x) { return instance_norm(x); }},
      {"group_norm", [](const Tensor& x) { return group_norm(x, 2); }},
      {"layer_norm", [](const Tensor& x) { return layer_norm(x, {8}); }},
      {"softmax", [](const Tensor& x) { return softmax(x); }},
      {"softmax_axis_1", [](const Tensor& x) { return softmax(x, 1); }},
      {"log_softmax", [](const Tensor& x) { return log_softmax(x); }},
      {"cross_entropy",
       [&](const Tensor& x) { return cross_entropy(x, targets, {.reduction = Reduction::none}); }},
  };
  for (DType dtype : {DType::f16, DType::bf16}) {
    const Tensor x = view::to(from_vector(hash_uniform("half/x", 480), {2, 6, 5, 8}), dtype);
    for (const auto& [name, fn] : table) {
      Tensor half = view::clone(x), wide = view::to(x, DType::f32);
      half.set_requires_grad(true);
      wide.set_requires_grad(true);
      const Tensor a = fn(half), b = fn(wide);
      ASSERT_EQ(a.dtype(), dtype) << name;
      expect_rounded(name, a, b);
      const Tensor g = view::to(from_vector(hash_uniform("half/g", b.numel()), b.shape()), dtype);
      expect_rounded(name, grad({a}, {half}, {g})[0],
                     grad({b}, {wide}, {view::to(g, DType::f32)})[0]);
    }
  }
}

}  // namespace
}  // namespace tessera::testing
