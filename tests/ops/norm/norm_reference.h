#pragma once

#include <cmath>

#include "tests/ops/op_case.h"

namespace tessera::testing {

/// (x - mean) / sqrt(var + eps) * weight + bias in f64, x seen as (batch, spatial, channels) with
/// one mean and biased variance per batch entry and run of `group` channels. weight and bias may be
/// undefined; the statistics are written to mean and var, one after the other.
inline Tensor norm64(const Tensor& x, int64_t batch, int64_t channels, int64_t group, double eps,
                     const Tensor& weight, const Tensor& bias, std::vector<double>* mean = nullptr,
                     std::vector<double>* var = nullptr) {
  std::vector<double> v = x.to_vector<double>();
  const std::vector<double> w =
      weight.defined() ? weight.to_vector<double>() : std::vector<double>(size_t(channels), 1.0);
  const std::vector<double> s =
      bias.defined() ? bias.to_vector<double>() : std::vector<double>(size_t(channels), 0.0);
  const int64_t total = static_cast<int64_t>(v.size());
  const int64_t spatial = total ? total / batch / channels : 0;
  for (int64_t b = 0; b < (total ? batch : 0); ++b)
    for (int64_t g = 0; g < channels / group; ++g) {
      auto at = [&](int64_t p, int64_t c) -> double& {
        return v[static_cast<size_t>((b * spatial + p) * channels + g * group + c)];
      };
      const double n = static_cast<double>(spatial * group);
      double m = 0, q = 0;
      for (int64_t p = 0; p < spatial; ++p)
        for (int64_t c = 0; c < group; ++c) m += at(p, c) / n;
      for (int64_t p = 0; p < spatial; ++p)
        for (int64_t c = 0; c < group; ++c) q += (at(p, c) - m) * (at(p, c) - m) / n;
      for (int64_t p = 0; p < spatial; ++p)
        for (int64_t c = 0; c < group; ++c) {
          const auto channel = static_cast<size_t>(g * group + c);
          at(p, c) = (at(p, c) - m) / std::sqrt(q + eps) * w[channel] + s[channel];
        }
      if (mean) mean->push_back(m);
      if (var) var->push_back(q);
    }
  return from_vector(v, x.shape());
}

}  // namespace tessera::testing
