#include "ops/loss/cross_entropy.h"

#include "cuda/fault.h"
#include "cuda/rows.cuh"
#include "ops/reduce/online_sum.cuh"
#include "ops/reduce/sum.h"

namespace tessera {
namespace {

using namespace cuda;

// ClassTargets as the kernels see them: q_c = weight_c (spread + hit [c = target]).
template <class C>
struct Targets {
  const int64_t* index;
  const C* weight;  // null for ones
  int64_t ignore;
  C hit, spread;
  FaultReporter reporter;

  Targets(const ClassTargets& t, const Tensor& weights, int64_t classes)
      : index(t.index.data<int64_t>()),
        weight(weights.defined() ? weights.data<C>() : nullptr),
        ignore(t.ignore),
        hit(static_cast<C>(1 - t.smoothing)),
        spread(static_cast<C>(t.smoothing / static_cast<double>(classes))),
        reporter(fault_reporter("cross_entropy")) {}
  __device__ __forceinline__ C w(int64_t c) const { return weight ? weight[c] : C(1); }
};

template <class C>
Tensor weights_in(const ClassTargets& t) {
  return t.weight.defined() ? view::contiguous(view::to(t.weight, dtype_of<C>())) : Tensor();
}

template <class C>
struct Merge {
  __device__ __forceinline__ OnlineSum<C> operator()(OnlineSum<C> a, const OnlineSum<C>& b) const {
    a.merge(b);
    return a;
  }
};

// The loss of each row of x and its log sum exp, which is formed online. A group of threads owns a
// row (RowGroups). Rows that fit are read once; longer ones again where labels are smoothed.
template <int kVector, bool kKept, class T, class C>
__global__ void __launch_bounds__(kRowBlock, 1)
    cross_entropy_rows(const T* x, RowGroups at, Targets<C> t, T* loss, C* log_sum) {
  TESSERA_SHARED(OnlineSum<C>, sums, [kRowBlock / 32]);
  TESSERA_SHARED(C, rests, [kRowBlock / 32]);
  for_rows(at, [&](int64_t row, int lane) {
    const bool inside = row < at.rows;
    const T* p = x + row * at.n;
    const RowPacks<kVector, kKept, T> r(p, inside ? at.n : 0, lane, at.group);
    OnlineSum<C> s = OnlineSum<C>::none();
    r.each([&](C v, int) { s.add(v); });
    s = group_reduce(s, at.group, Merge<C>{}, sums);
    const C lse = s.top + math::log(s.strict_sum());
    C rest = 0;
    if (t.spread > C(0)) {
      r.each([&](C v, int c) { rest += t.w(c) * (lse - v); });
      rest = group_reduce(rest, at.group, SumOp{}, rests);
    }
    if (lane != 0 || !inside) return;
    log_sum[row] = lse;
    C value = 0;
    if (t.index[row] != t.ignore) {
      const int64_t target = t.reporter.checked(t.index[row], at.n);
      value = t.hit * t.w(target) * (lse - static_cast<C>(p[target]));
      if (t.spread > C(0)) value += t.spread * rest;
    }
    loss[row] = static_cast<T>(value);
  });
}

// gx = g (softmax(x) sum(q) - q). Bound by memory: x is read and gx written once.
template <int kVector, bool kKept, class T, class C>
__global__ void __launch_bounds__(kRowBlock, 1)
    cross_entropy_backward_rows(const T* g, const T* x, const C* log_sum, RowGroups at,
                                Targets<C> t, const C* total_weight, T* gx) {
  for_rows(at, [&](int64_t row, int lane) {
    if (row >= at.rows) return;
    const RowPacks<kVector, kKept, T> r(x + row * at.n, at.n, lane, at.group);
    const bool ignored = t.index[row] == t.ignore;
    const int64_t target = ignored ? 0 : t.reporter.checked(t.index[row], at.n);
    const C total = total_weight ? *total_weight : static_cast<C>(at.n);
    const C mass = t.hit * t.w(target) + t.spread * total;
    const C scale = static_cast<C>(g[row]), lse = log_sum[row];
    r.write(gx + row * at.n, [&](C v, int c) {
      const C q = t.w(c) * (t.spread + (c == target ? t.hit : C(0)));
      return ignored ? C(0) : scale * (mass * math::exp(v - lse) - q);
    });
  });
}

void forward_cuda(const Tensor& x, const ClassTargets& t, Tensor& loss, Tensor& log_sum) {
  if (x.numel() == 0) return;
  dispatch_floating(x.dtype(), "cross_entropy", [&]<class T>() {
    using C = compute_t<T>;
    const int64_t classes = x.size(1);
    const Tensor weights = weights_in<C>(t);
    const Targets<C> targets(t, weights, classes);
    constexpr int kVector = cuda::detail::kMapVector<T>;
    with_row_groups<kVector>(x.size(0), classes, rows_pack(classes, kVector, x.data<T>()),
                             [&]<int kWidth, bool kKept>(const RowGroups& at) {
                               launch(cross_entropy_rows<kWidth, kKept, T, C>, at.config(),
                                      x.data<T>(), at, targets, loss.data<T>(), log_sum.data<C>());
                             });
  });
  look_for_fault();
}

void backward_cuda(const Tensor& g, const Tensor& x, const Tensor& log_sum, const ClassTargets& t,
                   Tensor& gx) {
  if (x.numel() == 0) return;
  dispatch_floating(x.dtype(), "cross_entropy_backward", [&]<class T>() {
    using C = compute_t<T>;
    const int64_t classes = x.size(1);
    const Tensor weights = weights_in<C>(t);
    const Targets<C> targets(t, weights, classes);
    Tensor total;
    if (weights.defined()) {
      total = empty({1}, weights.dtype(), x.device());
      kernel::sum(x.device(), weights, total);
    }
    const C* total_weight = total.defined() ? total.data<C>() : nullptr;
    constexpr int kVector = cuda::detail::kMapVector<T>;
    with_row_groups<kVector>(
        x.size(0), classes, rows_pack(classes, kVector, x.data<T>(), gx.data<T>()),
        [&]<int kWidth, bool kKept>(const RowGroups& at) {
          launch(cross_entropy_backward_rows<kWidth, kKept, T, C>, at.config(), g.data<T>(),
                 x.data<T>(), log_sum.data<C>(), at, targets, total_weight, gx.data<T>());
        });
  });
  look_for_fault();
}

TESSERA_KERNEL(cross_entropy, cuda, forward_cuda);
TESSERA_KERNEL(cross_entropy_backward, cuda, backward_cuda);

}  // namespace
}  // namespace tessera
