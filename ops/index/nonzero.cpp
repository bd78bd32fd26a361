#include "ops/index/nonzero.h"

#include "ops/index/axis.h"
#include "ops/index/gather.h"
#include "ops/index/view.h"
#include "tensor/view.h"

namespace tessera {

namespace {

Tensor nonzero_flat_cpu(const Tensor& x) {
  std::vector<int64_t> found;
  dispatch_all(x.dtype(), "nonzero", [&]<class T>() {
    const T* p = x.data<T>();
    for (int64_t i = 0, n = x.numel(); i < n; ++i)
      if (static_cast<compute_t<T>>(p[i]) != compute_t<T>(0)) found.push_back(i);
  });
  return from_vector(found);
}

void unravel_cpu(const Tensor& positions, const Shape& shape, Tensor& coordinates) {
  const int64_t* at = positions.data<int64_t>();
  int64_t* out = coordinates.data<int64_t>();
  const int rank = shape.rank();
  for (int64_t i = 0, n = positions.numel(); i < n; ++i)
    for (int64_t d = rank - 1, rest = at[i]; d >= 0; --d) {
      out[i * rank + d] = rest % shape[static_cast<int>(d)];
      rest /= shape[static_cast<int>(d)];
    }
}

void one_hot_cpu(const Tensor& index, int64_t classes, Tensor& y) {
  index::check_index_range(index, classes, "one_hot");
  const int64_t* at = index.data<int64_t>();
  dispatch_all(y.dtype(), "one_hot", [&]<class T>() {
    T* out = y.data<T>();
    for (int64_t i = 0, n = index.numel(); i < n; ++i) out[i * classes + at[i]] = static_cast<T>(1);
  });
}

}  // namespace

namespace kernel {
constinit KernelSlot<Tensor(const Tensor&)> nonzero_flat{"nonzero_flat"};
constinit KernelSlot<void(const Tensor&, const Shape&, Tensor&)> unravel{"unravel"};
constinit KernelSlot<void(const Tensor&, int64_t, Tensor&)> one_hot{"one_hot"};
}  // namespace kernel
TESSERA_KERNEL(nonzero_flat, cpu, nonzero_flat_cpu);
TESSERA_KERNEL(unravel, cpu, unravel_cpu);
TESSERA_KERNEL(one_hot, cpu, one_hot_cpu);

Tensor nonzero_flat(const Tensor& x) {
  return kernel::nonzero_flat(x.device(), view::contiguous(x.detach()));
}

Tensor nonzero(const Tensor& x) {
  const Tensor flat = nonzero_flat(x);
  Tensor coordinates = empty({flat.numel(), x.rank()}, DType::i64, x.device());
  kernel::unravel(x.device(), flat, x.shape(), coordinates);
  return coordinates;
}

Tensor masked_select(const Tensor& x, const Tensor& mask) {
  TESSERA_CHECK(DTypeError, mask.dtype() == DType::boolean,
                "masked_select: mask must be bool, got ", mask.dtype());
  TESSERA_CHECK(ShapeError, mask.shape() == x.shape(), "masked_select: mask ", mask.shape(),
                " does not match x ", x.shape());
  return index_select(reshape(x, {x.numel()}), 0, nonzero_flat(mask));
}

Tensor one_hot(const Tensor& index, int64_t classes, DType dtype) {
  index::check_index_dtype(index, "one_hot");
  TESSERA_CHECK(ValueError, classes >= 1, "one_hot: classes must be positive, got ", classes);
  Shape shape = index.shape();
  shape.push_back(classes);
  Tensor y = zeros(shape, dtype, index.device());
  kernel::one_hot(y.device(), view::contiguous(index.detach()), classes, y);
  return y;
}

}  // namespace tessera
