#include "ops/random/dropout.h"

#include <algorithm>

#include "autograd/apply.h"
#include "ops/random/words_cpu.h"
#include "tensor/parallel.h"
#include "tensor/view.h"

namespace tessera {

namespace {

/// Linear in x with a diagonal matrix, hence its own adjoint.
struct Dropout {
  static constexpr std::string_view name = "dropout";
  RandomDraw draw;
  double p;
  int64_t run;

  Tensor forward(Ctx&, const Tensor& x) const {
    if (p == 1) return zeros_like(x);
    Tensor y = empty_like(x);
    kernel::dropout(x.device(), view::contiguous(x), draw, p, run, y);
    return y;
  }
  Grads backward(const Ctx&, const Tensor& g) const { return {apply(*this, g)}; }
};

// A function of its own, for the compiler to believe in __restrict__ and vectorise it: branches
// would be mispredicted half of the time.
template <class T>
[[gnu::noinline]] void drop(const T* __restrict__ x, const uint32_t* __restrict__ words,
                            uint32_t threshold, T scale, int64_t n, T* __restrict__ y) {
  for (int64_t k = 0; k < n; ++k) {
    const T kept = x[k] * scale;
    y[k] = words[k] >> 8 >= threshold ? kept : T(0);
  }
}

template <class T>
void dropout_typed(const T* x, const RandomDraw& draw, double p, int64_t run, int64_t n, T* y) {
  const T scale = static_cast<T>(1.0 / (1.0 - p));
  const uint32_t threshold = cpu::word_threshold(p);
  if (run == 1) {
    cpu::for_each_word_run<1>(draw, n, [=](const uint32_t* w, int64_t first, int64_t count) {
      drop(x + first, w, threshold, scale, count, y + first);
    });
    return;
  }
  parallel_for(0, n / run, std::max<int64_t>(1, 16384 / run), [=](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      const uint64_t block = draw.block + static_cast<uint64_t>(s / 4);
      const bool kept = Philox::block(draw.seed, block, draw.stream).v[s % 4] >> 8 >= threshold;
      for (int64_t i = s * run; i < (s + 1) * run; ++i) y[i] = kept ? x[i] * scale : T(0);
    }
  });
}

void dropout_cpu(const Tensor& x, const RandomDraw& draw, double p, int64_t run, Tensor& y) {
  if (y.numel() == 0) return;
  dispatch_float(x.dtype(), "dropout", [&]<class T>() {
    dropout_typed(x.data<T>(), draw, p, run, x.numel(), y.data<T>());
  });
}

void check_p(double p, std::string_view op) {
  TESSERA_CHECK(ValueError, p >= 0 && p <= 1, op, ": p must be in [0, 1], got ", p);
}

}  // namespace

namespace kernel {
constinit KernelSlot<void(const Tensor&, const RandomDraw&, double, int64_t, Tensor&)> dropout{
    "dropout"};
}
TESSERA_KERNEL(dropout, cpu, dropout_cpu);

Tensor dropout(const Tensor& x, double p, bool training, Generator& generator) {
  check_p(p, "dropout");
  if (!training || p == 0) return x;
  return apply(Dropout{RandomDraw::reserve(generator, x.numel()), p, 1}, x);
}

Tensor drop_path(const Tensor& x, double p, bool training, Generator& generator) {
  check_p(p, "drop_path");
  TESSERA_CHECK(ShapeError, x.rank() >= 1, "drop_path: x needs a batch axis, got a scalar");
  if (!training || p == 0) return x;
  const int64_t samples = x.size(0);
  const int64_t run = samples > 0 ? x.numel() / samples : 1;
  return apply(Dropout{RandomDraw::reserve(generator, samples), p, std::max<int64_t>(run, 1)}, x);
}

}  // namespace tessera
