// Convolutions by cuDNN.

#if __has_include(<cudnn.h>)
#include <cudnn.h>
#endif

#include <array>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <tuple>

#include "cuda/library.h"
#include "cuda/library/dynamic_library.h"
#include "cuda/library/status.h"
#include "cuda/runtime.h"
#include "tensor/error.h"
#include "tensor/tensor.h"

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"  // cuDNN 9 keeps these functions
#endif

namespace tessera::cuda::library {

#if !defined(CUDNN_MAJOR)

std::string describe_cudnn() { return "no cuDNN (built without it)"; }
bool conv2d(const Conv2d&, DType, const void*, const void*, void*) { return false; }
bool conv2d_input_grad(const Conv2d&, DType, const void*, const void*, void*) { return false; }
bool conv2d_weight_grad(const Conv2d&, DType, const void*, const void*, void*) { return false; }

#else

namespace {

struct Cudnn {
  DynamicLibrary library{"libcudnn.so.9"};
  TESSERA_LIBRARY_FUNCTION(library, cudnnCreate);
  TESSERA_LIBRARY_FUNCTION(library, cudnnSetStream);
  TESSERA_LIBRARY_FUNCTION(library, cudnnGetErrorString);
  TESSERA_LIBRARY_FUNCTION(library, cudnnCreateTensorDescriptor);
  TESSERA_LIBRARY_FUNCTION(library, cudnnSetTensor4dDescriptor);
  TESSERA_LIBRARY_FUNCTION(library, cudnnCreateFilterDescriptor);
  TESSERA_LIBRARY_FUNCTION(library, cudnnSetFilter4dDescriptor);
  TESSERA_LIBRARY_FUNCTION(library, cudnnCreateConvolutionDescriptor);
  TESSERA_LIBRARY_FUNCTION(library, cudnnSetConvolution2dDescriptor);
  TESSERA_LIBRARY_FUNCTION(library, cudnnSetConvolutionGroupCount);
  TESSERA_LIBRARY_FUNCTION(library, cudnnSetConvolutionMathType);
  TESSERA_LIBRARY_FUNCTION(library, cudnnGetConvolutionForwardAlgorithm_v7);
  TESSERA_LIBRARY_FUNCTION(library, cudnnGetConvolutionBackwardDataAlgorithm_v7);
  TESSERA_LIBRARY_FUNCTION(library, cudnnGetConvolutionBackwardFilterAlgorithm_v7);
  TESSERA_LIBRARY_FUNCTION(library, cudnnConvolutionForward);
  TESSERA_LIBRARY_FUNCTION(library, cudnnConvolutionBackwardData);
  TESSERA_LIBRARY_FUNCTION(library, cudnnConvolutionBackwardFilter);
};

Cudnn& cudnn() {
  static Cudnn* const loaded = new Cudnn;
  return *loaded;
}

void check(cudnnStatus_t status, const char* call) {
  if (status != CUDNN_STATUS_SUCCESS)
    throw CudaError(cat("cuDNN: ", call, ": ", cudnn().cudnnGetErrorString_(status)));
}

cudnnHandle_t handle() {
  static std::array<cudnnHandle_t, 16> handles{};
  cudnnHandle_t& h = handles[static_cast<size_t>(current_device())];
  if (!h) {
    check(cudnn().cudnnCreate_(&h), "cudnnCreate");
    check(cudnn().cudnnSetStream_(h, current_stream()), "cudnnSetStream");
  }
  return h;
}

int64_t workspace_limit() {
  static const int64_t limit = [] {
    int64_t bytes = int64_t{256} << 20;
    if (const char* text = std::getenv("TESSERA_CUDA_WORKSPACE_LIMIT")) {
      const char* end = text + std::strlen(text);
      const auto [stop, error] = std::from_chars(text, end, bytes);
      TESSERA_CHECK(ValueError, error == std::errc() && stop == end && bytes >= 0,
                    "TESSERA_CUDA_WORKSPACE_LIMIT must be a whole number of bytes, got '", text,
                    "'");
    }
    return bytes;
  }();
  return limit;
}

// What a shape needs: made once, never destroyed. The algorithms are found when they are wanted.
struct Plan {
  cudnnTensorDescriptor_t x{}, y{};
  cudnnFilterDescriptor_t w{};
  cudnnConvolutionDescriptor_t convolution{};

