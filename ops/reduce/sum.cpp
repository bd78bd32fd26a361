#include "ops/reduce/sum.h"

#include <algorithm>
#include <vector>

#include "autograd/apply.h"
#include "ops/cpu/reduce.h"
#include "ops/index/view.h"

namespace tessera {
namespace {

constexpr int64_t kBlock = 1024;  // elements added in Lane<T> before the wide type takes over

// Floating elements are added in their compute type within a block, integers and bool in i64.
template <class T>
using Lane = std::conditional_t<is_floating(dtype_of<T>()), compute_t<T>, int64_t>;

// Sum of n contiguous elements: blocks in independent lanes, block sums in f64 (or i64).
template <class T, class Wide>
Wide sum_run(const T* x, int64_t n) {
  using C = Lane<T>;
  constexpr int64_t kLanes = 32;
  Wide total = 0;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t count = std::min(kBlock, n - begin);
    const T* p = x + begin;
    C lane[kLanes] = {};
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes)
      for (int64_t k = 0; k < kLanes; ++k) lane[k] += static_cast<C>(p[i + k]);
    Wide block = 0;
    for (; i < count; ++i) block += static_cast<Wide>(static_cast<C>(p[i]));
    for (int64_t k = 0; k < kLanes; ++k) block += static_cast<Wide>(lane[k]);
    total += block;
  }
  return total;
}

// One long run: fixed pieces in parallel, added in order.
template <class T, class Wide>
Wide sum_long(const T* x, int64_t n) {
  constexpr int64_t kPiece = 64 * kBlock;
  const int64_t pieces = (n + kPiece - 1) / kPiece;
  std::vector<Wide> partial(static_cast<size_t>(pieces));
  parallel_for(0, pieces, 1, [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i)
      partial[static_cast<size_t>(i)] =
          sum_run<T, Wide>(x + i * kPiece, std::min(kPiece, n - i * kPiece));
  });
  Wide total = 0;
  for (Wide p : partial) total += p;
  return total;
}

// Rows [0, length) of `outputs` columns added into y[0, outputs).
template <class T, class Out, class Wide>
void sum_columns(const T* x, int64_t length, int64_t outputs, Out* y) {
  // Pieces of rows keep several threads busy when there are few columns; their number depends on
  // the shape alone.
  const int64_t pieces =
      std::clamp<int64_t>(length * outputs / 65536, 1, std::min<int64_t>(64, length));
  std::vector<Wide> partial(static_cast<size_t>(pieces * outputs));
  parallel_for(0, pieces, 1, [&](int64_t b, int64_t e) {
    std::vector<Lane<T>> block(static_cast<size_t>(outputs));
    for (int64_t piece = b; piece < e; ++piece) {
      Wide* sums = partial.data() + piece * outputs;
      const int64_t first = length * piece / pieces, last = length * (piece + 1) / pieces;
      for (int64_t r0 = first; r0 < last; r0 += kBlock / 16) {
        std::fill(block.begin(), block.end(), Lane<T>(0));
        for (int64_t r = r0; r < std::min(last, r0 + kBlock / 16); ++r) {
          const T* row = x + r * outputs;
          for (int64_t k = 0; k < outputs; ++k)
            block[static_cast<size_t>(k)] += static_cast<Lane<T>>(row[k]);
        }
        for (int64_t k = 0; k < outputs; ++k)
          sums[k] += static_cast<Wide>(block[static_cast<size_t>(k)]);
      }
    }
  });
  for (int64_t k = 0; k < outputs; ++k) {
    Wide total = 0;
    for (int64_t piece = 0; piece < pieces; ++piece)
      total += partial[static_cast<size_t>(piece * outputs + k)];
    y[k] = static_cast<Out>(total);
  }
}

template <class T, class Out, class Wide>
void sum_typed(const Tensor& x, Tensor& y) {
  const cpu::ReducePlan plan = cpu::plan_reduction(x, y.shape());
  const T* in = plan.x.data<T>();
  Out* out = y.data<Out>();
  if (plan.outputs > 1) {
    for (int64_t b = 0; b < plan.batch; ++b)
      sum_columns<T, Out, Wide>(in + b * plan.length * plan.outputs, plan.length, plan.outputs,
                                out + b * plan.outputs);
  } else if (plan.batch == 1) {
    out[0] = static_cast<Out>(sum_long<T, Wide>(in, plan.length));
  } else {
    parallel_for(0, plan.batch, std::max<int64_t>(1, 16384 / std::max<int64_t>(plan.length, 1)),
                 [&](int64_t b, int64_t e) {
                   for (int64_t i = b; i < e; ++i)
                     out[i] = static_cast<Out>(sum_run<T, Wide>(in + i * plan.length, plan.length));
                 });
  }
}

void sum_cpu(const Tensor& x, Tensor& y) {
  if (x.numel() == 0) return kernel::fill.get(kCpu)(y, 0.0);
  if (is_floating(x.dtype())) {
    dispatch_floating(x.dtype(), "sum", [&]<class T>() { sum_typed<T, T, double>(x, y); });
  } else {
    dispatch<int64_t, int32_t, uint8_t, bool>(
        x.dtype(), "sum", [&]<class T>() { sum_typed<T, int64_t, int64_t>(x, y); });
  }
}

struct SumOp {
  static constexpr std::string_view name = "sum";
  Shape input, kept;  // kept: input with the summed axes as 1
  Tensor forward(Ctx&, const Tensor& x) const {
    Tensor y = empty(kept, is_floating(x.dtype()) ? x.dtype() : DType::i64, x.device());
    kernel::sum.get(x.device())(x, y);
    return y;
  }
  Grads backward(const Ctx&, const Tensor& g) const { return {broadcast_to(g, input)}; }
};

}  // namespace

constinit KernelSlot<void(const Tensor&, Tensor&)> kernel::sum{"sum"};
TESSERA_KERNEL(sum, cpu, sum_cpu);

Tensor sum(const Tensor& x, const Dims& axes, bool keepdim) {
  Shape kept = x.shape(), dropped;
  for (int axis = 0; axis < x.rank(); ++axis) {
    bool reduce = axes.empty();
    for (int64_t a : axes) reduce |= normalize_axis(a, x.rank(), "sum") == axis;
    if (reduce)
      kept[axis] = 1;
    else
      dropped.push_back(x.shape()[axis]);
  }
  const Tensor y = apply(SumOp{x.shape(), kept}, x);
  return keepdim ? y : reshape(y, dropped);
}

Tensor sum_to(const Tensor& g, const Shape& shape) {
  if (g.shape() == shape) return g;
  TESSERA_CHECK(ShapeError, broadcast_shapes(g.shape(), shape, "sum_to") == g.shape(),
                "sum_to: ", shape, " does not broadcast to ", g.shape());
  const int lead = g.rank() - shape.rank();
  Dims axes;
  for (int axis = 0; axis < g.rank(); ++axis)
    if (axis < lead || (shape[axis - lead] == 1 && g.shape()[axis] != 1)) axes.push_back(axis);
  return reshape(axes.empty() ? g : sum(g, axes, true), shape);
}

}  // namespace tessera
