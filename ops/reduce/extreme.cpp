#include "ops/reduce/extreme.h"

#include "autograd/apply.h"
#include "ops/cpu/reduce.h"
#include "ops/index/view.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/comparison.h"
#include "ops/pointwise/where.h"
#include "ops/reduce/sum.h"

namespace tessera {
namespace {

template <bool kLargest>
void extreme_cpu(const Tensor& x, Tensor& y) {
  dispatch_number(x.dtype(), "amax", [&]<class T>() {
    cpu::reduce<T>(cpu::plan_reduction(x, y.shape()), reducers::Extreme<T, kLargest>{},
                   y.data<T>());
  });
}

// First i with x[i] equal to `value`, or NaN when value is; some i matches.
template <class T>
int64_t first_match(const T* x, compute_t<T> value, int64_t n) {
  constexpr int64_t kChunk = 64;
  for (int64_t begin = 0; begin < n; begin += kChunk) {
    const int64_t count = std::min(kChunk, n - begin);
    int found = 0;
    for (int64_t i = 0; i < count; ++i) {
      const auto v = static_cast<compute_t<T>>(x[begin + i]);
      found |= (v == value) | (v != v);
    }
    if (!found) continue;
    for (int64_t i = begin;; ++i) {
      const auto v = static_cast<compute_t<T>>(x[i]);
      if (v == value || v != v) return i;
    }
  }
  return 0;
}

void find_first_cpu(const Tensor& x, const Tensor& values, int axis, Tensor& indices) {
  Shape kept = x.shape();
  kept[axis] = 1;
  const cpu::ReducePlan plan = cpu::plan_reduction(x, kept);
  const int64_t length = plan.length, outputs = plan.outputs;
  int64_t* out = indices.data<int64_t>();
  dispatch_number(x.dtype(), "argmax", [&]<class T>() {
    const T* in = plan.x.data<T>();
    const T* best = values.data<T>();
    if (outputs == 1)
      return parallel_for(
          0, plan.batch, std::max<int64_t>(1, 16384 / length), [&](int64_t b, int64_t e) {
            for (; b < e; ++b)
              out[b] = first_match(in + b * length, static_cast<compute_t<T>>(best[b]), length);
          });
    constexpr int64_t kTile = 256;
    const int64_t tiles = (outputs + kTile - 1) / kTile;
    parallel_for(0, plan.batch * tiles, 1, [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t b = unit / tiles, column = unit % tiles * kTile;
        const int64_t width = std::min(kTile, outputs - column), at = b * outputs + column;
        // From the last row to the first, so that the first match stays.
        for (int64_t r = length - 1; r >= 0; --r) {
          const T* row = in + (b * length + r) * outputs + column;
          for (int64_t k = 0; k < width; ++k) {
            const auto v = static_cast<compute_t<T>>(row[k]);
            const bool match = (v == static_cast<compute_t<T>>(best[at + k])) | (v != v);
            out[at + k] = match ? r : out[at + k];
          }
        }
      }
    });
  });
}

void check_not_empty(const Tensor& x, int64_t count, std::string_view op) {
  TESSERA_CHECK(ShapeError, count > 0, op, ": no elements to choose from in ", x.shape());
}

template <bool kLargest>
Tensor extreme_values(const Tensor& x, const Shape& kept) {
  Tensor y = empty(kept, x.dtype(), x.device());
  if (y.numel() > 0) (kLargest ? kernel::amax : kernel::amin)(x.device(), x, y);
  return y;
}

template <bool kLargest>
struct ExtremeOp {
  static constexpr std::string_view name = kLargest ? "amax" : "amin";
  ReducedShape reduced;
  Tensor forward(Ctx& ctx, const Tensor& x) const {
    check_not_empty(x, reduced.count, name);
    Tensor y = extreme_values<kLargest>(x, reduced.kept);
    ctx.save({x});
    ctx.save_output(y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const Tensor x = ctx.saved(0);
    const Tensor ties = view::to(eq(x.detach(), ctx.saved(1).detach()), x.dtype());
    return {ties * (g / sum(ties, reduced.axes, true))};
  }
};

Tensor find_first(const Tensor& x, const Tensor& values, int axis) {
  Tensor indices = empty(values.shape(), DType::i64, x.device());
  if (indices.numel() > 0) kernel::find_first(x.device(), x, values, axis, indices);
  return indices;
}

template <bool kLargest>
struct ExtremeWithIndicesOp {
  static constexpr std::string_view name = kLargest ? "max_with_indices" : "min_with_indices";
  int axis;
  int64_t length;  // of that axis
  Tensors forward(Ctx& ctx, const Tensor& x) const {
    check_not_empty(x, x.shape()[axis], name);
    Shape kept = x.shape();
    kept[axis] = 1;
    const Tensor values = extreme_values<kLargest>(x, kept);
    const Tensor indices = find_first(x, values, axis);
    // The chosen elements as a mask, made in backward: positions along the axis against indices.
    ctx.save({indices.detach()});
    return {values, indices};
  }
  Grads backward(const Ctx& ctx, const Grads& g) const {
    const Tensor indices = ctx.saved(0);
    Shape along;
    for (int i = 0; i < indices.rank(); ++i) along.push_back(i == axis ? -1 : 1);
    const Tensor positions = view::reshape(arange(length, DType::i64, indices.device()), along);
    return {where(eq(positions, indices), g[0], zeros({}, g[0].dtype(), g[0].device()))};
  }
};

template <bool kLargest>
Tensor extreme(const Tensor& x, const Dims& axes, bool keepdim) {
  const ReducedShape r = reduced_shape(x.shape(), axes, kLargest ? "amax" : "amin");
  const Tensor y = apply(ExtremeOp<kLargest>{r}, x);
  return keepdim ? y : reshape(y, r.dropped);
}

template <bool kLargest>
Tensor arg_extreme(const Tensor& x, int64_t axis, bool keepdim) {
  const std::string_view name = kLargest ? "argmax" : "argmin";
  const int a = normalize_axis(axis, x.rank(), name);
  check_not_empty(x, x.shape()[a], name);
  Shape kept = x.shape();
  kept[a] = 1;
  const Tensor indices = find_first(x, extreme_values<kLargest>(x, kept), a);
  return keepdim ? indices : view::squeeze(indices, a);
}

template <bool kLargest>
ValuesAndIndices extreme_with_indices(const Tensor& x, int64_t axis, bool keepdim) {
  const int a = normalize_axis(axis, x.rank(), ExtremeWithIndicesOp<kLargest>::name);
  const Tensors out = apply(ExtremeWithIndicesOp<kLargest>{a, x.shape()[a]}, x);
  if (keepdim) return {out[0], out[1]};
  return {squeeze(out[0], a), squeeze(out[1], a)};
}

}  // namespace

constinit KernelSlot<void(const Tensor&, Tensor&)> kernel::amax{"amax"};
constinit KernelSlot<void(const Tensor&, Tensor&)> kernel::amin{"amin"};
constinit KernelSlot<void(const Tensor&, const Tensor&, int, Tensor&)> kernel::find_first{
    "find_first"};
TESSERA_KERNEL(amax, cpu, extreme_cpu<true>);
TESSERA_KERNEL(amin, cpu, extreme_cpu<false>);
TESSERA_KERNEL(find_first, cpu, find_first_cpu);

Tensor amax(const Tensor& x, const Dims& axes, bool keepdim) {
  return extreme<true>(x, axes, keepdim);
}
Tensor amin(const Tensor& x, const Dims& axes, bool keepdim) {
  return extreme<false>(x, axes, keepdim);
}
Tensor argmax(const Tensor& x, int64_t axis, bool keepdim) {
  return arg_extreme<true>(x, axis, keepdim);
}
Tensor argmin(const Tensor& x, int64_t axis, bool keepdim) {
  return arg_extreme<false>(x, axis, keepdim);
}
Tensor argmax(const Tensor& x) {
  return arg_extreme<true>(view::reshape(x.detach(), {x.numel()}), 0, false);
}
Tensor argmin(const Tensor& x) {
  return arg_extreme<false>(view::reshape(x.detach(), {x.numel()}), 0, false);
}
ValuesAndIndices max_with_indices(const Tensor& x, int64_t axis, bool keepdim) {
  return extreme_with_indices<true>(x, axis, keepdim);
}
ValuesAndIndices min_with_indices(const Tensor& x, int64_t axis, bool keepdim) {
  return extreme_with_indices<false>(x, axis, keepdim);
}

}  // namespace tessera
