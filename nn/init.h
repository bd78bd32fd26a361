#pragma once

#include <cstdint>

#include "tensor/generator.h"
#include "tensor/tensor.h"

namespace tessera::nn::init {

// Fill a tensor in place from a generator, unrecorded. Weights are (out, in) or OHWI filters; fans
// are torch's: fan_in = elements / out, fan_out = out * KH * KW (per group).

/// While one lives, the functions below leave the tensors on its thread as they are and only move
/// the generator on, as if they had drawn: for a network whose weights come from a file or are
/// drawn by other rules once it is built, and for one that is only measured. What is drawn
/// afterwards does not depend on it. They nest.
class Skip {
 public:
  Skip() { ++depth_; }
  ~Skip() { --depth_; }
  Skip(const Skip&) = delete;
  Skip& operator=(const Skip&) = delete;
  static bool active() { return depth_ > 0; }

 private:
  static inline thread_local int depth_ = 0;
};

/// An f32 tensor that one of the functions below is going to fill: undefined values, or zeros while
/// a Skip lives.
Tensor blank(const Shape& shape);

enum class Fan { in, out };

struct Fans {
  int64_t in, out;
};
/// Throws ShapeError for tensors of fewer than two axes.
Fans fans(const Tensor& weight);
/// Gains of torch.nn.init.calculate_gain.
double gain_relu();
double gain_leaky_relu(double slope);
double gain_tanh();

void constant_(Tensor weight, double value);
void uniform_(Tensor weight, double lo, double hi, Generator& generator = default_generator());
void normal_(Tensor weight, double mean, double stddev, Generator& generator = default_generator());
/// Normal redrawn outside [lo, hi] (absolute values), by the inverse of the distribution function.
void trunc_normal_(Tensor weight, double mean, double stddev, double lo, double hi,
                   Generator& generator = default_generator());
/// Uniform in +-1 / sqrt(fan_in): what torch's linear and convolution layers start from, biases
/// too. `fan_in` is the weight's.
void fan_in_uniform_(Tensor tensor, int64_t fan_in, Generator& generator = default_generator());
/// std = gain / sqrt(fan). He et al., arXiv 1502.01852.
void kaiming_normal_(Tensor weight, Fan fan = Fan::in, double gain = gain_relu(),
                     Generator& generator = default_generator());
/// bound = gain * sqrt(3 / fan).
void kaiming_uniform_(Tensor weight, Fan fan = Fan::in, double gain = gain_relu(),
                      Generator& generator = default_generator());
/// std = gain * sqrt(2 / (fan_in + fan_out)). Glorot and Bengio, 2010.
void xavier_normal_(Tensor weight, double gain = 1, Generator& generator = default_generator());
void xavier_uniform_(Tensor weight, double gain = 1, Generator& generator = default_generator());
/// (Semi-)orthogonal rows or columns of the matrix (out, rest), by QR of a normal matrix with the
/// signs of R's diagonal. Saxe et al., arXiv 1312.6120.
void orthogonal_(Tensor weight, double gain = 1, Generator& generator = default_generator());

}  // namespace tessera::nn::init
