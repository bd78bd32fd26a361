// The epilogue of batch_norm against the norm, the sum and the activation one after the other.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "autograd/engine.h"
#include "ops/norm/batch_norm.h"
#include "ops/norm/channel_norm.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/reduce/sum.h"
#include "tensor/parallel.h"
#include "tests/ops/op_case.h"

namespace tessera::testing {
namespace {

constexpr Activation kActivations[] = {Activation::none, Activation::relu, Activation::relu6};
const Shape kShapes[] = {{3, 5, 7, 600}, {1, 71, 70, 3}, {2, 41, 40, 64}, {70, 1030}};

struct Data {
  Tensor x, weight, bias, residual, mean, var, g;
  Data(const Shape& shape, DType dtype) {
    const Shape channels{shape.back()};
    const DType parameters = dtype == DType::f64 ? dtype : DType::f32;
    auto make = [](const char* name, const Shape& s, DType d, double lo, double hi) {
      return view::to(from_vector(hash_uniform(cat("epilogue/", name), numel(s), lo, hi), s), d);
    };
    x = make("x", shape, dtype, -1, 1);
    weight = make("weight", channels, parameters, 3, 5);
    bias = make("bias", channels, parameters, 0, 3);
    residual = make("residual", shape, dtype, -1, 1);
    mean = make("mean", channels, parameters, -1, 1);
    var = make("var", channels, parameters, 0.1, 1);
    g = make("g", shape, dtype, -1, 1);
    for (Tensor* t : {&x, &weight, &bias, &residual}) t->set_requires_grad(true);
  }
  Tensor norm(bool training, const NormEpilogue& epilogue = {}) const {
    return batch_norm(x, weight, bias, view::clone(mean), view::clone(var), {.training = training},
                      epilogue);
  }
  Tensor fused(bool training, Activation a, bool with_residual = true) const {
    return norm(training, {with_residual ? residual : Tensor(), a});
  }
  Tensor separate(bool training, Activation a, bool with_residual = true) const {
    const Tensor y = norm(training);
    return activate(with_residual ? y + residual : y, a);
  }
  Tensors all(const Tensor& y, const Tensors& inputs) const {
    Tensors out = grad({y}, inputs, {g});
    out.push_back(y.detach());
    return out;
  }
};

void expect_same_bits(const Tensors& a, const Tensors& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    const Tensor p = view::contiguous(a[i].detach()), q = view::contiguous(b[i].detach());
    ASSERT_EQ(p.nbytes(), q.nbytes());
    EXPECT_EQ(std::memcmp(p.raw_data(), q.raw_data(), static_cast<size_t>(p.nbytes())), 0)
        << "result " << i;
  }
}

template <class Body>
void for_every_epilogue(const Body& body) {
  for (const bool training : {true, false})
    for (const Activation a : kActivations)
      for (const bool with_residual : {true, false}) {
        SCOPED_TRACE(cat(training ? "training" : "evaluation", " activation ", static_cast<int>(a),
                         with_residual ? " residual" : ""));
        body(training, a, with_residual);
      }
}

TEST(BatchNormEpilogue, EqualsTheSeparateOperatorsBitForBit) {
  for (const Shape& shape : kShapes)
    for (const DType dtype : {DType::f32, DType::f64}) {
      const Data d(shape, dtype);
      for_every_epilogue([&](bool training, Activation a, bool with_residual) {
        Tensors inputs{d.x, d.weight, d.bias};
        if (with_residual) inputs.push_back(d.residual);
        expect_same_bits(d.all(d.fused(training, a, with_residual), inputs),
                         d.all(d.separate(training, a, with_residual), inputs));
      });
    }
}

// Each input alone: no gradient for x, for the parameters, or for anything but the residual.
TEST(BatchNormEpilogue, GradientsOfSomeInputs) {
  const Data d({3, 5, 7, 40}, DType::f32);
  for_every_epilogue([&](bool training, Activation a, bool with_residual) {
    const Tensor fused = d.fused(training, a, with_residual);
    const Tensor separate = d.separate(training, a, with_residual);
    Tensors inputs{d.x, d.weight, d.bias};
    if (with_residual) inputs.push_back(d.residual);
    for (const Tensor& input : inputs)
      expect_same_bits(grad({fused}, {input}, {d.g}, {.retain_graph = true}),
                       grad({separate}, {input}, {d.g}, {.retain_graph = true}));
  });
}

TEST(BatchNormEpilogue, ConstantInputsAndResiduals) {
  for (const bool constant_residual : {true, false}) {
    Data d({3, 5, 7, 40}, DType::f32);
    (constant_residual ? d.residual : d.x).set_requires_grad(false);
    const Tensors inputs{constant_residual ? d.x : d.residual, d.weight};
    for (const Activation a : kActivations)
      expect_same_bits(d.all(d.fused(true, a), inputs), d.all(d.separate(true, a), inputs));
  }
}

TEST(BatchNormEpilogue, ResidualMayBeTheInput) {
  const Data d({3, 5, 7, 40}, DType::f64);
  for (const bool training : {true, false})
    for (const Activation a : kActivations)
      expect_same_bits(d.all(d.norm(training, {d.x, a}), {d.x, d.weight}),
                       d.all(activate(d.norm(training) + d.x, a), {d.x, d.weight}));
}

TEST(BatchNormEpilogue, StridedInputResidualAndGradient) {
  const Data d({4, 6, 5, 40}, DType::f64);
  const auto turned = [](const Tensor& t) {
    return view::permute(view::clone(view::permute(t.detach(), {3, 1, 0, 2})), {2, 1, 3, 0});
  };
  Data strided = d;
  for (Tensor* t : {&strided.x, &strided.residual}) {
    *t = turned(*t);
    t->set_requires_grad(true);
  }
  strided.g = turned(d.g);
  ASSERT_FALSE(strided.x.is_contiguous());
  for (const Activation a : kActivations)
    expect_same_bits(
        strided.all(strided.fused(true, a), {strided.x, strided.weight, strided.residual}),
        d.all(d.fused(true, a), {d.x, d.weight, d.residual}));
}

TEST(BatchNormEpilogue, BitsDoNotDependOnTheNumberOfThreads) {
  for (const Shape& shape : kShapes) {
    const Data d(shape, DType::f32);
    for (const Activation a : kActivations) {
      std::vector<Tensors> runs;
      for (int threads : {1, 2, 5}) {
        set_num_threads(threads);
        runs.push_back(d.all(d.fused(true, a), {d.x, d.weight, d.bias, d.residual}));
      }
      set_num_threads(0);
      for (size_t r = 1; r < runs.size(); ++r) expect_same_bits(runs[r], runs[0]);
    }
  }
}

// Second order of a penalty on the gradients, the clamped elements included.
TEST(BatchNormEpilogue, SecondOrderEqualsTheSeparateOperators) {
  const Data d({4, 3, 3, 5}, DType::f64);
  const Tensors inputs{d.x, d.weight, d.bias, d.residual};
  const auto penalties = [&](const Tensor& y) {
    const Tensor loss = sum(y * y * d.g);
    const Tensors g = grad({loss}, inputs, {}, {.create_graph = true});
    Tensor penalty = sum(g[0] * g[0]);
    for (size_t i = 1; i < g.size(); ++i) penalty = penalty + sum(g[i] * g[i]);
    return grad({penalty}, inputs);
  };
  for (const bool training : {true, false})
    for (const Activation a : kActivations) {
      const Tensors fused = penalties(d.fused(training, a));
      const Tensors separate = penalties(d.separate(training, a));
      for (size_t i = 0; i < inputs.size(); ++i) {
        const auto p = fused[i].to_vector<double>(), q = separate[i].to_vector<double>();
        double size = 0;
        for (double v : q) size = std::max(size, std::abs(v));
        EXPECT_GT(size, 0);
        for (size_t k = 0; k < p.size(); ++k) ASSERT_NEAR(p[k], q[k], 1e-11 * size);
      }
    }
}

// Frozen statistics 0 and 1 and no eps make y = activation(x + residual): every kink can be hit.
TEST(BatchNormEpilogue, KinksNanAndInfinityFollowTheActivation) {
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<double> values{-inf, -1, -0.0, 0, 1e-30, 3, 6, 7, inf, std::nan("")};
  const Shape shape{static_cast<int64_t>(values.size()), 1};
  for (const DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16})
    for (const bool at_residual : {false, true})
      for (const Activation a : kActivations) {
        Tensor x = view::to(from_vector(values, shape), dtype), other = zeros(shape, dtype);
        if (at_residual) std::swap(x, other);
        for (Tensor* t : {&x, &other}) t->set_requires_grad(true);
        const auto norm = [&](const NormEpilogue& epilogue) {
          return batch_norm(x, {}, {}, zeros({1}), ones({1}), {.eps = 0}, epilogue);
        };
        const Tensor g = full(shape, 2, dtype);
        Tensors results[2];
        for (const bool fused : {false, true}) {
          const Tensor y = fused ? norm({other, a}) : activate(norm({}) + other, a);
          results[fused] = grad({y}, {x, other}, {g});
          results[fused].push_back(y.detach());
        }
        expect_same_bits(results[1], results[0]);
        const std::vector<double> gx = results[1][0].to_vector<double>();
        EXPECT_EQ(gx[3], a == Activation::none ? 2 : 0);
        EXPECT_EQ(gx[6], a == Activation::relu6 ? 0 : 2);
        EXPECT_TRUE(std::isnan(results[1][2].to_vector<double>().back()));
      }
}

