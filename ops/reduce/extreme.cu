#include "ops/reduce/extreme.h"

#include "cuda/reduce_tensor.cuh"
#include "ops/reduce/reducers.h"

namespace tessera {
namespace {

template <bool kLargest>
void extreme_cuda(const Tensor& x, Tensor& y) {
  if (y.numel() == 0) return;
  dispatch_number(x.dtype(), "amax", [&]<class T>() {
    cuda::reduce<T>(x, y.shape(), reducers::Extreme<T, kLargest>{}, y.data<T>());
  });
}

// The smallest index of an element equal to its output's value or NaN; some element is.
template <class T>
struct FirstMatch {
  using Lane = int64_t;
  using Wide = int64_t;
  const T* values;
  TESSERA_HD int64_t lane() const { return INT64_MAX; }
  TESSERA_HD int64_t wide() const { return INT64_MAX; }
  TESSERA_HD void step(int64_t& first, compute_t<T> v, int64_t output, int64_t index) const {
    const bool match = v == static_cast<compute_t<T>>(values[output]) || v != v;
    first = match && index < first ? index : first;
  }
  TESSERA_HD void merge(int64_t& a, int64_t b) const { a = b < a ? b : a; }
  TESSERA_HD int64_t finish(int64_t first) const { return first == INT64_MAX ? 0 : first; }
};

void find_first_cuda(const Tensor& x, const Tensor& values, int axis, Tensor& indices) {
  if (indices.numel() == 0) return;
  Shape kept = x.shape();
  kept[axis] = 1;
  dispatch_number(x.dtype(), "argmax", [&]<class T>() {
    cuda::reduce<T>(x, kept, FirstMatch<T>{values.data<T>()}, indices.data<int64_t>());
  });
}

TESSERA_KERNEL(amax, cuda, extreme_cuda<true>);
TESSERA_KERNEL(amin, cuda, extreme_cuda<false>);
TESSERA_KERNEL(find_first, cuda, find_first_cuda);

}  // namespace
}  // namespace tessera
