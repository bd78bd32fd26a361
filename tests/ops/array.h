#pragma once

#include <functional>
#include <vector>

#include "tests/ops/op_case.h"

namespace tessera::testing {

/// A float64 array addressed by coordinates, for references written the obvious way.
struct Array {
  Shape shape;
  std::vector<double> v;

  explicit Array(const Shape& s) : shape(s), v(static_cast<size_t>(numel(s)), 0.0) {}
  explicit Array(const Tensor& t) : shape(t.shape()), v(t.to_vector<double>()) {}

  double& at(const Dims& i) { return v[offset(i)]; }
  double at(const Dims& i) const { return v[offset(i)]; }
  Tensor tensor() const { return from_vector(v, shape); }

  /// Calls fn for every coordinate in row-major order.
  static void for_each(const Shape& shape, const std::function<void(const Dims&)>& fn) {
    const int64_t n = numel(shape);
    const Strides step = contiguous_strides(shape);
    for (int64_t k = 0; k < n; ++k) {
      Dims i;
      for (int d = 0; d < shape.rank(); ++d) i.push_back(k / step[d] % shape[d]);
      fn(i);
    }
  }
  /// An array with fn(coordinate) everywhere.
  static Array make(const Shape& shape, const std::function<double(const Dims&)>& fn) {
    Array a(shape);
    size_t k = 0;
    for_each(shape, [&](const Dims& i) { a.v[k++] = fn(i); });
    return a;
  }

 private:
  size_t offset(const Dims& i) const {
    int64_t at = 0;
    for (int d = 0; d < shape.rank(); ++d) at = at * shape[d] + i[d];
    return static_cast<size_t>(at);
  }
};

}  // namespace tessera::testing
