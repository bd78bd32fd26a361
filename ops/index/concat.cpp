#include "ops/index/concat.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "autograd/apply.h"
#include "ops/index/axis.h"
#include "ops/index/view.h"
#include "tensor/parallel.h"
#include "tensor/view.h"

namespace tessera {

namespace {

struct Concat {
  static constexpr std::string_view name = "concat";
  int axis;
  std::vector<int64_t> sizes;

  Tensor forward(Ctx&, const Tensors& xs) const {
    Shape shape = xs[0].shape();
    shape[axis] = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
    Tensor y = empty(shape, xs[0].dtype(), xs[0].device());
    kernel::concat(y.device(), xs, axis, y);
    return y;
  }
  Grads backward(const Ctx&, const Tensor& g) const { return split(g, sizes, axis); }
};

struct Split {
  static constexpr std::string_view name = "split";
  int axis;
  std::vector<int64_t> sizes;

  Tensors forward(Ctx&, const Tensor& x) const {
    Tensors pieces;
    int64_t start = 0;
    for (int64_t size : sizes) {
      pieces.push_back(view::slice(x, axis, start, start + size));
      start += size;
    }
    return pieces;
  }
  Grads backward(const Ctx&, const Grads& g) const { return {concat(g, axis)}; }
};

/// Writes `outer` runs of `run` bytes, contiguous in src and `step` bytes apart in dst.
void copy_runs(const char* src, char* dst, int64_t outer, int64_t run, int64_t step) {
  parallel_for(0, outer * run, 1 << 16, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t row = begin / run, first = begin % run;
      const int64_t count = std::min(end - begin, run - first);
      std::memcpy(dst + row * step + first, src + begin, static_cast<size_t>(count));
      begin += count;
    }
  });
}

void concat_cpu(const Tensors& xs, int axis, Tensor& y) {
  const index::AxisView to = index::around(y.shape(), axis);
  const int64_t width = size_of(y.dtype());
  char* dst = static_cast<char*>(y.raw_data());
  int64_t start = 0;
  for (const Tensor& x : xs) {
    const int64_t size = x.size(axis);
    if (x.numel() == 0) continue;
    if (x.is_contiguous()) {
      copy_runs(static_cast<const char*>(x.raw_data()), dst + start * to.inner * width, to.outer,
                size * to.inner * width, to.size * to.inner * width);
    } else {
      Tensor piece = view::slice(y, axis, start, start + size);
      copy_(piece, x);
    }
    start += size;
  }
}

}  // namespace

namespace kernel {
constinit KernelSlot<void(const Tensors&, int, Tensor&)> concat{"concat"};
}
TESSERA_KERNEL(concat, cpu, concat_cpu);

Tensor concat(const Tensors& xs, int64_t axis) {
  TESSERA_CHECK(ValueError, !xs.empty(), "concat: needs at least one tensor");
  const Tensor& first = xs[0];
  Concat op{normalize_axis(axis, first.rank(), "concat"), {}};
  for (size_t i = 0; i < xs.size(); ++i) {
    const Tensor& x = xs[i];
    TESSERA_CHECK(DTypeError, x.dtype() == first.dtype(), "concat: tensor 0 is ", first.dtype(),
                  ", tensor ", i, " is ", x.dtype());
    TESSERA_CHECK(DeviceError, x.device() == first.device(), "concat: tensor 0 is on ",
                  first.device(), ", tensor ", i, " on ", x.device());
    bool same = x.rank() == first.rank();
    for (int d = 0; same && d < x.rank(); ++d)
      same = d == op.axis || x.shape()[d] == first.shape()[d];
    TESSERA_CHECK(ShapeError, same, "concat along axis ", op.axis, ": tensor ", i, " is ",
                  x.shape(), ", tensor 0 is ", first.shape());
    op.sizes.push_back(x.shape()[op.axis]);
  }
  return apply_list(std::move(op), xs);
}

Tensor stack(const Tensors& xs, int64_t axis) {
  TESSERA_CHECK(ValueError, !xs.empty(), "stack: needs at least one tensor");
  const int a = normalize_axis(axis, xs[0].rank() + 1, "stack");
  Tensors raised;
  for (const Tensor& x : xs) {
    TESSERA_CHECK(ShapeError, x.shape() == xs[0].shape(), "stack: ", x.shape(),
                  " does not match tensor 0, ", xs[0].shape());
    raised.push_back(unsqueeze(x, a));
  }
  return concat(raised, a);
}

Tensors split(const Tensor& x, const std::vector<int64_t>& sizes, int64_t axis) {
  const int a = normalize_axis(axis, x.rank(), "split");
  int64_t total = 0;
  for (int64_t size : sizes) {
    TESSERA_CHECK(ShapeError, size >= 0, "split: negative size ", size);
    total += size;
  }
  TESSERA_CHECK(ShapeError, total == x.size(a) && !sizes.empty(), "split: sizes ", "add up to ",
                total, ", axis ", a, " of ", x.shape(), " has ", x.size(a));
  return apply(Split{a, sizes}, x);
}

Tensors chunk(const Tensor& x, int64_t count, int64_t axis) {
  TESSERA_CHECK(ValueError, count >= 1, "chunk: count must be at least 1, got ", count);
  const int64_t size = x.size(axis);
  const int64_t step = std::max<int64_t>(1, (size + count - 1) / count);
  std::vector<int64_t> sizes;
  for (int64_t start = 0; start < size; start += step)
    sizes.push_back(std::min(step, size - start));
  if (sizes.empty()) sizes.push_back(0);
  return split(x, sizes, axis);
}

Tensor roll(const Tensor& x, int64_t shift, int64_t axis) {
  const int64_t size = x.size(axis);
  if (size == 0) return x;
  const int64_t cut = ((-shift) % size + size) % size;  // the element that comes first
  if (cut == 0) return x;
  const Tensors parts = split(x, {cut, size - cut}, axis);
  return concat({parts[1], parts[0]}, axis);
}

}  // namespace tessera
