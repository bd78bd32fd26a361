// Matrix products by cuBLAS.

#include <cublas_v2.h>

#include <array>
#include <climits>

#include "cuda/library.h"
#include "cuda/library/dynamic_library.h"
#include "cuda/library/status.h"
#include "cuda/runtime.h"
#include "tensor/error.h"

namespace tessera::cuda::library {
namespace {

struct Cublas {
  DynamicLibrary library{"libcublas.so.13"};
  TESSERA_LIBRARY_FUNCTION(library, cublasCreate);
  TESSERA_LIBRARY_FUNCTION(library, cublasSetStream);
  TESSERA_LIBRARY_FUNCTION(library, cublasSetMathMode);
  TESSERA_LIBRARY_FUNCTION(library, cublasSetWorkspace);
  // Its header overloads this name.
  using GemmFunction = cublasStatus_t (*)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int,
                                          int, int, const void*, const void*, cudaDataType_t, int,
                                          long long, const void*, cudaDataType_t, int, long long,
                                          const void*, void*, cudaDataType_t, int, long long, int,
                                          cublasComputeType_t, cublasGemmAlgo_t);
  GemmFunction gemm_ = library.symbol<GemmFunction>("cublasGemmStridedBatchedEx");
  TESSERA_LIBRARY_FUNCTION(library, cublasGetVersion);
};

Cublas& cublas() {
  static Cublas* const loaded = new Cublas;
  return *loaded;
}

void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw CudaError(cat("cuBLAS: ", call, " failed with status ", static_cast<int>(status)));
}

// With a workspace of its own cuBLAS gives the same bits every time.
cublasHandle_t handle() {
  constexpr size_t kWorkspace = size_t{32} << 20;
  static std::array<cublasHandle_t, 16> handles{};
  cublasHandle_t& h = handles[static_cast<size_t>(current_device())];
  if (!h) {
    check(cublas().cublasCreate_(&h), "cublasCreate");
    check(cublas().cublasSetStream_(h, current_stream()), "cublasSetStream");
    check(cublas().cublasSetMathMode_(h, CUBLAS_PEDANTIC_MATH), "cublasSetMathMode");
    void* workspace = device_malloc(kWorkspace);
    if (workspace)
      check(cublas().cublasSetWorkspace_(h, workspace, kWorkspace), "cublasSetWorkspace");
  }
  return h;
}

cudaDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return CUDA_R_64F;
    case DType::f16:
      return CUDA_R_16F;
    case DType::bf16:
      return CUDA_R_16BF;
    default:
      return CUDA_R_32F;
  }
}

bool fits(const Gemm& g) {
  for (int64_t size : {g.batch, g.m, g.n, g.k, g.a.row_stride, g.b.row_stride})
    if (size < 1 || size > INT_MAX) return false;
  return true;
}

}  // namespace

std::string describe_cublas() {
  if (!cublas().library.why().empty()) return cat("no cuBLAS (", cublas().library.why(), ")");
  return cat("cuBLAS ", CUBLAS_VER_MAJOR, ".", CUBLAS_VER_MINOR);
}

bool gemm(const Gemm& g, DType dtype) {
  if (!fits(g) || !cublas().library.why().empty()) return false;
  // cuBLAS counts by columns: y by rows is its transpose, the product of the transposed operands.
  const auto op = [](const Gemm::Operand& x) { return x.transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
  const double one64 = 1, zero64 = 0;
  const float one32 = 1, zero32 = 0;
  const bool wide = dtype == DType::f64;
  const cudaDataType_t type = data_type(dtype);
  check(cublas().gemm_(handle(), op(g.b), op(g.a), static_cast<int>(g.n), static_cast<int>(g.m),
                       static_cast<int>(g.k),
                       wide ? static_cast<const void*>(&one64) : static_cast<const void*>(&one32),
                       g.b.data, type, static_cast<int>(g.b.row_stride), g.b.batch_stride, g.a.data,
                       type, static_cast<int>(g.a.row_stride), g.a.batch_stride,
                       wide ? static_cast<const void*>(&zero64) : static_cast<const void*>(&zero32),
                       g.y, type, static_cast<int>(g.n), g.m * g.n, static_cast<int>(g.batch),
                       wide ? CUBLAS_COMPUTE_64F_PEDANTIC : CUBLAS_COMPUTE_32F_PEDANTIC,
                       CUBLAS_GEMM_DEFAULT),
        "cublasGemmStridedBatchedEx");
  return true;
}

}  // namespace tessera::cuda::library
