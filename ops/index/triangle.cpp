#include "ops/index/triangle.h"

#include <algorithm>
#include <cstring>

#include "autograd/apply.h"
#include "tensor/view.h"

namespace tessera {

namespace {

struct Triangle {
  static constexpr std::string_view name = "triangle";
  bool upper;
  int64_t diagonal;

  Tensor forward(Ctx&, const Tensor& x) const {
    Tensor y = empty(x.shape(), x.dtype(), x.device());
    kernel::triangle(x.device(), view::contiguous(x), upper, diagonal, y);
    return y;
  }
  Grads backward(const Ctx&, const Tensor& g) const {
    return {apply(Triangle{upper, diagonal}, g)};
  }
};

void triangle_cpu(const Tensor& x, bool upper, int64_t diagonal, Tensor& y) {
  const int64_t rows = x.size(-2), columns = x.size(-1);
  if (y.numel() == 0) return;
  const int64_t width = size_of(x.dtype()), all = x.numel() / columns;
  const char* src = static_cast<const char*>(x.raw_data());
  char* dst = static_cast<char*>(y.raw_data());
  std::memset(dst, 0, static_cast<size_t>(y.nbytes()));
  for (int64_t r = 0; r < all; ++r) {
    const int64_t edge = r % rows + diagonal;  // the column on the diagonal
    const int64_t first = upper ? std::clamp<int64_t>(edge, 0, columns) : 0;
    const int64_t last = upper ? columns : std::clamp<int64_t>(edge + 1, 0, columns);
    const int64_t at = (r * columns + first) * width;
    std::memcpy(dst + at, src + at, static_cast<size_t>((last - first) * width));
  }
}

Tensor triangle(const Tensor& x, bool upper, int64_t diagonal, const char* name) {
  TESSERA_CHECK(ShapeError, x.rank() >= 2, name, ": needs at least two axes, got ", x.shape());
  return apply(Triangle{upper, diagonal}, x);
}

}  // namespace

namespace kernel {
constinit KernelSlot<void(const Tensor&, bool, int64_t, Tensor&)> triangle{"triangle"};
}
TESSERA_KERNEL(triangle, cpu, triangle_cpu);

Tensor tril(const Tensor& x, int64_t diagonal) { return triangle(x, false, diagonal, "tril"); }
Tensor triu(const Tensor& x, int64_t diagonal) { return triangle(x, true, diagonal, "triu"); }

}  // namespace tessera
