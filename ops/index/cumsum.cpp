#include "ops/index/cumsum.h"

#include <algorithm>
#include <array>

#include "autograd/apply.h"
#include "ops/index/axis.h"
#include "tensor/parallel.h"
#include "tensor/view.h"

namespace tessera {

namespace {

struct Cumsum {
  static constexpr std::string_view name = "cumsum";
  int axis;
  bool reverse;

  Tensor forward(Ctx&, const Tensor& x) const {
    Tensor y = empty_like(x);
    kernel::cumsum(x.device(), view::contiguous(x), axis, reverse, y);
    return y;
  }
  Grads backward(const Ctx&, const Tensor& g) const { return {cumsum(g, axis, !reverse)}; }
};

constexpr int64_t kBlock = 64;  // columns that one thread sums side by side

template <class T>
void cumsum_typed(const T* x, T* y, const index::AxisView& a, bool reverse) {
  using Sum = std::conditional_t<std::is_floating_point_v<compute_t<T>>, double, T>;
  const int64_t blocks = (a.inner + kBlock - 1) / kBlock;
  const int64_t grain = std::max<int64_t>(1, 16384 / (a.size * std::min(a.inner, kBlock)));
  parallel_for(0, a.outer * blocks, grain, [&](int64_t begin, int64_t end) {
    std::array<Sum, kBlock> sum;
    for (int64_t b = begin; b < end; ++b) {
      const int64_t o = b / blocks, first = b % blocks * kBlock;
      const int64_t count = std::min(kBlock, a.inner - first);
      sum.fill(Sum(0));
      for (int64_t j = 0; j < a.size; ++j) {
        const int64_t at = (o * a.size + (reverse ? a.size - 1 - j : j)) * a.inner + first;
        for (int64_t k = 0; k < count; ++k) {
          sum[static_cast<size_t>(k)] += static_cast<Sum>(static_cast<compute_t<T>>(x[at + k]));
          y[at + k] = static_cast<T>(static_cast<compute_t<T>>(sum[static_cast<size_t>(k)]));
        }
      }
    }
  });
}

void cumsum_cpu(const Tensor& x, int axis, bool reverse, Tensor& y) {
  const index::AxisView a = index::around(x.shape(), axis);
  if (y.numel() == 0) return;
  dispatch_number(x.dtype(), "cumsum",
                  [&]<class T>() { cumsum_typed(x.data<T>(), y.data<T>(), a, reverse); });
}

}  // namespace

namespace kernel {
constinit KernelSlot<void(const Tensor&, int, bool, Tensor&)> cumsum{"cumsum"};
}
TESSERA_KERNEL(cumsum, cpu, cumsum_cpu);

Tensor cumsum(const Tensor& x, int64_t axis, bool reverse) {
  return apply(Cumsum{normalize_axis(axis, x.rank(), "cumsum"), reverse}, x);
}

}  // namespace tessera
