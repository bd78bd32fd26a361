#include "ops/random/random.h"

#include <cmath>

#include "tensor/view.h"

namespace tessera {

namespace {

void check_dtype(DType dtype, std::string_view op) {
  TESSERA_CHECK(DTypeError, dtype == DType::f32 || dtype == DType::f64, op,
                ": makes f32 or f64, not ", dtype);
}
/// Words for n elements that take one word in f32 and two in f64.
int64_t words_for(int64_t n, DType dtype) { return dtype == DType::f64 ? 2 * n : n; }

/// Runs `kernel(draw, target)` on memory in row-major order: y's own or, where y is strided, beside
/// it.
template <class Kernel>
void draw_into(Tensor& y, Generator& generator, Kernel&& kernel) {
  const RandomDraw draw = RandomDraw::reserve(generator, words_for(y.numel(), y.dtype()));
  if (!y.is_contiguous()) {
    Tensor dense = empty_like(y);
    kernel(draw, dense);
    return copy_(y, dense);
  }
  kernel(draw, y);
  y.bump_version();
}

}  // namespace

RandomDraw RandomDraw::reserve(Generator& generator, int64_t words) {
  const Generator::State before = generator.state();
  return {before.seed, before.stream, generator.reserve(static_cast<uint64_t>(words))};
}

void rand_(Tensor& y, Generator& generator, const UniformOptions& o) {
  check_dtype(y.dtype(), "rand");
  TESSERA_CHECK(ValueError, std::isfinite(o.lo) && std::isfinite(o.hi) && o.lo < o.hi,
                "rand: needs finite lo < hi, got ", o.lo, " and ", o.hi);
  draw_into(y, generator, [&](const RandomDraw& draw, Tensor& out) {
    kernel::random_uniform(out.device(), draw, o.lo, o.hi, out);
  });
}

void randn_(Tensor& y, Generator& generator, const NormalOptions& o) {
  check_dtype(y.dtype(), "randn");
  TESSERA_CHECK(ValueError, o.stddev >= 0, "randn: stddev must not be negative, got ", o.stddev);
  draw_into(y, generator, [&](const RandomDraw& draw, Tensor& out) {
    kernel::random_normal(out.device(), draw, o.mean, o.stddev, out);
  });
}

void trunc_normal_(Tensor& y, Generator& generator, double mean, double stddev, double lo,
                   double hi) {
  check_dtype(y.dtype(), "trunc_normal");
  TESSERA_CHECK(ValueError, stddev > 0, "trunc_normal: stddev must be positive, got ", stddev);
  TESSERA_CHECK(ValueError, lo < hi, "trunc_normal: needs lo < hi, got ", lo, " and ", hi);
  draw_into(y, generator, [&](const RandomDraw& draw, Tensor& out) {
    kernel::random_trunc_normal(out.device(), draw, mean, stddev, lo, hi, out);
  });
}

Tensor rand(const Shape& shape, Generator& generator, const UniformOptions& o) {
  Tensor y = empty(shape, o.dtype, o.device);
  rand_(y, generator, o);
  return y;
}

Tensor randn(const Shape& shape, Generator& generator, const NormalOptions& o) {
  Tensor y = empty(shape, o.dtype, o.device);
  randn_(y, generator, o);
  return y;
}

Tensor trunc_normal(const Shape& shape, Generator& generator, double mean, double stddev, double lo,
                    double hi, DType dtype, Device device) {
  Tensor y = empty(shape, dtype, device);
  trunc_normal_(y, generator, mean, stddev, lo, hi);
  return y;
}

Tensor randint(int64_t lo, int64_t hi, const Shape& shape, Generator& generator, Device device) {
  TESSERA_CHECK(ValueError, lo < hi, "randint: needs lo < hi, got ", lo, " and ", hi);
  Tensor y = empty(shape, DType::i64, device);
  const RandomDraw draw = RandomDraw::reserve(generator, 2 * y.numel());
  kernel::random_int(y.device(), draw, lo, static_cast<uint64_t>(hi) - static_cast<uint64_t>(lo),
                     y);
  return y;
}

Tensor bernoulli(double p, const Shape& shape, Generator& generator, DType dtype, Device device) {
  TESSERA_CHECK(ValueError, p >= 0 && p <= 1, "bernoulli: p must be in [0, 1], got ", p);
  Tensor y = empty(shape, dtype, device);
  kernel::random_bernoulli(y.device(), RandomDraw::reserve(generator, y.numel()),
                           full({1}, p, DType::f64, device), y);
  return y;
}

Tensor bernoulli(const Tensor& probabilities, Generator& generator) {
  check_dtype(probabilities.dtype(), "bernoulli");
  Tensor y = empty_like(probabilities);
  kernel::random_bernoulli(y.device(), RandomDraw::reserve(generator, y.numel()),
                           view::contiguous(probabilities.detach()), y);
  return y;
}

Tensor randperm(int64_t n, Generator& generator, Device device) {
  TESSERA_CHECK(ValueError, n >= 0, "randperm: n must not be negative, got ", n);
  Tensor y = empty({n}, DType::i64, device);
  kernel::random_permutation(y.device(), RandomDraw::reserve(generator, 2 * n), y);
  return y;
}

}  // namespace tessera
