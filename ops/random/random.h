#pragma once

#include "tensor/generator.h"
#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

// Tensors of random numbers from an explicit counter-based generator. Every function reserves what
// it needs and leaves the generator behind it, so the values are a function of (seed, stream,
// block) and the shape alone: the same bits on every device and for any number of threads. No
// gradient. f32 and f64 (DTypeError otherwise).
//
// With w[j] = word j % 4 of block `first + j / 4` (Generator::reserve), element i of the row-major
// result uses
//   "a word"      w[i]
//   "two words"   w[2i] (high half) and w[2i + 1] (low half)

struct UniformOptions {
  double lo = 0, hi = 1;
  DType dtype = DType::f32;
  Device device = kCpu;
};
/// Uniform in [lo, hi). f32: lo + (hi - lo) * u, u = the upper 24 bits of a word / 2^24; f64: the
/// upper 53 bits of two words / 2^53. Computed in f64 and then rounded; a result that rounds up to
/// hi becomes the next value below. Throws ValueError unless lo < hi are finite.
Tensor rand(const Shape& shape, Generator& generator, const UniformOptions& options = {});

struct NormalOptions {
  double mean = 0, stddev = 1;
  DType dtype = DType::f32;
  Device device = kCpu;
};
/// Normal, by Box and Muller's method in f64: elements 2k and 2k + 1 are r cos(2 pi v) and
/// r sin(2 pi v) with r = sqrt(-2 ln u). f32: u = (w[2k] + 1) / 2^32, v = w[2k + 1] / 2^32. f64: u
/// = 1 - (53 bits of w[4k], w[4k + 1]) / 2^53, v = (53 bits of w[4k + 2], w[4k + 3]) / 2^53. Throws
/// ValueError for a negative stddev.
Tensor randn(const Shape& shape, Generator& generator, const NormalOptions& options = {});

/// Normal, cut to [lo, hi] by the inverse of the distribution function, in f64: one uniform number,
/// (w[i] + 0.5) / 2^32 for f32 and (53 bits of two words + 0.5) / 2^53 for f64. lo and hi are
/// values, not multiples of stddev. Throws ValueError unless lo < hi and stddev > 0.
Tensor trunc_normal(const Shape& shape, Generator& generator, double mean = 0, double stddev = 1,
                    double lo = -2, double hi = 2, DType dtype = DType::f32, Device device = kCpu);

/// i64, uniform in [lo, hi): lo + the upper 64 bits of (two words * (hi - lo)). The bias is below
/// (hi - lo) / 2^64. Throws ValueError unless lo < hi.
Tensor randint(int64_t lo, int64_t hi, const Shape& shape, Generator& generator,
               Device device = kCpu);

/// 1 with probability p, otherwise 0: whether the upper 24 bits of a word / 2^24 are below p. Any
/// dtype. Throws ValueError for p outside [0, 1].
Tensor bernoulli(double p, const Shape& shape, Generator& generator, DType dtype = DType::f32,
                 Device device = kCpu);
/// The same with a probability per element; result in the dtype of `probabilities` (f32 or f64),
/// not differentiated. Values outside [0, 1] act as 0 or 1, NaN as 0.
Tensor bernoulli(const Tensor& probabilities, Generator& generator);

/// The same numbers into memory that is there: what rand, randn and trunc_normal of y's shape and
/// dtype give, whatever y's strides. Not recorded. `options.dtype` and `options.device` are not
/// looked at.
void rand_(Tensor& y, Generator& generator, const UniformOptions& options = {});
void randn_(Tensor& y, Generator& generator, const NormalOptions& options = {});
void trunc_normal_(Tensor& y, Generator& generator, double mean = 0, double stddev = 1,
                   double lo = -2, double hi = 2);

/// A permutation of 0 ... n - 1, i64: the order of n keys of two words each, ties by position.
Tensor randperm(int64_t n, Generator& generator, Device device = kCpu);

/// The reserved part of a generator's sequence that one call uses.
struct RandomDraw {
  uint64_t seed = 0, stream = 0, block = 0;
  /// Reserves `words` words of `generator`.
  static RandomDraw reserve(Generator& generator, int64_t words);
};

namespace kernel {
// y is contiguous.
extern KernelSlot<void(const RandomDraw&, double lo, double hi, Tensor& y)> random_uniform;
extern KernelSlot<void(const RandomDraw&, double mean, double stddev, Tensor& y)> random_normal;
extern KernelSlot<void(const RandomDraw&, double mean, double stddev, double lo, double hi,
                       Tensor& y)>
    random_trunc_normal;
extern KernelSlot<void(const RandomDraw&, int64_t lo, uint64_t range, Tensor& y)> random_int;
/// probabilities: contiguous, one (f64) or as many as y has elements (y's dtype).
extern KernelSlot<void(const RandomDraw&, const Tensor& probabilities, Tensor& y)> random_bernoulli;
extern KernelSlot<void(const RandomDraw&, Tensor& y)> random_permutation;
}  // namespace kernel

}  // namespace tessera
