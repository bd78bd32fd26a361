#include "ops/norm/softmax.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "autograd/apply.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/elementary.h"
#include "ops/pointwise/exponential.h"
#include "ops/reduce/sum.h"
#include "tensor/parallel.h"
#include "tensor/view.h"

namespace tessera {
namespace {

Tensor run_kernel(const Tensor& x, int axis, bool log) {
  int64_t outer = 1, inner = 1;
  for (int i = 0; i < x.rank(); ++i) {
    if (i < axis) outer *= x.shape()[i];
    if (i > axis) inner *= x.shape()[i];
  }
  Tensor y = empty(x.shape(), x.dtype(), x.device());
  kernel::softmax(x.device(), view::contiguous(x), outer, x.shape()[axis], inner, log, y);
  return y;
}

struct Softmax {
  static constexpr std::string_view name = "softmax";
  int axis;
  Tensor forward(Ctx& ctx, const Tensor& x) const {
    Tensor y = run_kernel(x, axis, false);
    ctx.save_output(y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const Tensor y = ctx.saved(0), gy = g * y;
    return {gy - y * sum(gy, {axis}, true)};
  }
};

struct LogSoftmax {
  static constexpr std::string_view name = "log_softmax";
  int axis;
  Tensor forward(Ctx& ctx, const Tensor& x) const {
    Tensor y = run_kernel(x, axis, true);
    ctx.save_output(y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    return {g - exp(ctx.saved(0)) * sum(g, {axis}, true)};
  }
};

// A task owns whole (outer, tile of inner) problems: `width` neighbouring columns at once, or one
// contiguous row when inner is 1.
constexpr int64_t kTile = 64;

template <class C>
struct Columns {
  C top[kTile], sum[kTile];
};

template <class T, class C>
void softmax_columns(const T* x, int64_t size, int64_t inner, int64_t width, bool log,
                     Columns<C>& s, T* y) {
  for (int64_t k = 0; k < width; ++k) {
    s.top[k] = -std::numeric_limits<C>::infinity();
    s.sum[k] = 0;
  }
  for (int64_t i = 0; i < size; ++i)
    for (int64_t k = 0; k < width; ++k) {
      const C v = static_cast<C>(x[i * inner + k]);
      s.top[k] = v > s.top[k] ? v : s.top[k];
    }
  for (int64_t i = 0; i < size; ++i)
    for (int64_t k = 0; k < width; ++k)
      s.sum[k] += math::exp(static_cast<C>(x[i * inner + k]) - s.top[k]);
  for (int64_t k = 0; k < width; ++k) s.sum[k] = log ? math::log(s.sum[k]) : C(1) / s.sum[k];
  for (int64_t i = 0; i < size; ++i)
    for (int64_t k = 0; k < width; ++k) {
      const C d = static_cast<C>(x[i * inner + k]) - s.top[k];
      y[i * inner + k] = static_cast<T>(log ? d - s.sum[k] : math::exp(d) * s.sum[k]);
    }
}

template <class T, class C>
void softmax_row(const T* __restrict__ x, int64_t size, bool log, T* __restrict__ y) {
  constexpr int kLanes = 32;
  C top[kLanes], sum[kLanes] = {};
  std::fill(top, top + kLanes, -std::numeric_limits<C>::infinity());
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes)
    for (int k = 0; k < kLanes; ++k) {
      const C v = static_cast<C>(x[i + k]);
      top[k] = v > top[k] ? v : top[k];
    }
  for (; i < size; ++i) top[0] = std::max(top[0], static_cast<C>(x[i]));
  C m = top[0];
  for (int k = 1; k < kLanes; ++k) m = std::max(m, top[k]);
  for (i = 0; i + kLanes <= size; i += kLanes)
    for (int k = 0; k < kLanes; ++k) sum[k] += math::exp(static_cast<C>(x[i + k]) - m);
  for (; i < size; ++i) sum[0] += math::exp(static_cast<C>(x[i]) - m);
  C total = 0;
  for (int k = 0; k < kLanes; ++k) total += sum[k];
  if (log) {
    const C shift = math::log(total);
    for (i = 0; i < size; ++i) y[i] = static_cast<T>((static_cast<C>(x[i]) - m) - shift);
  } else {
    const C scale = C(1) / total;
    for (i = 0; i < size; ++i) y[i] = static_cast<T>(math::exp(static_cast<C>(x[i]) - m) * scale);
  }
}

void softmax_cpu(const Tensor& x, int64_t outer, int64_t size, int64_t inner, bool log, Tensor& y) {
  if (x.numel() == 0) return;
  dispatch_floating(x.dtype(), "softmax", [&]<class T>() {
    using C = compute_t<T>;
    const T* from = x.data<T>();
    T* to = y.data<T>();
    const int64_t tiles = (inner + kTile - 1) / kTile;
    const int64_t grain =
        std::max<int64_t>(1, 4096 / std::max<int64_t>(1, size * std::min(inner, kTile)));
    parallel_for(0, outer * tiles, grain, [&](int64_t begin, int64_t end) {
      Columns<C> state;
      for (int64_t task = begin; task < end; ++task) {
        const int64_t k = task % tiles * kTile, at = task / tiles * size * inner + k;
        if (inner == 1) {
          softmax_row<T, C>(from + at, size, log, to + at);
        } else {
          softmax_columns(from + at, size, inner, std::min(kTile, inner - k), log, state, to + at);
        }
      }
    });
  });
}

int check(const Tensor& x, int64_t axis, std::string_view op) {
  TESSERA_CHECK(DTypeError, is_floating(x.dtype()), op, ": needs a floating dtype, got ",
                x.dtype());
  return normalize_axis(axis, x.rank(), op);
}

}  // namespace

constinit KernelSlot<void(const Tensor&, int64_t, int64_t, int64_t, bool, Tensor&)> kernel::softmax{
    "softmax"};
TESSERA_KERNEL(softmax, cpu, softmax_cpu);

Tensor softmax(const Tensor& x, int64_t axis) {
  return apply(Softmax{check(x, axis, "softmax")}, x);
}
Tensor log_softmax(const Tensor& x, int64_t axis) {
  return apply(LogSoftmax{check(x, axis, "log_softmax")}, x);
}

}  // namespace tessera
