#include "ops/linalg/gemm.h"

#include "ops/cpu/blocked_gemm.h"
#include "tensor/view.h"

namespace tessera {
namespace {

// dst[i * ld + j] = src[i * si + j * sj], reading along the unit stride if there is one.
template <class T>
void pack(const T* src, int64_t si, int64_t sj, int64_t rows, int64_t cols, T* dst, int64_t ld) {
  if (sj == 1 || si != 1) {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < cols; ++j) dst[i * ld + j] = src[i * si + j * sj];
  } else {
    for (int64_t j = 0; j < cols; ++j)
      for (int64_t i = 0; i < rows; ++i) dst[i * ld + j] = src[i + j * sj];
  }
}

template <class T>
void gemm_typed(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y) {
  const T* pa = a.data<T>();
  const T* pb = b.data<T>();
  const T* pc = bias.defined() ? bias.data<T>() : nullptr;
  T* py = y.data<T>();
  const Strides sa = a.strides(), sb = b.strides();
  const int64_t m_size = y.size(1), n_size = y.size(2);
  cpu::blocked_gemm<T>(
      y.size(0), m_size, n_size, a.size(2),
      [&](int64_t g, int64_t m, int64_t rows, int64_t k, int64_t depth, T* dst, int64_t ld) {
        pack(pa + g * sa[0] + m * sa[1] + k * sa[2], sa[1], sa[2], rows, depth, dst, ld);
      },
      [&](int64_t g, int64_t k, int64_t depth, int64_t n, int64_t cols, T* dst, int64_t ld) {
        pack(pb + g * sb[0] + k * sb[1] + n * sb[2], sb[1], sb[2], depth, cols, dst, ld);
      },
      [&](int64_t g, int64_t m, int64_t rows, int64_t n, int64_t cols, const T* c, int64_t ld) {
        for (int64_t r = 0; r < rows; ++r) {
          T* out = py + (g * m_size + m + r) * n_size + n;
          for (int64_t j = 0; j < cols; ++j) out[j] = c[r * ld + j] + (pc ? pc[n + j] : T(0));
        }
      });
}

void gemm_cpu(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y) {
  if (y.numel() == 0) return;
  if (y.dtype() == DType::f16 || y.dtype() == DType::bf16) {
    const auto wide = [](const Tensor& t) {
      return t.defined() ? view::to(t, DType::f32) : Tensor();
    };
    Tensor result = empty(y.shape(), DType::f32);
    gemm_cpu(wide(a), wide(b), wide(bias), result);
    kernel::copy(kCpu, result, y);
    return;
  }
#if !defined(TESSERA_REFERENCE)
  if (y.dtype() == DType::f32 && a.size(2) > 0) return cpu::gemm_onednn(a, b, bias, y);
#endif
  cpu::gemm_blocked(a, b, bias, y);
}

}  // namespace

void cpu::gemm_blocked(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y) {
  dispatch_float(y.dtype(), "gemm", [&]<class T>() { gemm_typed<T>(a, b, bias, y); });
}

constinit KernelSlot<void(const Tensor&, const Tensor&, const Tensor&, Tensor&)> kernel::gemm{
    "gemm", [](const Tensor& a, const Tensor&, const Tensor&, Tensor& y) {
      return 2 * y.numel() * a.size(2);
    }};
TESSERA_KERNEL(gemm, cpu, gemm_cpu);

}  // namespace tessera
