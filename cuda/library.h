#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "tensor/dtype.h"

/// cuBLAS and cuDNN for the kernels that may use them. Both are looked up when they are first
/// wanted and each is optional: every function returns false, having done nothing, where its
/// library is missing, the case does not suit it, or no algorithm is deterministic within the
/// workspace limit (TESSERA_CUDA_WORKSPACE_LIMIT bytes; 256 MiB). f32 is computed in f32, without
/// TF32. Memory is of the current device, work goes to its current stream; errors throw CudaError.
/// On the emulator there is neither.
namespace tessera::cuda::library {

/// "cuBLAS 13.0, cuDNN 9.19", "cuBLAS 13.0, no cuDNN (libcudnn.so.9: cannot open ...)".
std::string describe();

/// y(b, m, n) = sum over k of a(b, m, k) * bt(b, k, n), all row-major matrices of one floating
/// dtype; batch_stride 0 repeats a matrix for the whole batch.
struct Gemm {
  struct Operand {
    const void* data;
    int64_t row_stride;  ///< elements from one row to the next, or one column if transposed
    bool transposed;     ///< held as (columns, rows)
    int64_t batch_stride;
  };
  int64_t batch, m, n, k;
  Operand a, b;
  void* y;  ///< contiguous
};
bool gemm(const Gemm& call, DType dtype);

/// A convolution of x (N, H, W, C) with w (O, KH, KW, C / groups) to y (N, HO, WO, O), all
/// contiguous.
struct Conv2d {
  int64_t n, h, w, c, o, kh, kw, ho, wo;
  int64_t stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w, groups;
  bool operator==(const Conv2d&) const = default;
};
bool conv2d(const Conv2d& shape, DType dtype, const void* x, const void* w, void* y);
bool conv2d_input_grad(const Conv2d& shape, DType dtype, const void* g, const void* w, void* gx);
bool conv2d_weight_grad(const Conv2d& shape, DType dtype, const void* g, const void* x, void* gw);

/// TESSERA_CONV: which kernels compute convolutions and matrix products. `automatic` takes our own:
/// the calls of the libraries have not run on a GPU yet. `cudnn` takes both libraries where they
/// are and the case suits them; depthwise convolutions always have kernels of our own. A rule and
/// no timing, so that runs repeat bit for bit.
enum class Choice { automatic, own, cudnn };
/// Throws ValueError for another word. Read once.
Choice choice();

}  // namespace tessera::cuda::library