// Training: one NaN reaches the whole channel and no other.
TEST(BatchNormEpilogue, NanStaysInItsChannel) {
  Data d({4, 3, 3, 5}, DType::f32);
  d.x.detach().data<float>()[7] = std::nanf("");  // channel 2
  for (const Activation a : kActivations) {
    const std::vector<double> y = d.fused(true, a).to_vector<double>();
    for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i % 5 == 2);
  }
}

// The result is the f32 one of the same values, rounded; the gradient follows the rounded result.
TEST(BatchNormEpilogue, HalfTypesAreRoundedOnce) {
  for (const DType dtype : {DType::f16, DType::bf16}) {
    const Data half({4, 6, 5, 40}, dtype);
    Data wide = half;
    for (Tensor* t : {&wide.x, &wide.residual}) {
      *t = view::to(t->detach(), DType::f32);
      t->set_requires_grad(true);
    }
    for (const Activation a : kActivations) {
      const Tensors got = half.all(half.fused(true, a), {half.x, half.residual});
      expect_same_bits({got[2]}, {view::to(wide.fused(true, a).detach(), dtype)});
      Tensor y = got[2];
      y.set_requires_grad(true);
      const Tensor inner = grad({activate(y * 1.0, a)}, {y}, {half.g})[0];
      expect_same_bits({got[1]}, {inner});
      wide.g = view::to(inner, DType::f32);
      const auto gx = got[0].to_vector<double>();
      const auto exact = wide.all(wide.norm(true), {wide.x})[0].to_vector<double>();
      const double unit = dtype == DType::f16 ? 0x1p-11 : 0x1p-8;
      for (size_t i = 0; i < gx.size(); ++i)
        ASSERT_NEAR(gx[i], exact[i], std::abs(exact[i]) * unit + 1e-5);
    }
  }
}

