// The CPU kernels of one convolution against each other: the slot's choice alone would leave the
// others, and the f32 gradients, untested.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "autograd/node.h"
#include "ops/conv/conv2d_cpu.h"
#include "ops/conv/conv2d_winograd.h"
#include "ops/cpu/packed_weights.h"
#include "tensor/parallel.h"
#include "tensor/view.h"
#include "tests/ops/conv/conv_reference.h"
#include "tests/ops/op_case.h"

namespace tessera::testing {
namespace {

struct Geometry {
  Shape x, w;
  Conv2dOptions options;
};

std::vector<Geometry> geometries() {
  return {
      {{2, 9, 11, 19}, {37, 3, 3, 19}, {.padding = 1}},
      {{2, 14, 14, 32}, {64, 3, 3, 32}, {.stride = 2, .padding = 1}},
      {{1, 15, 17, 3}, {16, 7, 7, 3}, {.stride = 2, .padding = 3}},
      {{2, 8, 8, 64}, {48, 1, 1, 64}, {.stride = 2}},
      {{1, 12, 9, 16}, {16, 3, 3, 4}, {.stride = {2, 1}, .padding = {1, 0}, .groups = 4}},
      {{1, 9, 9, 64}, {64, 3, 3, 2}, {.stride = 2, .padding = 1, .groups = 32}},
      {{1, 9, 9, 15}, {10, 3, 3, 3}, {.padding = 2, .dilation = 2, .groups = 5}},
      {{2, 11, 17, 72}, {72, 3, 3, 1}, {.padding = 1, .groups = 72}},
      {{2, 13, 12, 41}, {41, 5, 5, 1}, {.stride = 2, .padding = 2, .groups = 41}},
      {{1, 10, 9, 20},
       {20, 2, 3, 1},
       {.stride = 3, .padding = {0, 1}, .dilation = 2, .groups = 20}},
      {{1, 9, 14, 24}, {72, 3, 3, 1}, {.stride = {1, 2}, .padding = 1, .groups = 24}},
      {{1, 6, 7, 300}, {420, 1, 1, 300}, {}},
  };
}

// Wide enough for the weight gradient to stream rows; the last is larger than caches are.
std::vector<Geometry> wide_depthwise_geometries() {
  return {
      {{2, 30, 41, 84}, {84, 3, 3, 1}, {.stride = 2, .padding = 1, .groups = 84}},
      {{3, 14, 14, 52}, {52, 5, 5, 1}, {.padding = 2, .groups = 52}},
      {{2, 9, 150, 33}, {33, 3, 3, 1}, {.stride = {3, 1}, .padding = {0, 1}, .groups = 33}},
      {{1, 6, 13, 16}, {16, 5, 5, 1}, {.stride = {1, 2}, .padding = {5, 6}, .groups = 16}},
      {{3, 113, 120, 112}, {112, 3, 3, 1}, {.padding = 1, .groups = 112}},
  };
}

template <class T>
Tensor random(const std::string& name, const Shape& shape) {
  return view::to(from_vector(hash_uniform(name, numel(shape)), shape), dtype_of<T>());
}

// The three passes of one implementation, as f64 tensors.
template <class T, class Forward, class InputGrad, class WeightGrad>
Tensors run(const Geometry& c, Forward forward, InputGrad input_grad, WeightGrad weight_grad) {
  const Shape ys = conv_output_shape(c.x, c.w, c.options);
  const conv::ConvShape s = conv::make_shape(c.x, c.w, ys, c.options);
  const Tensor x = random<T>("x", c.x), w = random<T>("w", c.w), g = random<T>("g", ys);
  const Tensor bias = random<T>("bias", {c.w[0]});
  Tensors out;
  for (const Shape& shape : {ys, c.x, c.w}) {
    Tensor t = empty(shape, dtype_of<T>());
    fill_(t, NAN);
    out.push_back(t);
  }
  forward(s, x.data<T>(), w, bias.data<T>(), out[0].data<T>());
  input_grad(s, g.data<T>(), w, out[1].data<T>());
  weight_grad(s, g.data<T>(), x.data<T>(), out[2].data<T>());
  for (Tensor& t : out) t = view::to(t, DType::f64);
  return out;
}

#define TESSERA_RUN(T, space, geometry)                                                \
  run<T>(                                                                              \
      geometry,                                                                        \
      [](const conv::ConvShape& s, const T* x, const Tensor& w, const T* bias, T* y) { \
        conv::space::forward(s, x, w.data<T>(), bias, y);                              \
      },                                                                               \
      [](const conv::ConvShape& s, const T* g, const Tensor& w, T* gx) {               \
        conv::space::input_grad(s, g, w.data<T>(), gx);                                \
      },                                                                               \
      [](const conv::ConvShape& s, const T* g, const T* x, T* gw) {                    \
        conv::space::weight_grad(s, g, x, gw);                                         \
      })

void expect_close(const Tensors& got, const Tensors& want, double relative) {
  for (size_t t = 0; t < want.size(); ++t) {
    const std::vector<double> a = got[t].to_vector<double>(), b = want[t].to_vector<double>();
    double scale = 0;
    for (double v : b) scale = std::max(scale, std::abs(v));
    for (size_t i = 0; i < b.size(); ++i)
      ASSERT_NEAR(a[i], b[i], relative * scale)
          << "pass " << t << ", element " << i << " of " << got[t].shape();
  }
}

void expect_same_bits(const Tensors& a, const Tensors& b) {
  for (size_t t = 0; t < a.size(); ++t) {
    if (a[t].numel() == 0) continue;
    EXPECT_EQ(std::memcmp(a[t].raw_data(), b[t].raw_data(), static_cast<size_t>(a[t].nbytes())), 0)
        << "pass " << t;
  }
}

std::string label(const Geometry& c) {
  return cat(c.x, c.w, " stride ", c.options.stride, " groups ", c.options.groups);
}

TEST(ConvKernels, PlainMatchesTheDefinition) {
  for (const Geometry& c : geometries()) {
    SCOPED_TRACE(label(c));
    const Shape ys = conv_output_shape(c.x, c.w, c.options);
    const Tensor x = random<double>("x", c.x), w = random<double>("w", c.w);
    const Tensor g = random<double>("g", ys), bias = random<double>("bias", {c.w[0]});
    const Tensors want{reference_conv2d(x, w, bias, c.options),
                       reference_input_grad(g, w, c.x, c.options),
                       reference_weight_grad(g, x, c.w, c.options)};
    expect_close(TESSERA_RUN(double, plain, c), want, 1e-13);
    expect_close(TESSERA_RUN(float, plain, c), want, 1e-5);
  }
}

TEST(ConvKernels, ImplicitGemmMatchesPlain) {
  for (const Geometry& c : geometries()) {
    SCOPED_TRACE(label(c));
    const Tensors want = TESSERA_RUN(double, plain, c);
    expect_close(TESSERA_RUN(double, implicit_gemm, c), want, 1e-13);
    expect_close(TESSERA_RUN(float, implicit_gemm, c), want, 1e-5);
  }
}

TEST(ConvKernels, DepthwiseMatchesPlain) {
  int run_count = 0;
  std::vector<Geometry> all = geometries();
  for (const Geometry& c : wide_depthwise_geometries()) all.push_back(c);
  for (const Geometry& c : all) {
    const Shape ys = conv_output_shape(c.x, c.w, c.options);
    if (!conv::depthwise::applies(conv::make_shape(c.x, c.w, ys, c.options))) continue;
    SCOPED_TRACE(label(c));
    ++run_count;
    const Tensors want = TESSERA_RUN(double, plain, c);
    expect_close(TESSERA_RUN(double, depthwise, c), want, 1e-13);
    expect_close(TESSERA_RUN(float, depthwise, c), want, 1e-5);
  }
  EXPECT_EQ(run_count, 9);
}

TEST(ConvKernels, ResultDoesNotDependOnThreads) {
  std::vector<Geometry> every = geometries();
  for (const Geometry& c : wide_depthwise_geometries()) every.push_back(c);
  for (const Geometry& c : every) {
    SCOPED_TRACE(label(c));
    const bool depthwise = c.options.groups == c.x[3];
    const auto all = [&] {
      return depthwise ? TESSERA_RUN(float, depthwise, c) : TESSERA_RUN(float, implicit_gemm, c);
    };
    set_num_threads(1);
    const Tensors one = all();
    set_num_threads(3);
    const Tensors three = all();
    set_num_threads(0);
    expect_same_bits(one, three);
  }
}

TEST(ConvKernels, HalfTypesComputeInFloat) {
  const Geometry c = geometries()[0];
  const Tensor x = random<float>("x", c.x), w = random<float>("w", c.w);
  const Tensor bias = random<float>("bias", {c.w[0]});
  for (const DType half : {DType::f16, DType::bf16}) {
    const Tensor hx = view::to(x, half), hw = view::to(w, half), hb = view::to(bias, half);
    const Tensor want = view::to(conv2d(view::to(hx, DType::f32), view::to(hw, DType::f32),
                                        view::to(hb, DType::f32), c.options),
                                 half);
    const Tensor got = conv2d(hx, hw, hb, c.options);
    EXPECT_EQ(got.dtype(), half);
    EXPECT_EQ(got.to_vector<float>(), want.to_vector<float>());
  }
}

#if !defined(TESSERA_REFERENCE)

TEST(ConvOnednn, MatchesPlain) {
  for (const int threads : {1, 2}) {
    set_num_threads(threads);
    for (const Geometry& c : geometries()) {
      SCOPED_TRACE(label(c));
      // What it declines stays undone; the implicit GEMM covers it.
      const Tensors got = run<float>(
          c,
          [](const conv::ConvShape& s, const float* x, const Tensor& w, const float* b, float* y) {
            ConvEpilogue epilogue;
            if (b) epilogue.bias = from_vector(std::vector<float>(b, b + s.o));
            if (!conv::onednn::forward(s, x, w, epilogue, y))
              conv::implicit_gemm::forward(s, x, w.data<float>(), b, y);
          },
          [](const conv::ConvShape& s, const float* g, const Tensor& w, float* gx) {
            if (!conv::onednn::input_grad(s, g, w, gx))
              conv::implicit_gemm::input_grad(s, g, w.data<float>(), gx);
          },
          [](const conv::ConvShape& s, const float* g, const float* x, float* gw) {
            if (!conv::onednn::weight_grad(s, g, x, gw))
              conv::implicit_gemm::weight_grad(s, g, x, gw);
          });
      expect_close(got, TESSERA_RUN(double, plain, c), 1e-5);
    }
  }
  set_num_threads(0);
}

using ForwardKernel = void (*)(const conv::ConvShape&, const float*, const Tensor&,
                               const ConvEpilogue&, float*);

// The three passes of f32 kernels whose forward pass has an epilogue.
template <class InputGrad, class WeightGrad>
Tensors run_fused(const Geometry& c, ForwardKernel forward, InputGrad input_grad,
                  WeightGrad weight_grad) {
  return run<float>(
      c,
      [forward](const conv::ConvShape& s, const float* x, const Tensor& w, const float* b,
                float* y) {
        forward(s, x, w, {.bias = from_vector(std::vector<float>(b, b + s.o))}, y);
      },
      input_grad, weight_grad);
}

Tensors run_pointwise(const Geometry& c) {
  return run_fused(c, conv::pointwise::forward, conv::pointwise::input_grad,
                   conv::unfolded::weight_grad);
}

Tensors run_winograd(const Geometry& c) {
  return run_fused(c, conv::winograd::forward, conv::winograd::input_grad,
                   conv::winograd::weight_grad);
}

void expect_same_for_any_threads(const std::vector<Geometry>& all,
                                 Tensors (*passes)(const Geometry&)) {
  for (const Geometry& c : all) {
    SCOPED_TRACE(label(c));
    set_num_threads(1);
    const Tensors one = passes(c);
    set_num_threads(5);
    const Tensors five = passes(c);
    set_num_threads(0);
    expect_same_bits(one, five);
  }
}

std::vector<Geometry> pointwise_geometries() {
  return {
      {{2, 8, 8, 64}, {48, 1, 1, 64}, {.stride = 2}},
      {{1, 6, 7, 300}, {420, 1, 1, 300}, {}},
      {{1, 1, 1, 1}, {1, 1, 1, 1}, {}},
      {{3, 5, 7, 17}, {5, 1, 1, 17}, {}},
      {{2, 9, 9, 24}, {144, 1, 1, 24}, {}},
      {{1, 7, 9, 20}, {64, 1, 1, 20}, {.stride = {2, 3}}},
      {{2, 40, 41, 33}, {130, 1, 1, 33}, {}},  // several blocks of pixels
      {{0, 4, 4, 3}, {2, 1, 1, 3}, {}},
  };
}

TEST(ConvPointwise, MatchesPlain) {
  for (const Geometry& c : pointwise_geometries()) {
    SCOPED_TRACE(label(c));
    const Shape ys = conv_output_shape(c.x, c.w, c.options);
    ASSERT_TRUE(conv::pointwise::applies(conv::make_shape(c.x, c.w, ys, c.options)));
    expect_close(run_pointwise(c), TESSERA_RUN(double, plain, c), 1e-5);
  }
  for (const Geometry& c : {Geometry{{1, 5, 5, 4}, {4, 1, 1, 2}, {.groups = 2}},
                            Geometry{{1, 5, 5, 4}, {4, 1, 1, 4}, {.padding = 1}},
                            Geometry{{1, 5, 5, 4}, {4, 1, 3, 4}, {}}}) {
    const Shape ys = conv_output_shape(c.x, c.w, c.options);
    EXPECT_FALSE(conv::pointwise::applies(conv::make_shape(c.x, c.w, ys, c.options))) << label(c);
  }
}

TEST(ConvPointwise, ResultDoesNotDependOnThreads) {
  expect_same_for_any_threads(pointwise_geometries(), run_pointwise);
}

TEST(ConvScattered, InputGradMatchesPlainForAnyThreads) {
  std::vector<Geometry> all = geometries();
  all.push_back({{3, 30, 29, 3}, {64, 7, 7, 3}, {.stride = 2, .padding = 3}});
  all.push_back({{2, 19, 23, 1}, {17, 11, 11, 1}, {.stride = 4, .padding = 2}});
  all.push_back(
      {{2, 9, 10, 5}, {25, 3, 2, 5}, {.stride = {1, 3}, .padding = {2, 4}, .dilation = {2, 1}}});
  all.push_back({{1, 8, 9, 3}, {20, 2, 2, 3}, {.stride = 3}});  // pixels that no filter saw
  all.push_back({{0, 9, 9, 3}, {20, 3, 3, 3}, {}});
  int checked = 0;
  for (const Geometry& c : all) {
    const Shape ys = conv_output_shape(c.x, c.w, c.options);
    const conv::ConvShape s = conv::make_shape(c.x, c.w, ys, c.options);
    if (!conv::scattered::applies(s)) continue;
    SCOPED_TRACE(label(c));
    ++checked;
    const Tensor g = random<float>("g", ys), w = random<float>("w", c.w);
    Tensor want = empty(c.x, DType::f64);
    conv::plain::input_grad(s, random<double>("g", ys).data<double>(),
                            random<double>("w", c.w).data<double>(), want.data<double>());
    Tensors results;
    for (const int threads : {1, 5}) {
      set_num_threads(threads);
      results.push_back(full(c.x, NAN));
      conv::scattered::input_grad(s, g.data<float>(), w.data<float>(),
                                  results.back().data<float>());
    }
    set_num_threads(0);
    expect_close({view::to(results[0], DType::f64)}, {want}, 1e-5);
    expect_same_bits({results[0]}, {results[1]});
  }
  EXPECT_EQ(checked, 10);
}

TEST(ConvUnfolded, WeightGradMatchesPlainForAnyThreads) {
  std::vector<Geometry> all = geometries();
  all.push_back({{3, 17, 13, 70}, {80, 3, 3, 70}, {.stride = 2, .padding = 1}});
  all.push_back({{2, 9, 9, 20}, {25, 3, 2, 20}, {.padding = 2, .dilation = {2, 3}}});
  all.push_back({{0, 9, 9, 20}, {25, 3, 3, 20}, {}});
  int checked = 0;
  for (const Geometry& c : all) {
    if (c.options.groups != 1) continue;
    SCOPED_TRACE(label(c));
    ++checked;
    const Shape ys = conv_output_shape(c.x, c.w, c.options);
    const conv::ConvShape s = conv::make_shape(c.x, c.w, ys, c.options);
    const Tensor x = random<float>("x", c.x), g = random<float>("g", ys);
    Tensor want = empty(c.w, DType::f64);
    conv::plain::weight_grad(s, random<double>("g", ys).data<double>(),
                             random<double>("x", c.x).data<double>(), want.data<double>());
    Tensors results;
    for (const int threads : {1, 5}) {
      set_num_threads(threads);
      results.push_back(full(c.w, NAN));
      conv::unfolded::weight_grad(s, g.data<float>(), x.data<float>(),
                                  results.back().data<float>());
    }
    set_num_threads(0);
    expect_close({view::to(results[0], DType::f64)}, {want}, 1e-5);
    expect_same_bits({results[0]}, {results[1]});
  }
  EXPECT_EQ(checked, 8);
}

// y = activation(conv + bias + residual).
void expect_epilogue_in_order(const Geometry& c, ForwardKernel forward) {
  SCOPED_TRACE(label(c));
  const Shape ys = conv_output_shape(c.x, c.w, c.options);
  const conv::ConvShape s = conv::make_shape(c.x, c.w, ys, c.options);
  const Tensor x = random<float>("x", c.x), w = random<float>("w", c.w);
  const Tensor bias = random<float>("bias", {s.o}), residual = random<float>("residual", ys);
  const Tensor sum = view::to(reference_conv2d(x, w, bias, c.options), DType::f32);
  for (const Activation activation : {Activation::none, Activation::relu, Activation::relu6}) {
    Tensor y = empty(ys);
    forward(s, x.data<float>(), w, {bias, residual, activation}, y.data<float>());
    const conv::Clamp<float> clamp(activation);
    for (int64_t i = 0; i < y.numel(); ++i) {
      const float want = clamp(sum.data<float>()[i] + residual.data<float>()[i]);
      ASSERT_NEAR(y.data<float>()[i], want, 1e-4);
    }
  }
}

TEST(ConvPointwise, EpilogueInOrder) {
  for (const Geometry& c : pointwise_geometries())
    expect_epilogue_in_order(c, conv::pointwise::forward);
}

std::vector<Geometry> winograd_geometries() {
  return {
      {{2, 9, 11, 19}, {37, 3, 3, 19}, {.padding = 1}},  // tails of tiles, lanes and panels
      {{1, 1, 1, 16}, {16, 3, 3, 16}, {.padding = 1}},   // smaller than a tile
      {{3, 3, 3, 5}, {7, 3, 3, 5}, {}},                  // one output pixel
      {{1, 2, 13, 33}, {64, 3, 3, 33}, {.padding = {2, 0}}},
      {{2, 8, 7, 130}, {200, 3, 3, 130}, {.padding = {0, 2}}},
      {{5, 14, 14, 64}, {96, 3, 3, 64}, {.padding = 1}},
      {{8, 30, 30, 48}, {16, 3, 3, 48}, {.padding = 1}},  // several blocks of tiles
  };
}

// The bound is what the header promises; a direct sum's is 1e-5 above.
TEST(ConvWinograd, MatchesPlain) {
  for (const Geometry& c : winograd_geometries()) {
    SCOPED_TRACE(label(c));
    const Shape ys = conv_output_shape(c.x, c.w, c.options);
    ASSERT_TRUE(conv::winograd::applies(conv::make_shape(c.x, c.w, ys, c.options)));
    expect_close(run_winograd(c), TESSERA_RUN(double, plain, c), 3e-5);
  }
}

TEST(ConvWinograd, ResultDoesNotDependOnThreads) {
  expect_same_for_any_threads(winograd_geometries(), run_winograd);
}

TEST(ConvWinograd, EpilogueInOrder) {
  expect_epilogue_in_order(winograd_geometries()[0], conv::winograd::forward);
}

TEST(ConvWinograd, TakesOnlyItsShapes) {
  const auto applies = [](const Shape& w, const Conv2dOptions& options) {
    const Shape x{1, 20, 20, w[3] * options.groups};
    return conv::winograd::applies(
        conv::make_shape(x, w, conv_output_shape(x, w, options), options));
  };
  EXPECT_TRUE(applies({8, 3, 3, 8}, {.padding = 1}));
  EXPECT_FALSE(applies({8, 3, 3, 8}, {.padding = 3}));
  EXPECT_FALSE(applies({8, 3, 3, 8}, {.stride = {1, 2}}));
  EXPECT_FALSE(applies({8, 3, 3, 8}, {.dilation = 2}));
  EXPECT_FALSE(applies({8, 3, 3, 4}, {.groups = 2}));
  EXPECT_FALSE(applies({8, 3, 5, 8}, {}));
  // Few tiles for many filters: worth it only where the filters' transform is kept.
  const auto shape = [](int64_t n, int64_t size, int64_t channels) {
    return conv::make_shape({n, size, size, channels}, {channels, 3, 3, channels},
                            {n, size, size, channels}, {.padding = 1});
  };
  EXPECT_TRUE(conv::winograd::pays(shape(8, 56, 64), false));
  EXPECT_FALSE(conv::winograd::pays(shape(8, 7, 512), false));
  EXPECT_TRUE(conv::winograd::pays(shape(8, 7, 512), true));
  EXPECT_FALSE(conv::winograd::pays(shape(1, 7, 512), true));
  EXPECT_FALSE(conv::winograd::pays(shape(8, 56, 3), true));
}

// Packed weights follow in-place writes, end with their storage, and are told apart by offset.
TEST(ConvOnednn, PackedWeightsFollowTheirTensor) {
  const Conv2dOptions options{.padding = 1};
  const Tensor x = random<float>("x", {1, 8, 8, 32});
  const auto reference = [&](const Tensor& w) {
    return reference_conv2d(x, w, {}, options).to_vector<double>();
  };
  const auto expect_matches = [&](const Tensor& w) {
    const std::vector<double> got = conv2d(x, w, {}, options).to_vector<double>();
    const std::vector<double> want = reference(w);
    for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-3);
  };
  const int64_t before = cpu::packed_weight_count();
  {
    Tensor both = random<float>("w", {2, 32, 3, 3, 32});
    const Tensor first = view::select(both, 0, 0), second = view::select(both, 0, 1);
    expect_matches(first);
    expect_matches(second);
    EXPECT_EQ(cpu::packed_weight_count(), before);
    expect_matches(first);
    EXPECT_EQ(cpu::packed_weight_count(), before + 1);
    expect_matches(second);
    EXPECT_EQ(cpu::packed_weight_count(), before + 2);
    // Written before every use: no copy is kept. Used again unchanged: it is.
    for (int step = 0; step < 3; ++step) {
      copy_(both, random<float>(cat("step", step), both.shape()));
      expect_matches(first);
      expect_matches(second);
      EXPECT_EQ(cpu::packed_weight_count(), before);
    }
    expect_matches(first);
    expect_matches(second);
    EXPECT_EQ(cpu::packed_weight_count(), before + 2);
  }
  EXPECT_EQ(cpu::packed_weight_count(), before);
  // The front of a filter bank has its address, and not its shape.
  for (const int64_t size : {1, 3}) {
    const Tensor bank = random<float>("bank", {64, size, size, 32});
    const Tensor front = view::slice(bank, 0, 0, 32);
    for (int i = 0; i < 2; ++i) {
      expect_matches(front);
      expect_matches(front);
      expect_matches(bank);
      expect_matches(bank);
    }
  }
  EXPECT_EQ(cpu::packed_weight_count(), before);
  // Copies of weights that are gone do not pile up, whether counted or not.
  const int64_t live = cpu_allocator().stats().live;
  for (int i = 0; i < 20; ++i)
    conv2d(x, random<float>(cat("gone", i), {32, 3, 3, 32}), {}, options);
  EXPECT_LE(cpu_allocator().stats().live, live);
  // New weights in every call, most likely at a recycled address.
  for (int i = 0; i < 100; ++i) {
    const Tensor w = random<float>(cat("w", i), {32, 3, 3, 32});
    if (i % 20 == 0) {
      expect_matches(w);
    } else {
      conv2d(x, w, {}, options);
    }
  }
  EXPECT_EQ(cpu::packed_weight_count(), before);
}

#endif

}  // namespace
}  // namespace tessera::testing
