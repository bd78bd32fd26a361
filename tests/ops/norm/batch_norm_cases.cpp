#include "ops/norm/batch_norm.h"

#include <cmath>

#include "tests/ops/norm/norm_reference.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

void add_training(OpCaseList& cases, const std::string& name, const OpInput& x, double eps,
                  int order = 2, double tolerance = 1) {
  const int64_t channels = x.shape.back();
  cases.add({.name = name,
             .inputs = {x, {.shape = {channels}, .lo = 0.5, .hi = 1.5}, {.shape = {channels}}},
             .run =
                 [eps](const Tensors& in) {
                   return Tensors{
                       batch_norm(in[0], in[1], in[2], {}, {}, {.training = true, .eps = eps})};
                 },
             .reference =
                 [=](const Tensors& in) {
                   return Tensors{norm64(in[0], 1, channels, 1, eps, in[1], in[2])};
                 },
             .order = order,
             .f32_tolerance = tolerance,
             .bytes = 12 * numel(x.shape)});
}

double affine_eval(double x, double mean, double var, double w, double b) {
  return (x - mean) / std::sqrt(var + 1e-5) * w + b;
}

void add_evaluation(OpCaseList& cases, const Shape& shape) {
  const int64_t channels = shape.back();
  cases.add(
      {.name = cat("batch_norm_eval", shape),
       .inputs = {{.shape = shape, .lo = -2, .hi = 3},
                  {.shape = {channels}, .lo = 0.5, .hi = 1.5},
                  {.shape = {channels}},
                  {.shape = {channels}, .lo = -0.5, .hi = 0.5, .differentiable = false},
                  {.shape = {channels}, .lo = 0.5, .hi = 1.5, .differentiable = false}},
       .run =
           [](const Tensors& in) { return Tensors{batch_norm(in[0], in[1], in[2], in[3], in[4])}; },
       .reference =
           [channels](const Tensors& in) {
             std::vector<double> v = in[0].to_vector<double>();
             std::vector<double> p[4];
             for (size_t i = 0; i < 4; ++i) p[i] = in[i + 1].to_vector<double>();
             for (size_t i = 0; i < v.size(); ++i) {
               const size_t c = i % static_cast<size_t>(channels);
               v[i] = affine_eval(v[i], p[2][c], p[3][c], p[0][c], p[1][c]);
             }
             return Tensors{from_vector(v, in[0].shape())};
           }});
}

Tensors train_and_return_running(const Tensor& x, const Tensor& mean, const Tensor& var) {
  const Tensor m = view::clone(mean), v = view::clone(var);
  Tensor y = batch_norm(x, {}, {}, m, v, {.training = true, .momentum = 0.3});
  return {y, m, v};
}

}  // namespace

TESSERA_OP_CASES(batch_norm) {
  for (const Shape& s : {Shape{3, 5, 4, 6}, Shape{7, 6}, Shape{2, 1}, Shape{2, 3, 5},
                         Shape{2, 1, 1, 17}, Shape{1, 2, 2, 33}, Shape{5, 3, 3, 1}})
    add_training(cases, cat("batch_norm_train", s), {.shape = s, .lo = -2, .hi = 3}, 1e-5, 2, 4);
  add_training(cases, "batch_norm_train_eps", {.shape = {3, 2, 4, 6}, .lo = -2, .hi = 3}, 1e-3);
  // More than one block of statistics; wide and narrow; a mean far from zero.
  add_training(cases, "batch_norm_train_wide", {.shape = {3, 5, 7, 600}}, 1e-5, 0);
  add_training(cases, "batch_norm_train_narrow", {.shape = {1, 71, 70, 3}}, 1e-5, 0);
  // The mean is kept in f32: two ulps of 1000 over a deviation of 0.3 are 4e-4.
  add_training(cases, "batch_norm_train_far_mean",
               {.shape = {4, 13, 13, 37}, .lo = 1000, .hi = 1001}, 1e-5, 0, 16);
  for (const Shape& s : {Shape{3, 5, 4, 6}, Shape{1, 1, 1, 5}, Shape{4, 3}, Shape{0, 2, 2, 3}})
    add_evaluation(cases, s);
  cases.add({.name = "batch_norm_no_affine",
             .inputs = {{.shape = {3, 4, 5}}},
             .run =
                 [](const Tensors& in) {
                   return Tensors{batch_norm(in[0], {}, {}, {}, {}, {.training = true})};
                 },
             .reference =
                 [](const Tensors& in) { return Tensors{norm64(in[0], 1, 5, 1, 1e-5, {}, {})}; }});
  cases.add({.name = "batch_norm_running",
             .inputs = {{.shape = {3, 4, 5, 7}, .lo = -2, .hi = 3},
                        {.shape = {7}, .lo = -0.5, .hi = 0.5},
                        {.shape = {7}, .lo = 0.5, .hi = 1.5}},
             .run = [](const Tensors& in) { return train_and_return_running(in[0], in[1], in[2]); },
             .reference =
                 [](const Tensors& in) {
                   std::vector<double> mean, var;
                   const Tensor y = norm64(in[0], 1, 7, 1, 1e-5, {}, {}, &mean, &var);
                   const std::vector<double> m = in[1].to_vector<double>();
                   const std::vector<double> v = in[2].to_vector<double>();
                   for (size_t c = 0; c < 7; ++c) {
                     mean[c] = 0.7 * m[c] + 0.3 * mean[c];
                     var[c] = 0.7 * v[c] + 0.3 * var[c] * 60 / 59;
                   }
                   return Tensors{y, from_vector(mean), from_vector(var)};
                 },
             .order = 0});

  cases.add_error<ValueError>("batch_norm_one_value",
                              [] {
                                batch_norm(zeros({1, 1, 1, 3}), {}, {}, {}, {}, {.training = true});
                              },
                              {"batch_norm", "[1, 1, 1, 3]", "more than one value"});
  cases.add_error<ValueError>("batch_norm_no_statistics",
                              [] {
                                batch_norm(zeros({2, 3}), {}, {}, {}, {});
                              },
                              {"batch_norm", "running_mean"});
  cases.add_error<ShapeError>("batch_norm_weight",
                              [] {
                                batch_norm(zeros({2, 3}), ones({4}), {}, {}, {});
                              },
                              {"batch_norm", "weight [4]", "[2, 3]"});
  cases.add_error<ShapeError>("batch_norm_running_shape",
                              [] {
                                batch_norm(zeros({2, 3}), {}, {}, zeros({2}), ones({3}));
                              },
                              {"batch_norm", "running_mean [2]", "[2, 3]"});
  cases.add_error<ShapeError>("batch_norm_rank", [] { batch_norm(zeros({3}), {}, {}, {}, {}); },
                              {"batch_norm", "[3]"});
}