// The shared kernel under layouts that batch_norm has no use for: many entries, groups, one row per
// entry (layer norm, which has a kernel of its own without an epilogue).
TEST(BatchNormEpilogue, EveryLayoutOfTheKernelTakesIt) {
  for (const NormLayout& l : {NormLayout{3, 50, 24, 1}, {5, 31, 24, 8}, {40, 1, 24, 24}}) {
    const Data d({l.batch, l.spatial, l.channels}, DType::f64);
    const auto norm = [&](const NormEpilogue& epilogue) {
      Tensor mean = empty({l.batch, l.groups()}, DType::f64), var = empty_like(mean);
      return channel_norm(d.x, l, d.weight, d.bias, 1e-5, mean, var, false, epilogue);
    };
    for (const Activation a : kActivations) {
      const Tensors inputs{d.x, d.weight, d.bias, d.residual};
      const Tensors fused = d.all(norm({d.residual, a}), inputs);
      const Tensors separate = d.all(activate(norm({}) + d.residual, a), inputs);
      for (size_t i = 0; i < fused.size(); ++i) {
        const auto p = fused[i].to_vector<double>(), q = separate[i].to_vector<double>();
        for (size_t k = 0; k < p.size(); ++k)
          ASSERT_NEAR(p[k], q[k], 1e-11) << "layout of " << l.batch << " entries, result " << i;
      }
    }
  }
}

// Without an activation the residual's gradient is the incoming one, not a copy of it.
TEST(BatchNormEpilogue, SumAloneCopiesNoGradient) {
  const Data d({4, 3, 3, 5}, DType::f32);
  const Tensor y = d.fused(true, Activation::none);
  EXPECT_TRUE(grad({y}, {d.residual}, {d.g})[0].shares_storage(d.g));
}

TEST(BatchNormEpilogue, OverwritingTheResultIsNoticed) {
  const Data d({4, 3, 3, 5}, DType::f32);
  const Tensor y = d.fused(true, Activation::relu);
  Tensor same = y.detach();
  mul_(same, same);
  EXPECT_THROW(grad({y}, {d.x}, {d.g}), Error);
}

}  // namespace
}  // namespace tessera::testing
