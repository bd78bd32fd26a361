#include "ops/linalg/gemm.h"

#include <optional>

#include "cuda/gemm_tile.cuh"
#include "cuda/library.h"
#include "cuda/map.cuh"
#include "ops/linalg/gemm_cuda.h"
#include "ops/pointwise/formulas.h"

namespace tessera {

namespace {

template <class T, cuda::Along kA, cuda::Along kB>
void run(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y) {
  const cuda::GemmSize size{y.size(0), y.size(1), y.size(2), a.size(2)};
  const Strides &sa = a.strides(), &sb = b.strides();
  cuda::gemm_tiled<T>(
      size, cuda::StridedMatrix<T, kA>::make(a.data<T>(), sa[0], sa[1], sa[2], size.m, size.k),
      cuda::StridedMatrix<T, kB>::make(b.data<T>(), sb[0], sb[2], sb[1], size.n, size.k),
      cuda::DenseOutput<T>::make(y.data<T>(), bias.defined() ? bias.data<T>() : nullptr, nullptr,
                                 size.m * size.n, size.n, 0, size.m, size.n),
      y.device());
}

// The layouts of both operands as constants: what the loop does not have to remember leaves
// registers for tiles of side 128.
void run_f32(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y) {
  using cuda::Along;
  using Matrix = cuda::StridedMatrix<float>;
  const bool a_k = Matrix::prefers_k(a.strides()[1], a.strides()[2]);
  const bool b_k = Matrix::prefers_k(b.strides()[2], b.strides()[1]);
  if (a_k && b_k) return run<float, Along::k, Along::k>(a, b, bias, y);
  if (a_k) return run<float, Along::k, Along::x>(a, b, bias, y);
  if (b_k) return run<float, Along::x, Along::k>(a, b, bias, y);
  run<float, Along::x, Along::x>(a, b, bias, y);
}

}  // namespace

void cuda::gemm_own(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y) {
  if (y.dtype() == DType::f32) return run_f32(a, b, bias, y);
  dispatch<double, Half, BFloat16>(
      y.dtype(), "gemm", [&]<class T>() { run<T, Along::either, Along::either>(a, b, bias, y); });
}

namespace {

// How a matrix (B, rows, columns) lies, where one of its axes is dense.
std::optional<cuda::library::Gemm::Operand> operand(const Tensor& x) {
  const Strides& s = x.strides();
  if (s[2] == 1) return cuda::library::Gemm::Operand{x.raw_data(), s[1], false, s[0]};
  if (s[1] == 1) return cuda::library::Gemm::Operand{x.raw_data(), s[2], true, s[0]};
  return std::nullopt;
}

// By cuBLAS, the bias in a pass of its own. Strides of axes of one element mean nothing to the rule
// above and may not suit the library: those go to our kernel.
bool gemm_library(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y) {
  if (cuda::library::choice() != cuda::library::Choice::cudnn) return false;
  const int64_t m = y.size(1), n = y.size(2), k = a.size(2);
  if (m < 2 || n < 2 || k < 2) return false;
  const auto pa = operand(a), pb = operand(b);
  if (!pa || !pb) return false;
  if (!cuda::library::gemm({y.size(0), m, n, k, *pa, *pb, y.raw_data()}, y.dtype())) return false;
  if (bias.defined())
    dispatch_floating(y.dtype(), "gemm",
                      [&]<class T>() { cuda::map<T, T, T>(y, math::Add{}, y, bias); });
  return true;
}

void gemm_cuda(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y) {
  if (y.numel() == 0 || gemm_library(a, b, bias, y)) return;
  cuda::gemm_own(a, b, bias, y);
}

TESSERA_KERNEL(gemm, cuda, gemm_cuda);

}  // namespace
}  // namespace tessera
