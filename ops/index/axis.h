#pragma once

#include <string_view>

#include "tensor/tensor.h"

// Helpers of the index operators' CPU kernels.
namespace tessera::index {

/// A contiguous tensor seen from one axis.
struct AxisView {
  int64_t outer = 1, size = 1, inner = 1;
};
inline AxisView around(const Shape& shape, int axis) {
  AxisView v;
  for (int i = 0; i < shape.rank(); ++i)
    (i < axis ? v.outer : i == axis ? v.size : v.inner) *= shape[i];
  return v;
}

/// Calls fn.operator()<Word>() with the unsigned integer as wide as one element: moving data needs
/// no arithmetic type.
template <class Fn>
void dispatch_width(DType dtype, Fn&& fn) {
  switch (size_of(dtype)) {
    case 8:
      return fn.template operator()<uint64_t>();
    case 4:
      return fn.template operator()<uint32_t>();
    case 2:
      return fn.template operator()<uint16_t>();
    default:
      return fn.template operator()<uint8_t>();
  }
}

/// Throws DTypeError unless `index` is i64.
void check_index_dtype(const Tensor& index, std::string_view op);
/// Throws ValueError naming the first value outside [0, size) and its position. `index` is on the
/// host.
void check_index_range(const Tensor& index, int64_t size, std::string_view op);

}  // namespace tessera::index
