#pragma once

#include <algorithm>
#include <array>

#include "tensor/parallel.h"
#include "tensor/shape.h"

namespace tessera {

/// A loop over one shape with N operands of given strides, in as few axes as possible.
template <int N>
struct StridedLoop {
  Shape shape;  // at least one axis
  std::array<Strides, N> strides;

  /// Drops axes of size 1 and merges neighbours that every operand walks in one stride. Operand
  /// strides are of `shape`'s rank; broadcast axes have stride 0.
  StridedLoop(const Shape& full, const std::array<Strides, N>& operand) {
    for (int axis = 0; axis < full.rank(); ++axis) {
      if (full[axis] == 1) continue;
      const int last = shape.rank() - 1;
      bool merge = last >= 0;
      for (int i = 0; merge && i < N; ++i)
        merge = strides[i][last] == operand[i][axis] * full[axis];
      if (merge) {
        shape[last] *= full[axis];
        for (int i = 0; i < N; ++i) strides[i][last] = operand[i][axis];
      } else {
        shape.push_back(full[axis]);
        for (int i = 0; i < N; ++i) strides[i].push_back(operand[i][axis]);
      }
    }
    if (shape.empty()) {
      shape.push_back(1);
      for (int i = 0; i < N; ++i) strides[i].push_back(0);
    }
  }

  int64_t inner() const { return shape.back(); }
  int64_t inner_stride(int operand) const { return strides[operand].back(); }

  /// body(offsets, count): the innermost run of `count` elements starting at `offsets` (elements,
  /// one per operand), stepping by inner_stride(i). Runs in parallel; every range of runs that one
  /// thread has been given ends with finish().
  template <class Body, class Finish>
  void run(Body&& body, int64_t grain, const Finish& finish) const {
    const int64_t total = numel(shape);
    if (total == 0) return;
    const int64_t run_length = inner();
    parallel_for(0, total, grain, [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t first = begin % run_length;
        const int64_t count = std::min(end - begin, run_length - first);
        std::array<int64_t, N> offsets;
        for (int i = 0; i < N; ++i) offsets[i] = first * inner_stride(i);
        int64_t rest = begin / run_length;
        for (int axis = shape.rank() - 2; axis >= 0; --axis) {
          const int64_t index = rest % shape[axis];
          rest /= shape[axis];
          for (int i = 0; i < N; ++i) offsets[i] += index * strides[i][axis];
        }
        body(offsets, count);
        begin += count;
      }
      finish();
    });
  }
  template <class Body>
  void run(Body&& body, int64_t grain = 16384) const {
    run(body, grain, [] {});
  }
};

}  // namespace tessera
