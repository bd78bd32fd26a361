#include "ops/index/sort.h"

#include <algorithm>
#include <vector>

#include "ops/index/axis.h"
#include "ops/index/gather.h"
#include "tensor/parallel.h"
#include "tensor/view.h"

namespace tessera {

namespace {

/// a before b in ascending order; NaN is the largest.
template <class C>
bool less(C a, C b) {
  if constexpr (std::is_floating_point_v<C>) return a < b || (b != b && a == a);
  return a < b;
}

template <class C>
struct Entry {
  C value;
  int64_t at;
};

template <class C>
void first_in_order(std::vector<Entry<C>>& column, int64_t k, bool descending) {
  const auto run = [&](auto before) {
    // With the position as second key the order is total, so unstable algorithms do.
    const auto total = [before](const Entry<C>& a, const Entry<C>& b) {
      if (before(a.value, b.value)) return true;
      return !before(b.value, a.value) && a.at < b.at;
    };
    if (k < static_cast<int64_t>(column.size()))
      std::nth_element(column.begin(), column.begin() + k, column.end(), total);
    std::sort(column.begin(), column.begin() + k, total);
  };
  if (descending)
    run([](C a, C b) { return less(b, a); });
  else
    run([](C a, C b) { return less(a, b); });
}

void topk_cpu(const Tensor& x, int axis, bool descending, Tensor& indices) {
  const index::AxisView in = index::around(x.shape(), axis);
  const int64_t k = indices.shape()[axis];
  if (indices.numel() == 0) return;
  int64_t* out = indices.data<int64_t>();
  dispatch_all(x.dtype(), "topk", [&]<class T>() {
    using C = compute_t<T>;
    const T* src = x.data<T>();
    const int64_t grain = std::max<int64_t>(1, 4096 / in.size);
    parallel_for(0, in.outer * in.inner, grain, [&](int64_t begin, int64_t end) {
      std::vector<Entry<C>> column(static_cast<size_t>(in.size));
      for (int64_t c = begin; c < end; ++c) {
        const int64_t o = c / in.inner, i = c % in.inner;
        const T* p = src + o * in.size * in.inner + i;
        for (int64_t j = 0; j < in.size; ++j)
          column[static_cast<size_t>(j)] = {static_cast<C>(p[j * in.inner]), j};
        first_in_order(column, k, descending);
        for (int64_t j = 0; j < k; ++j)
          out[(o * k + j) * in.inner + i] = column[static_cast<size_t>(j)].at;
      }
    });
  });
}

Tensor topk_indices(const Tensor& x, int64_t k, int axis, bool descending, std::string_view op) {
  const int64_t size = x.shape()[axis];
  TESSERA_CHECK(ValueError, k >= 0 && k <= size, op, ": k is ", k, ", but axis ", axis, " of ",
                x.shape(), " has ", size, " elements");
  Shape shape = x.shape();
  shape[axis] = k;
  Tensor indices = empty(shape, DType::i64, x.device());
  kernel::topk(x.device(), view::contiguous(x.detach()), axis, descending, indices);
  return indices;
}

}  // namespace

namespace kernel {
constinit KernelSlot<void(const Tensor&, int, bool, Tensor&)> topk{"topk"};
}
TESSERA_KERNEL(topk, cpu, topk_cpu);

SortResult topk(const Tensor& x, int64_t k, int64_t axis, bool largest) {
  const int a = normalize_axis(axis, x.rank(), "topk");
  const Tensor indices = topk_indices(x, k, a, largest, "topk");
  return {gather(x, a, indices), indices};
}

SortResult sort(const Tensor& x, int64_t axis, bool descending) {
  const Tensor indices = argsort(x, axis, descending);
  return {gather(x, axis, indices), indices};
}

Tensor argsort(const Tensor& x, int64_t axis, bool descending) {
  const int a = normalize_axis(axis, x.rank(), "sort");
  return topk_indices(x, x.shape()[a], a, descending, "sort");
}

}  // namespace tessera
