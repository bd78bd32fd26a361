#include "nn/init.h"

#include <cmath>
#include <vector>

#include "ops/random/random.h"
#include "tensor/view.h"

namespace tessera::nn::init {
namespace {

double fan_of(const Tensor& weight, Fan fan) {
  const Fans f = fans(weight);
  return static_cast<double>(fan == Fan::in ? f.in : f.out);
}

// What the functions do under a Skip: drawing takes a word for an element of f32, two for f64.
bool skip(const Tensor& weight, Generator& generator) {
  if (!Skip::active()) return false;
  generator.reserve(static_cast<uint64_t>(weight.numel()) * (weight.dtype() == DType::f64 ? 2 : 1));
  return true;
}

}  // namespace

Tensor blank(const Shape& shape) { return Skip::active() ? zeros(shape) : empty(shape); }

Fans fans(const Tensor& weight) {
  TESSERA_CHECK(ShapeError, weight.rank() >= 2, "fans: needs at least two axes, got ",
                weight.shape());
  int64_t field = 1;
  for (int axis = 1; axis + 1 < weight.rank(); ++axis) field *= weight.shape()[axis];
  return {weight.shape().back() * field, weight.shape()[0] * field};
}

double gain_relu() { return std::sqrt(2.0); }
double gain_leaky_relu(double slope) { return std::sqrt(2.0 / (1 + slope * slope)); }
double gain_tanh() { return 5.0 / 3.0; }

void constant_(Tensor weight, double value) {
  if (!Skip::active()) fill_(weight, value);
}

void uniform_(Tensor weight, double lo, double hi, Generator& generator) {
  if (!skip(weight, generator)) rand_(weight, generator, {.lo = lo, .hi = hi});
}

void normal_(Tensor weight, double mean, double stddev, Generator& generator) {
  if (!skip(weight, generator)) randn_(weight, generator, {.mean = mean, .stddev = stddev});
}

void trunc_normal_(Tensor weight, double mean, double stddev, double lo, double hi,
                   Generator& generator) {
  if (!skip(weight, generator)) tessera::trunc_normal_(weight, generator, mean, stddev, lo, hi);
}

void fan_in_uniform_(Tensor tensor, int64_t fan_in, Generator& generator) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
  uniform_(tensor, -bound, bound, generator);
}

void kaiming_normal_(Tensor weight, Fan fan, double gain, Generator& generator) {
  normal_(weight, 0, gain / std::sqrt(fan_of(weight, fan)), generator);
}

void kaiming_uniform_(Tensor weight, Fan fan, double gain, Generator& generator) {
  const double bound = gain * std::sqrt(3.0 / fan_of(weight, fan));
  uniform_(weight, -bound, bound, generator);
}

void xavier_normal_(Tensor weight, double gain, Generator& generator) {
  const Fans f = fans(weight);
  normal_(weight, 0, gain * std::sqrt(2.0 / static_cast<double>(f.in + f.out)), generator);
}

void xavier_uniform_(Tensor weight, double gain, Generator& generator) {
  const Fans f = fans(weight);
  const double bound = gain * std::sqrt(6.0 / static_cast<double>(f.in + f.out));
  uniform_(weight, -bound, bound, generator);
}

// Modified Gram-Schmidt twice over the shorter side: orthogonal to rounding, and the diagonal of R
// is positive, which is the sign rule.
void orthogonal_(Tensor weight, double gain, Generator& generator) {
  TESSERA_CHECK(ShapeError, weight.rank() >= 2, "orthogonal_: needs at least two axes, got ",
                weight.shape());
  const int64_t rows = weight.shape()[0], columns = rows > 0 ? weight.numel() / rows : 0;
  const bool wide = rows <= columns;
  if (Skip::active()) {
    generator.reserve(4 * static_cast<uint64_t>(weight.numel()));  // a block for each number
    return;
  }
  const auto count = static_cast<size_t>(wide ? rows : columns);
  const auto length = static_cast<size_t>(wide ? columns : rows);
  std::vector<std::vector<double>> q(count, std::vector<double>(length));
  for (size_t i = 0; i < count; ++i) {
    std::vector<double>& v = q[i];
    for (double& e : v) e = generator.normal();
    for (int pass = 0; pass < 2; ++pass) {
      for (size_t j = 0; j < i; ++j) {
        double dot = 0;
        for (size_t k = 0; k < length; ++k) dot += v[k] * q[j][k];
        for (size_t k = 0; k < length; ++k) v[k] -= dot * q[j][k];
      }
      double norm = 0;
      for (double e : v) norm += e * e;
      norm = std::sqrt(norm);
      for (double& e : v) e /= norm;
    }
  }
  std::vector<double> flat(static_cast<size_t>(weight.numel()));
  for (size_t i = 0; i < count; ++i)
    for (size_t k = 0; k < length; ++k)
      flat[wide ? i * length + k : k * count + i] = gain * q[i][k];
  copy_(weight, from_vector(flat, weight.shape()));
}

}  // namespace tessera::nn::init
