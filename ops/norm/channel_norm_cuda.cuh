#pragma once

#include "cuda/reduce_tensor.cuh"
#include "ops/norm/channel_norm.h"
#include "ops/pointwise/pointwise_formulas.h"

// What the forward and backward CUDA kernels of channel_norm share.
namespace tessera::cuda {

inline constexpr int kNormBlock = detail::kReduceBlock;
inline constexpr int kNormUnroll = 4;  // rows that a thread has on their way at once

template <class C>
__device__ __forceinline__ C inverse_deviation(C var, double eps) {
  return static_cast<C>(1.0 / sqrt(static_cast<double>(var) + eps));
}

/// The activation of the epilogue, chosen when the kernel runs.
template <class C>
struct NormActivation {
  Activation kind;
  __device__ __forceinline__ C value(C x) const {
    if (kind == Activation::relu) return math::Relu::value(x, math::Args<C>{C(0), C(6)});
    if (kind == Activation::relu6) return math::Hardtanh::value(x, math::Args<C>{C(0), C(6)});
    return x;
  }
  /// From the result y, which without an activation may be anything.
  __device__ __forceinline__ C grad(C g, C y) const {
    if (kind == Activation::relu) return math::Relu::grad(g, y, math::Args<C>{C(0), C(6)});
    if (kind == Activation::relu6) return math::Hardtanh::grad(g, y, math::Args<C>{C(0), C(6)});
    return g;
  }
};

/// weight and bias in the computing type; null where undefined.
template <class C>
struct NormAffine {
  const C *weight = nullptr, *bias = nullptr;
  __device__ __forceinline__ C w(int64_t c) const { return weight ? weight[c] : C(1); }
  __device__ __forceinline__ C b(int64_t c) const { return bias ? bias[c] : C(0); }
};
/// Owns what a NormAffine points to.
template <class C>
class NormWeights {
 public:
  NormWeights(const Tensor& weight, const Tensor& bias)
      : weight_(converted(weight)), bias_(converted(bias)) {}
  NormAffine<C> affine() const {
    return {weight_.defined() ? weight_.template data<C>() : nullptr,
            bias_.defined() ? bias_.template data<C>() : nullptr};
  }

 private:
  static Tensor converted(const Tensor& t) {
    return t.defined() ? view::contiguous(view::to(t.detach(), dtype_of<C>())) : Tensor();
  }
  Tensor weight_, bias_;
};

/// x, contiguous (batch, rows, channels), cut into tiles: of `rows_per_tile` rows and, side by
/// side, `width` packs of `vector` channels. A thread of a block of kNormBlock keeps its channels,
/// so that their coefficients stay in registers, and takes every (kNormBlock / width)-th row.
struct NormTiles {
  int64_t rows, channels, rows_per_tile;
  int width;
  unsigned across, down, count;  // tiles along the channels, along the rows, in all

  NormTiles(const NormLayout& l, int vector) : rows(l.spatial), channels(l.channels) {
    const int64_t packs = detail::ceil_div(channels, vector);
    width = 1;
    while (width < 32 && width < packs) width *= 2;
    // 16 rows per thread, or fewer if the GPU would not be full.
    const int64_t depth =
        std::clamp<int64_t>(l.batch * rows * packs / detail::kReduceThreads, 1, 16);
    rows_per_tile = kNormBlock / width * depth;
    const int64_t a = detail::ceil_div(packs, width), d = detail::ceil_div(rows, rows_per_tile);
    TESSERA_CHECK(ValueError, a * d * l.batch <= INT32_MAX, "channel_norm: ", l.batch, " x ",
                  l.spatial, " x ", l.channels, " elements are too many");
    across = static_cast<unsigned>(a);
    down = static_cast<unsigned>(d);
    count = across * down * static_cast<unsigned>(l.batch);
  }
};

/// A thread's share of the tile that its block owns.
struct NormPlace {
  int64_t b, channel, row, end, step;

  /// From the last tile to the first: the pass before has read the last ones most recently. No rows
  /// for a thread beyond the channels.
  __device__ __forceinline__ NormPlace(const NormTiles& at, int vector) {
    const unsigned tile = at.count - 1 - blockIdx.x;
    const unsigned rest = tile / at.across, column = tile - rest * at.across;
    const unsigned batch = rest / at.down, down = rest - batch * at.down;
    b = batch;
    channel = (int64_t{column} * at.width + threadIdx.x % at.width) * vector;
    step = kNormBlock / at.width;
    row = down * at.rows_per_tile + threadIdx.x / at.width;
    const int64_t last = (int64_t{down} + 1) * at.rows_per_tile;
    end = channel >= at.channels ? 0 : last < at.rows ? last : at.rows;
  }
};

/// Packs of kVector coefficients of type C, where `channels` is a multiple of kVector.
template <int kVector, class C>
__device__ __forceinline__ detail::Pack<C, kVector> load_coefficients(const C* p) {
  return detail::load_pack<kVector>(p, 1);
}

/// Whether the kernels may take packs of `vector` channels.
template <class... T>
bool norm_packs(const NormLayout& l, int vector, const T*... data) {
  return l.channels % vector == 0 &&
         ((reinterpret_cast<uintptr_t>(data) % (sizeof(T) * vector) == 0) && ...);
}

inline bool is_layer_norm(const NormLayout& l) {
  return l.spatial == 1 && l.group == l.channels && l.channels < INT32_MAX / 2;
}

/// Threads that share the channels of a group in the kernels that make coefficients.
inline int norm_group_threads(const NormLayout& l) {
  int threads = 1;
  while (threads < kNormBlock && 2 * threads <= l.group) threads *= 2;
  return threads;
}

}  // namespace tessera::cuda
