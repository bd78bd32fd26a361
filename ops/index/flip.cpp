#include "ops/index/flip.h"

#include <cstring>

#include "autograd/apply.h"
#include "ops/index/axis.h"
#include "tensor/strided_loop.h"

namespace tessera {

namespace {

struct Flip {
  static constexpr std::string_view name = "flip";
  Dims reversed;

  Tensor forward(Ctx&, const Tensor& x) const {
    Tensor y = empty_like(x);
    kernel::flip(x.device(), x, reversed, y);
    return y;
  }
  Grads backward(const Ctx&, const Tensor& g) const { return {apply(Flip{reversed}, g)}; }
};

void flip_cpu(const Tensor& x, const Dims& reversed, Tensor& y) {
  if (y.numel() == 0) return;
  // Reading backwards is a negative stride from the last element of the axis.
  Strides from = x.strides();
  int64_t last = 0;
  for (int i = 0; i < x.rank(); ++i) {
    if (!reversed[i]) continue;
    last += (x.shape()[i] - 1) * from[i];
    from[i] = -from[i];
  }
  const StridedLoop<2> loop(y.shape(), {from, y.strides()});
  index::dispatch_width(x.dtype(), [&]<class Word>() {
    const Word* src = static_cast<const Word*>(x.raw_data()) + last;
    Word* dst = static_cast<Word*>(y.raw_data());
    const int64_t step = loop.inner_stride(0);
    loop.run([&](const std::array<int64_t, 2>& at, int64_t count) {
      if (step == 1) {
        std::memcpy(dst + at[1], src + at[0], static_cast<size_t>(count) * sizeof(Word));
      } else {
        for (int64_t k = 0; k < count; ++k) dst[at[1] + k] = src[at[0] + k * step];
      }
    });
  });
}

}  // namespace

namespace kernel {
constinit KernelSlot<void(const Tensor&, const Dims&, Tensor&)> flip{"flip"};
}
TESSERA_KERNEL(flip, cpu, flip_cpu);

Tensor flip(const Tensor& x, const Dims& axes) {
  Dims reversed;
  for (int i = 0; i < x.rank(); ++i) reversed.push_back(0);
  for (int64_t axis : axes) {
    const int a = normalize_axis(axis, x.rank(), "flip");
    TESSERA_CHECK(ValueError, !reversed[a], "flip: axis ", axis, " is given twice in ", axes);
    reversed[a] = 1;
  }
  return apply(Flip{reversed}, x);
}

}  // namespace tessera
