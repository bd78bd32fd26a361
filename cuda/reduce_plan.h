#pragma once

#include <algorithm>
#include <vector>

#include "cuda/index.h"
#include "tensor/view.h"

/// How cuda::reduce sees a tensor: which axes are kept and which combined, in as few as possible.
namespace tessera::cuda {

/// Some axes of a tensor, the last one fastest, and two strides each: `in` of the tensor itself,
/// `out` of the result (0 for the axes that are combined). Several axes have less than 2^31
/// elements.
struct ReduceAxes {
  int rank = 1;
  int64_t count = 1;  // product of the sizes
  int64_t size[8] = {1};
  int64_t in[8] = {}, out[8] = {};
  Divider divider[8];

  /// Adds the offsets of element i < count.
  TESSERA_HD void locate(int64_t i, int64_t& x, int64_t& y) const {
    if (rank > 1) {
      auto rest = static_cast<uint32_t>(i);
      for (int axis = rank - 1; axis > 0; --axis) {
        uint32_t coordinate = rest;
        rest = divider[axis].split(coordinate);
        x += int64_t{coordinate} * in[axis];
        y += int64_t{coordinate} * out[axis];
      }
      i = rest;
    }
    x += i * in[0];
    y += i * out[0];
  }
  int64_t inner() const { return size[rank - 1]; }
};

struct ReduceView {
  ReduceAxes kept, reduced;
  bool rows = true;  // the fastest axis of x is combined, otherwise kept
};

namespace detail {

struct ReduceAxis {
  int64_t size, in, out;
};

// Sorted by descending stride, axes along which nothing moves first; neighbours merged.
inline ReduceAxes merge_axes(std::vector<ReduceAxis> axes) {
  const auto rank_of = [](const ReduceAxis& a) { return a.in == 0 ? INT64_MAX : a.in; };
  std::stable_sort(axes.begin(), axes.end(), [&](const ReduceAxis& a, const ReduceAxis& b) {
    return rank_of(a) > rank_of(b);
  });
  ReduceAxes merged;
  merged.rank = 0;
  for (const ReduceAxis& a : axes) {
    const int last = merged.rank - 1;
    merged.count *= a.size;
    if (last >= 0 && merged.in[last] == a.in * a.size && merged.out[last] == a.out * a.size) {
      merged.size[last] *= a.size;
      merged.in[last] = a.in;
      merged.out[last] = a.out;
    } else {
      merged.size[merged.rank] = a.size;
      merged.in[merged.rank] = a.in;
      merged.out[merged.rank++] = a.out;
    }
  }
  if (merged.rank == 0) merged.rank = 1;  // one element
  return merged;
}

inline ReduceView view_axes(const Tensor& x, const Shape& kept) {
  std::vector<detail::ReduceAxis> stay, go;
  int64_t out = 1;
  for (int axis = x.rank() - 1; axis >= 0; --axis) {
    const int64_t size = x.shape()[axis], stride = x.strides()[axis];
    if (size == 1) continue;
    if (kept[axis] == 1) {
      go.push_back({size, stride, 0});
    } else {
      stay.push_back({size, stride, out});
      out *= size;
    }
  }
  std::reverse(stay.begin(), stay.end());
  std::reverse(go.begin(), go.end());
  ReduceView v{detail::merge_axes(stay), detail::merge_axes(go), true};
  const int64_t fast_kept = v.kept.in[v.kept.rank - 1];
  const int64_t fast_reduced = v.reduced.in[v.reduced.rank - 1];
  v.rows = fast_kept == 0 || (fast_reduced != 0 && fast_reduced < fast_kept);
  return v;
}

}  // namespace detail

/// x, not empty, with the axes combined along which the contiguous result of shape `kept` has size
/// 1 and x has not. Copies x where its axes would have to be counted in 64 bits.
inline ReduceView view_reduction(Tensor& x, const Shape& kept) {
  const ReduceView v = detail::view_axes(x, kept);
  const auto countable = [](const ReduceAxes& a) { return a.rank == 1 || a.count < INT32_MAX; };
  if (countable(v.kept) && countable(v.reduced)) return v;
  Dims order, reduced;
  Shape permuted;
  for (int axis = 0; axis < x.rank(); ++axis) (kept[axis] == 1 ? reduced : order).push_back(axis);
  for (int64_t axis : reduced) order.push_back(axis);
  for (int64_t axis : order) permuted.push_back(kept[static_cast<int>(axis)]);
  x = view::contiguous(view::permute(x, order));
  return detail::view_axes(x, permuted);
}

/// The same axes in steps of `vector` neighbours along the last one; a rest is left out.
inline ReduceAxes in_packs(ReduceAxes a, int vector) {
  const int last = a.rank - 1;
  a.size[last] /= vector;
  a.in[last] *= vector;
  a.out[last] *= vector;
  a.count = 1;
  for (int axis = 0; axis < a.rank; ++axis) a.count *= a.size[axis];
  for (int axis = 1; axis < a.rank; ++axis) a.divider[axis] = Divider(a.size[axis]);
  return a;
}

/// Whether packs of `vector` elements along the last axis of `along` lie together and aligned
/// wherever the axes of both lead. A last axis that is no multiple leaves a rest, which is allowed
/// where it is the only axis and `rest` says so.
inline bool packs_along(const ReduceAxes& along, const ReduceAxes& other, const void* data,
                        int64_t element, int vector, bool rest) {
  const int last = along.rank - 1;
  if (along.in[last] != 1 || along.inner() < vector) return false;
  if (along.inner() % vector != 0 && !(rest && along.rank == 1)) return false;
  if (reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(element * vector) != 0)
    return false;
  for (int axis = 0; axis < last; ++axis)
    if (along.in[axis] % vector != 0) return false;
  for (int axis = 0; axis < other.rank; ++axis)
    if (other.size[axis] > 1 && other.in[axis] % vector != 0) return false;
  return true;
}

}  // namespace tessera::cuda
