// batch_norm with a residual and an activation.

#include <cmath>

#include "ops/norm/batch_norm.h"
#include "tests/ops/norm/norm_reference.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

constexpr Activation kActivations[] = {Activation::none, Activation::relu, Activation::relu6};

double activate64(double v, Activation activation) {
  if (activation == Activation::none) return v;
  return activation == Activation::relu ? std::max(v, 0.0) : std::min(std::max(v, 0.0), 6.0);
}

// norm64 or, with statistics, (x - mean) / sqrt(var + eps) * weight + bias, and the epilogue.
Tensor reference(const Tensors& in, bool training, bool residual, Activation activation) {
  const int64_t channels = in[0].size(-1);
  std::vector<double> v;
  if (training) {
    v = norm64(in[0], 1, channels, 1, 1e-5, in[1], in[2]).to_vector<double>();
  } else {
    v = in[0].to_vector<double>();
    const auto weight = in[1].to_vector<double>(), bias = in[2].to_vector<double>();
    const auto mean = in[3].to_vector<double>(), var = in[4].to_vector<double>();
    for (size_t i = 0; i < v.size(); ++i) {
      const size_t c = i % static_cast<size_t>(channels);
      v[i] = (v[i] - mean[c]) / std::sqrt(var[c] + 1e-5) * weight[c] + bias[c];
    }
  }
  const std::vector<double> r = residual ? in[5].to_vector<double>() : std::vector<double>{};
  for (size_t i = 0; i < v.size(); ++i)
    v[i] = activate64(residual ? v[i] + r[i] : v[i], activation);
  return from_vector(v, in[0].shape());
}

// Weights of 4 carry elements past both bounds of relu6. The hashed values stay clear of the kinks
// by more than the step of the numeric derivatives.
void add_case(OpCaseList& cases, const Shape& shape, bool training, bool residual,
              Activation activation, int order) {
  const Shape channels{shape.back()};
  const char* names[] = {"none", "relu", "relu6"};
  cases.add({.name = cat("batch_norm_", training ? "train_" : "eval_",
                         names[static_cast<int>(activation)], residual ? "_residual" : "", shape),
             .inputs = {{.shape = shape, .lo = -2, .hi = 3},
                        {.shape = channels, .lo = 3, .hi = 5},
                        {.shape = channels, .lo = 0, .hi = 3},
                        {.shape = channels, .differentiable = false},
                        {.shape = channels, .lo = 0.5, .hi = 1.5, .differentiable = false},
                        {.shape = shape, .differentiable = residual}},
             .run =
                 [=](const Tensors& in) {
                   const NormEpilogue epilogue{residual ? in[5] : Tensor(), activation};
                   const Tensor none;
                   return Tensors{
                       training ? batch_norm(in[0], in[1], in[2], none, none, {.training = true},
                                             epilogue)
                                : batch_norm(in[0], in[1], in[2], in[3], in[4], {}, epilogue)};
                 },
             .reference =
                 [=](const Tensors& in) {
                   return Tensors{reference(in, training, residual, activation)};
                 },
             .order = order,
             .f32_tolerance = 4});
}

}  // namespace

TESSERA_OP_CASES(batch_norm_epilogue) {
  for (const bool training : {true, false})
    for (const bool residual : {false, true})
      for (const Activation activation : kActivations) {
        if (!residual && activation == Activation::none) continue;
        for (const Shape& s : {Shape{3, 2, 3, 5}, Shape{7, 3}, Shape{2, 1, 1, 17}})
          add_case(cases, s, training, residual, activation, 2);
        // Several blocks of statistics with a short last one, in f32 and f64.
        for (const Shape& s : {Shape{3, 5, 7, 600}, Shape{1, 71, 70, 3}})
          add_case(cases, s, training, residual, activation, 0);
      }
  for (const Activation activation : kActivations)
    add_case(cases, {0, 2, 2, 3}, false, true, activation, 2);

  const auto call = [](const Tensor& residual) {
    batch_norm(zeros({2, 3}), {}, {}, {}, {}, {.training = true}, {.residual = residual});
  };
  cases.add_error<ShapeError>("batch_norm_residual_shape",
                              [=] {
                                call(zeros({1, 3}));
                              },
                              {"batch_norm", "residual [1, 3]", "[2, 3]"});
  cases.add_error<DTypeError>("batch_norm_residual_dtype",
                              [=] {
                                call(zeros({2, 3}, DType::f16));
                              },
                              {"batch_norm", "residual is f16", "f32"});
}
