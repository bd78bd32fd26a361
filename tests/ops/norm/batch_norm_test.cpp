#include "ops/norm/batch_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "autograd/engine.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/power.h"
#include "ops/reduce/sum.h"
#include "tensor/parallel.h"
#include "tests/ops/op_case.h"

namespace tessera::testing {
namespace {

struct Data {
  Tensor x, weight, bias, g;
  Data(const Shape& shape, DType dtype) {
    const int64_t channels = shape.back();
    auto make = [&](const char* name, const Shape& s) {
      return view::to(from_vector(hash_uniform(cat("batch_norm_test/", name), numel(s)), s), dtype);
    };
    x = make("x", shape);
    weight = make("weight", {channels});
    bias = make("bias", {channels});
    g = make("g", shape);
    for (Tensor* t : {&x, &weight, &bias}) t->set_requires_grad(true);
  }
  Tensors gradients(const Tensor& y) const { return grad({y}, {x, weight, bias}, {g}); }
};

Tensor composite(const Data& d) {
  Dims axes;
  for (int i = 0; i + 1 < d.x.rank(); ++i) axes.push_back(i);
  const double n = static_cast<double>(d.x.numel() / d.x.size(-1));
  const Tensor centred = d.x - sum(d.x, axes, true) / n;
  const Tensor var = sum(centred * centred, axes, true) / n;
  return centred * rsqrt(var + 1e-5) * d.weight + d.bias;
}

double worst(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = a.to_vector<double>(), y = b.to_vector<double>();
  double error = 0, size = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    error = std::max(error, std::abs(x[i] - y[i]));
    size = std::max(size, std::abs(y[i]));
  }
  return error / size;
}

// Several blocks of statistics, a short last one, and more channels than a block has rows.
const Shape kShapes[] = {{3, 5, 7, 600}, {1, 71, 70, 3}, {2, 41, 40, 64}, {70, 1030}};

TEST(BatchNorm, FusedGradientsEqualTheComposite) {
  for (const Shape& shape : kShapes) {
    const Data d(shape, DType::f64);
    const Tensors fused =
        d.gradients(batch_norm(d.x, d.weight, d.bias, {}, {}, {.training = true}));
    const Tensors plain = d.gradients(composite(d));
    for (size_t i = 0; i < 3; ++i)
      EXPECT_LT(worst(fused[i], plain[i]), 1e-11) << shape << " input " << i;
  }
}

// A penalty on some of the gradients, for a loss whose own gradient is a constant.
TEST(BatchNorm, SecondOrderOfSomeGradients) {
  const Tensor mean = full({5}, 0.25, DType::f64), var = full({5}, 2, DType::f64);
  for (const bool training : {true, false}) {
    const Data d({4, 3, 3, 5}, DType::f64);
    const Tensors inputs{d.x, d.weight, d.bias};
    const auto penalties = [&](const Tensor& y) {
      const Tensors g = grad({y}, inputs, {d.g}, {.create_graph = true});
      Tensors all;
      for (size_t i = 0; i < 2; ++i)
        for (const Tensor& t : grad({sum(g[i] * g[i])}, {d.x, d.weight}, {},
                                    {.retain_graph = true, .allow_unused = true}))
          all.push_back(t.defined() ? t : zeros({1}, DType::f64));
      return all;
    };
    const Tensors fused = penalties(
        batch_norm(d.x, d.weight, d.bias, mean, var, {.training = training, .momentum = 0}));
    const Tensors plain =
        penalties(training ? composite(d) : (d.x - mean) * rsqrt(var + 1e-5) * d.weight + d.bias);
    for (size_t i = 0; i < plain.size(); ++i) {
      SCOPED_TRACE(cat(training ? "training" : "evaluation", " result ", i));
      const std::vector<double> a = fused[i].to_vector<double>(), b = plain[i].to_vector<double>();
      if (a.size() != b.size()) {  // no dependence: undefined here, zeros there
        for (double v : a.size() > b.size() ? a : b) EXPECT_EQ(v, 0);
        continue;
      }
      for (size_t k = 0; k < a.size(); ++k) EXPECT_NEAR(a[k], b[k], 1e-11);
    }
  }
}

TEST(BatchNorm, F32GradientsFollowF64) {
  for (const Shape& shape : kShapes) {
    const Data narrow(shape, DType::f32), wide(shape, DType::f64);
    const Tensors a = narrow.gradients(
        batch_norm(narrow.x, narrow.weight, narrow.bias, {}, {}, {.training = true}));
    const Tensors b =
        wide.gradients(batch_norm(wide.x, wide.weight, wide.bias, {}, {}, {.training = true}));
    for (size_t i = 0; i < 3; ++i) EXPECT_LT(worst(a[i], b[i]), 2e-6) << shape << " input " << i;
  }
}

TEST(BatchNorm, BitsDoNotDependOnTheNumberOfThreads) {
  for (const Shape& shape : kShapes) {
    const Data d(shape, DType::f32);
    std::vector<Tensors> runs;
    for (int threads : {1, 2, 5}) {
      set_num_threads(threads);
      const Tensor y = batch_norm(d.x, d.weight, d.bias, {}, {}, {.training = true});
      Tensors all = d.gradients(y);
      all.push_back(y.detach());
      runs.push_back(all);
    }
    set_num_threads(0);
    for (size_t r = 1; r < runs.size(); ++r)
      for (size_t i = 0; i < runs[0].size(); ++i)
        EXPECT_EQ(std::memcmp(runs[0][i].raw_data(), runs[r][i].raw_data(),
                              static_cast<size_t>(runs[0][i].nbytes())),
                  0)
            << shape << " result " << i;
  }
}

TEST(BatchNorm, TrainingUpdatesRunningStatisticsOutsideTheGraph) {
  const Data d({4, 3, 3, 5}, DType::f32);
  const Tensor mean = zeros({5}), var = ones({5});
  const uint32_t version = mean.version();
  const Tensor y = batch_norm(d.x, d.weight, d.bias, mean, var, {.training = true});
  EXPECT_GT(mean.version(), version);
  EXPECT_GT(var.version(), version);
  EXPECT_FALSE(mean.requires_grad());
  EXPECT_TRUE(y.requires_grad());
  // Evaluation leaves them alone, and a later update does not disturb a recorded evaluation.
  const std::vector<double> before = mean.to_vector<double>();
  const Tensor z = batch_norm(d.x, d.weight, d.bias, mean, var);
  EXPECT_EQ(mean.to_vector<double>(), before);
  const Tensors expected = d.gradients(batch_norm(d.x, d.weight, d.bias, mean, var));
  batch_norm(d.x, d.weight, d.bias, mean, var, {.training = true});
  const Tensors late = d.gradients(z);
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(late[i].to_vector<double>(), expected[i].to_vector<double>());
}

TEST(BatchNorm, HalfInputTakesF32Parameters) {
  const Data d({4, 3, 3, 16}, DType::f32);
  for (DType dtype : {DType::f16, DType::bf16}) {
    Tensor x = view::to(d.x.detach(), dtype);
    x.set_requires_grad(true);
    const Tensor y = batch_norm(x, d.weight, d.bias, {}, {}, {.training = true});
    const Tensors g = grad({y}, {x, d.weight}, {view::to(d.g, dtype)});
    EXPECT_EQ(y.dtype(), dtype);
    EXPECT_EQ(g[0].dtype(), dtype);
    EXPECT_EQ(g[1].dtype(), DType::f32);
    const Tensor exact = batch_norm(d.x, d.weight, d.bias, {}, {}, {.training = true});
    EXPECT_LT(worst(y, exact), dtype == DType::f16 ? 4e-3 : 3e-2);
  }
}

TEST(BatchNorm, FrozenStatisticsPropagateThroughInputAlone) {
  Data d({4, 3, 3, 5}, DType::f64);
  d.weight.set_requires_grad(false);
  d.bias.set_requires_grad(false);
  const Tensor var = full({5}, 0.25, DType::f64);
  const Tensor y = batch_norm(d.x, d.weight, d.bias, zeros({5}, DType::f64), var, {.eps = 0});
  const Tensor gx = grad({y}, {d.x}, {d.g})[0];
  EXPECT_LT(worst(gx, d.g * d.weight * 2.0), 1e-14);  // g * weight / sqrt(var)
}

}  // namespace
}  // namespace tessera::testing