  template <class Perf>
  struct Algorithm {
    bool known = false, usable = false;
    Perf perf{};
  };
  Algorithm<cudnnConvolutionFwdAlgoPerf_t> forward;
  Algorithm<cudnnConvolutionBwdDataAlgoPerf_t> input_grad;
  Algorithm<cudnnConvolutionBwdFilterAlgoPerf_t> weight_grad;

  Plan(const Conv2d& s, cudnnDataType_t type) {
    const auto i = [](int64_t v) { return static_cast<int>(v); };
    Cudnn& c = cudnn();
    check(c.cudnnCreateTensorDescriptor_(&x), "descriptor");
    check(c.cudnnSetTensor4dDescriptor_(x, CUDNN_TENSOR_NHWC, type, i(s.n), i(s.c), i(s.h), i(s.w)),
          "images");
    check(c.cudnnCreateTensorDescriptor_(&y), "descriptor");
    check(
        c.cudnnSetTensor4dDescriptor_(y, CUDNN_TENSOR_NHWC, type, i(s.n), i(s.o), i(s.ho), i(s.wo)),
        "output");
    check(c.cudnnCreateFilterDescriptor_(&w), "descriptor");
    check(c.cudnnSetFilter4dDescriptor_(w, type, CUDNN_TENSOR_NHWC, i(s.o), i(s.c / s.groups),
                                        i(s.kh), i(s.kw)),
          "filters");
    check(c.cudnnCreateConvolutionDescriptor_(&convolution), "descriptor");
    check(c.cudnnSetConvolution2dDescriptor_(
              convolution, i(s.padding_h), i(s.padding_w), i(s.stride_h), i(s.stride_w),
              i(s.dilation_h), i(s.dilation_w), CUDNN_CROSS_CORRELATION,
              type == CUDNN_DATA_DOUBLE ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT),
          "convolution");
    check(c.cudnnSetConvolutionGroupCount_(convolution, i(s.groups)), "groups");
    const bool plain = type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_DOUBLE;
    check(
        c.cudnnSetConvolutionMathType_(convolution, plain ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH),
        "math type");
  }
};

using Key = std::tuple<int, DType, std::array<int64_t, 16>>;

Plan* plan_for(const Conv2d& s, DType dtype) {
  if (!cudnn().library.why().empty()) return nullptr;
  const std::array<int64_t, 16> sizes{
      s.n,  s.h,        s.w,        s.c,         s.o,         s.kh,         s.kw,         s.ho,
      s.wo, s.stride_h, s.stride_w, s.padding_h, s.padding_w, s.dilation_h, s.dilation_w, s.groups};
  for (int64_t v : sizes)
    if (v > INT_MAX) return nullptr;
  if (s.n == 0 || s.c == 0 || s.o == 0) return nullptr;
  const cudnnDataType_t type = dtype == DType::f64    ? CUDNN_DATA_DOUBLE
                               : dtype == DType::f16  ? CUDNN_DATA_HALF
                               : dtype == DType::bf16 ? CUDNN_DATA_BFLOAT16
                                                      : CUDNN_DATA_FLOAT;
  static auto* plans = new std::map<Key, std::unique_ptr<Plan>>;
  auto& plan = (*plans)[{current_device(), dtype, sizes}];
  if (!plan) plan = std::make_unique<Plan>(s, type);
  return plan.get();
}

// The best of cuDNN's suggestions that gives the same bits every time and fits the workspace.
template <class Perf, class Query>
bool choose(Plan::Algorithm<Perf>& algorithm, Query&& query) {
  if (algorithm.known) return algorithm.usable;
  algorithm.known = true;
  std::array<Perf, 8> found{};
  int count = 0;
  if (query(static_cast<int>(found.size()), &count, found.data()) != CUDNN_STATUS_SUCCESS)
    return false;
  for (int i = 0; i < count; ++i) {
    const Perf& p = found[static_cast<size_t>(i)];
    if (p.status != CUDNN_STATUS_SUCCESS || p.determinism != CUDNN_DETERMINISTIC) continue;
    if (static_cast<int64_t>(p.memory) > workspace_limit()) continue;
    algorithm.perf = p;
    return algorithm.usable = true;
  }
  return false;
}

Tensor workspace(size_t bytes) {
  return empty({static_cast<int64_t>(bytes)}, DType::u8, {DeviceType::cuda, current_device()});
}

constexpr float kOne32 = 1, kZero32 = 0;
constexpr double kOne64 = 1, kZero64 = 0;
const void* one(DType dtype) {
  return dtype == DType::f64 ? static_cast<const void*>(&kOne64) : &kOne32;
}
const void* zero(DType dtype) {
  return dtype == DType::f64 ? static_cast<const void*>(&kZero64) : &kZero32;
}
void* data_of(const Tensor& t) { return t.numel() > 0 ? t.raw_data() : nullptr; }

}  // namespace

std::string describe_cudnn() {
  if (!cudnn().library.why().empty()) return cat("no cuDNN (", cudnn().library.why(), ")");
  return cat("cuDNN ", CUDNN_MAJOR, ".", CUDNN_MINOR);
}

bool conv2d(const Conv2d& shape, DType dtype, const void* x, const void* w, void* y) {
  Plan* p = plan_for(shape, dtype);
  if (!p) return false;
  Cudnn& c = cudnn();
  if (!choose(p->forward, [&](int most, int* count, auto* found) {
        return c.cudnnGetConvolutionForwardAlgorithm_v7_(handle(), p->x, p->w, p->convolution, p->y,
                                                         most, count, found);
      }))
    return false;
  const Tensor scratch = workspace(p->forward.perf.memory);
  check(c.cudnnConvolutionForward_(handle(), one(dtype), p->x, x, p->w, w, p->convolution,
                                   p->forward.perf.algo, data_of(scratch), p->forward.perf.memory,
                                   zero(dtype), p->y, y),
        "cudnnConvolutionForward");
  return true;
}

bool conv2d_input_grad(const Conv2d& shape, DType dtype, const void* g, const void* w, void* gx) {
  Plan* p = plan_for(shape, dtype);
  if (!p) return false;
  Cudnn& c = cudnn();
  if (!choose(p->input_grad, [&](int most, int* count, auto* found) {
        return c.cudnnGetConvolutionBackwardDataAlgorithm_v7_(handle(), p->w, p->y, p->convolution,
                                                              p->x, most, count, found);
      }))
    return false;
  const Tensor scratch = workspace(p->input_grad.perf.memory);
  check(c.cudnnConvolutionBackwardData_(handle(), one(dtype), p->w, w, p->y, g, p->convolution,
                                        p->input_grad.perf.algo, data_of(scratch),
                                        p->input_grad.perf.memory, zero(dtype), p->x, gx),
        "cudnnConvolutionBackwardData");
  return true;
}

bool conv2d_weight_grad(const Conv2d& shape, DType dtype, const void* g, const void* x, void* gw) {
  Plan* p = plan_for(shape, dtype);
  if (!p) return false;
  Cudnn& c = cudnn();
  if (!choose(p->weight_grad, [&](int most, int* count, auto* found) {
        return c.cudnnGetConvolutionBackwardFilterAlgorithm_v7_(
            handle(), p->x, p->y, p->convolution, p->w, most, count, found);
      }))
    return false;
  const Tensor scratch = workspace(p->weight_grad.perf.memory);
  check(c.cudnnConvolutionBackwardFilter_(handle(), one(dtype), p->x, x, p->y, g, p->convolution,
                                          p->weight_grad.perf.algo, data_of(scratch),
                                          p->weight_grad.perf.memory, zero(dtype), p->w, gw),
        "cudnnConvolutionBackwardFilter");
  return true;
}

#endif

}  // namespace tessera::cuda::library
