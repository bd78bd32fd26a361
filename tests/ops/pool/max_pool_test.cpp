// What the cases are too small to show.

#include <gtest/gtest.h>

#include "autograd/engine.h"
#include "ops/cpu/lanes.h"
#include "ops/pool/max_pool.h"
#include "tensor/view.h"
#include "tests/ops/op_case.h"

namespace tessera {
namespace {

// A large gradient is written past the caches; that of one image is not, and has the same bits.
TEST(MaxPool, LargeGradientIsThatOfItsImages) {
  const Shape shape{4, 128, 128, 64};
  const MaxPool2dOptions options{.kernel = 3, .stride = 2, .padding = 1};
  Tensor x = from_vector(testing::hash_uniform("x", numel(shape)), shape);
  ASSERT_GE(x.nbytes(), cpu::kStreamBytes);
  const auto gradient = [&](Tensor in) {
    in.set_requires_grad(true);
    const Tensor y = max_pool2d(in, options);
    return grad({y}, {in}, {y.detach()})[0];
  };
  const Tensor all = gradient(x.detach());
  for (int64_t n = 0; n < shape[0]; ++n) {
    const Tensor one = gradient(view::clone(view::slice(x, 0, n, n + 1)));
    EXPECT_EQ(view::clone(view::slice(all, 0, n, n + 1)).to_vector<float>(),
              one.to_vector<float>());
  }
}

}  // namespace
}  // namespace tessera
