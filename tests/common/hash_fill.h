#pragma once

#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

/// Deterministic values that need no file: each is a hash of a tensor's name and the element's
/// index, the same bit for bit in every language that follows the rule. The golden results were
/// computed from these values.
namespace tessera::testing {

/// FNV-1a, 64 bits, of the name's bytes.
inline uint64_t hash_key(std::string_view name) {
  uint64_t key = 0xCBF29CE484222325u;
  for (const char c : name) key = (key ^ static_cast<uint8_t>(c)) * 0x100000001B3u;
  return key;
}

/// Element i of the tensor with this key: splitmix64, cut to a multiple of 2^-24 in [0, 1).
inline double hash_unit_at(uint64_t key, uint64_t i) {
  uint64_t z = key + (i + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  z ^= z >> 31;
  return static_cast<double>(z >> 40) / 16777216.0;
}

inline std::vector<double> hash_unit(std::string_view name, int64_t count) {
  const uint64_t key = hash_key(name);
  std::vector<double> out(static_cast<size_t>(count));
  for (size_t i = 0; i < out.size(); ++i) out[i] = hash_unit_at(key, i);
  return out;
}

/// Uniform float32 values in [lo, hi).
inline std::vector<float> hash_uniform(std::string_view name, int64_t count, double lo = -1,
                                       double hi = 1) {
  const uint64_t key = hash_key(name);
  std::vector<float> out(static_cast<size_t>(count));
  for (size_t i = 0; i < out.size(); ++i) {
    // The rule rounds the product; volatile keeps it out of a fused multiply-add.
    const volatile double scaled = (hi - lo) * hash_unit_at(key, i);
    out[i] = static_cast<float>(lo + scaled);
  }
  return out;
}

/// The value of one state-dict entry, from its torch name (with any salt in front) and torch shape:
///   num_batches_tracked  0               running_var   [0.5, 1.5)
///   running_mean, bias   [-0.1, 0.1)     weight of one axis (a norm's scale)  [0.5, 1.5)
///   two or more axes     [-a, a), a = sqrt(6 / product of all axes but the first)
///   anything else        [-0.1, 0.1)
inline std::vector<float> hash_parameter(std::string_view name, const std::vector<int64_t>& shape) {
  const auto product = [](auto begin, auto end) {
    return std::accumulate(begin, end, int64_t{1}, [](int64_t a, int64_t b) { return a * b; });
  };
  const int64_t count = product(shape.begin(), shape.end());
  if (name.ends_with("num_batches_tracked"))
    return std::vector<float>(static_cast<size_t>(count), 0.0f);
  if (name.ends_with("running_var")) return hash_uniform(name, count, 0.5, 1.5);
  if (name.ends_with("running_mean") || name.ends_with("bias"))
    return hash_uniform(name, count, -0.1, 0.1);
  if (shape.size() >= 2) {
    const int64_t fan_in = product(shape.begin() + 1, shape.end());
    const double a = std::sqrt(6.0 / static_cast<double>(fan_in));
    return hash_uniform(name, count, -a, a);
  }
  if (name.ends_with("weight")) return hash_uniform(name, count, 0.5, 1.5);
  return hash_uniform(name, count, -0.1, 0.1);
}

}  // namespace tessera::testing
