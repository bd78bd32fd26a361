#pragma once

#include <algorithm>
#include <type_traits>

#include "cuda/launch.h"
#include "tensor/tensor.h"

/// The main loop that matrix products and convolutions share:
///
///   out(z, m, n) = sum over k of a(z, m, k) * b(z, k, n)
///
/// A block owns a square tile of the result and walks along k; a and b come from loaders, and what
/// happens to a result is the output's business. All of them are structs passed by value:
///
///   loader  .bind(z)            the loader of one matrix, which has the rest:
///           .along_k()          which way its quads lie: four k of one x, or four x of one k
///           .depth              the matrix's k
///           .line(x)            what is known of index x (m or n), kept in registers
///           .load(line, k, end, v)  the quad that begins at (x, k): zeros past the matrix and from
///                               k = end on, neither of which it may read
///   output  .bind(z)            the output of one matrix:
///           .rows, .cols        its sizes
///           .store(m, n, v)     results (m, n .. n + 3); those from .cols on are not there
///
/// The order of every sum depends on the sizes alone, so results repeat bit for bit.
namespace tessera::cuda {

/// Four neighbours, moved at once: 16 bytes of f32.
template <class T>
struct alignas(sizeof(T) * 4 < 16 ? sizeof(T) * 4 : 16) Quad {
  T v[4];
};

template <class T>
bool is_quad_aligned(const T* p) {
  return reinterpret_cast<uintptr_t>(p) % alignof(Quad<T>) == 0;
}

template <class T, class C>
__device__ __forceinline__ void load_quad(const T* p, C (&v)[4]) {
  const Quad<T> q = *reinterpret_cast<const Quad<T>*>(p);
  TESSERA_UNROLL
  for (int i = 0; i < 4; ++i) v[i] = static_cast<C>(q.v[i]);
}
template <class T, class C>
__device__ __forceinline__ void store_quad(T* p, const C (&v)[4]) {
  Quad<T> q;
  TESSERA_UNROLL
  for (int i = 0; i < 4; ++i) q.v[i] = static_cast<T>(v[i]);
  *reinterpret_cast<Quad<T>*>(p) = q;
}

/// The direction of a loader's quads; `either` decides at run time.
enum class Along { k, x, either };

/// Loader of a matrix in memory, any strides (in elements). Quads of unit stride are read at once
/// where `vector` says that all of them are aligned.
template <class T, Along kAlong = Along::either>
struct StridedMatrix {
  const T* data;
  int64_t z_stride;
  int x_stride, k_stride;
  int size, depth;  // of x and k
  bool k_quads, vector;

  struct Line {
    const T* p;
    int count;  // x that are left
  };

  /// Which direction suits these strides.
  static bool prefers_k(int64_t x_stride, int64_t k_stride) {
    return k_stride == 1 || x_stride != 1;
  }
  static StridedMatrix make(const T* data, int64_t z_stride, int64_t x_stride, int64_t k_stride,
                            int64_t size, int64_t depth) {
    TESSERA_CHECK(ValueError, x_stride <= INT32_MAX && k_stride <= INT32_MAX,
                  "matrix product: strides of 2^31 and more are not supported on CUDA");
    StridedMatrix matrix{};
    matrix.data = data;
    matrix.z_stride = z_stride;
    matrix.x_stride = static_cast<int>(x_stride);
    matrix.k_stride = static_cast<int>(k_stride);
    matrix.size = static_cast<int>(size);
    matrix.depth = static_cast<int>(depth);
    const bool k_quads =
        kAlong == Along::either ? prefers_k(x_stride, k_stride) : kAlong == Along::k;
    const int64_t step = k_quads ? k_stride : x_stride, other = k_quads ? x_stride : k_stride;
    matrix.k_quads = k_quads;
    matrix.vector = step == 1 && other % 4 == 0 && z_stride % 4 == 0 && is_quad_aligned(data);
    return matrix;
  }
  __device__ StridedMatrix bind(int z) const {
    StridedMatrix bound = *this;
    bound.data += z * z_stride;
    return bound;
  }
  __device__ __forceinline__ bool along_k() const {
    return kAlong == Along::either ? k_quads : kAlong == Along::k;
  }
  __device__ __forceinline__ Line line(int x) const {
    return {data + int64_t{x} * x_stride, size - x};
  }

  template <class C>
  __device__ __forceinline__ void load(const Line& line, int k, int end, C (&v)[4]) const {
    const int left = end - k;
    const int count = along_k() ? (line.count > 0 ? left : 0) : (left > 0 ? line.count : 0);
    const T* p = line.p + int64_t{k} * k_stride;
    if (vector && count >= 4) return load_quad(p, v);
    const int step = along_k() ? k_stride : x_stride;
    TESSERA_UNROLL
    for (int i = 0; i < 4; ++i, p += step) v[i] = i < count ? static_cast<C>(*p) : C(0);
  }
};

/// A block of 2 * kSide threads owns kSide x kSide results in steps of kDepth; a thread owns
/// kRows x kCols of them. Both operands lie in shared memory as (k, x).
template <int kSide_, int kDepth_, int kRows_, int kCols_, int kBlocks_>
struct GemmTile {
  static constexpr int kSide = kSide_, kDepth = kDepth_, kRows = kRows_, kCols = kCols_;
  static constexpr int kThreads = 2 * kSide;
  static constexpr int kBlocks = kBlocks_;  // at least so many of an SM
  // Steps of k that are scheduled together. Tiles of side 128 have no registers for more.
  static constexpr int kUnroll = kSide == 128 ? 1 : 4;
  // The four rows of padding's columns put the quads along k of neighbouring lines in other banks.
  static constexpr int kLine = kSide + 4;
  static_assert(kThreads * kRows * kCols == kSide * kSide && kDepth % 8 == 0);
  static_assert(kRows % 4 == 0 && kCols % 4 == 0);
};

/// How the grid, one-dimensional, covers the result: columns vary first, then rows, splits of k and
/// matrices, so that blocks that run at one time share what they read.
struct GemmPlan {
  int tiles_m, tiles_n, splits;
  int depth;             // k of one split
  int rows, row_length;  // of one split's partial results
};

namespace detail {

/// One operand's way into shared memory: each thread carries kDepth / 8 quads of a single line.
template <class C, class Tile, class Loader>
struct GemmFeed {
  static constexpr int kQuads = Tile::kDepth / 8;

  Loader from;
  int x, k;
  typename Loader::Line line;
  C quads[kQuads][4];

  // Quads along k: two lanes read 32 bytes of a line. Quads along x: neighbouring lanes,
  // neighbours.
  __device__ __forceinline__ GemmFeed(const Loader& bound, int first) : from(bound) {
    const int t = static_cast<int>(threadIdx.x);
    x = from.along_k() ? t / 2 : t % (Tile::kSide / 4) * 4;
    k = from.along_k() ? t % 2 * 4 : t / (Tile::kSide / 4);
    line = from.line(first + x);
  }
  __device__ __forceinline__ void fetch(int begin, int end) {
    TESSERA_UNROLL
    for (int i = 0; i < kQuads; ++i) from.load(line, begin + k + i * 8, end, quads[i]);
  }
  __device__ __forceinline__ void stage(C (&tile)[Tile::kDepth][Tile::kLine]) const {
    TESSERA_UNROLL
    for (int i = 0; i < kQuads; ++i) {
      if (from.along_k()) {
        TESSERA_UNROLL
        for (int j = 0; j < 4; ++j) tile[k + i * 8 + j][x] = quads[i][j];
      } else {
        store_quad(&tile[k + i * 8][x], quads[i]);
      }
    }
  }
};

/// The product of two staged tiles by fused multiply-adds in registers. A warp's lanes lie 4 x 8,
/// so that one reads each operand's quads of a k in one or two sweeps of the banks.
template <class C, class Tile>
struct FmaProduct {
  static constexpr int kRowQuads = Tile::kRows / 4, kColQuads = Tile::kCols / 4;
  static constexpr int kRowStep = Tile::kSide / kRowQuads, kColStep = Tile::kSide / kColQuads;

  int row, col;  // of the first quad
  C sum[Tile::kRows][Tile::kCols] = {};

  __device__ __forceinline__ FmaProduct() {
    constexpr int kWarpsAcross = Tile::kSide / Tile::kCols / 8;
    const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
    row = (warp / kWarpsAcross * 4 + lane / 8) * 4;
    col = (warp % kWarpsAcross * 8 + lane % 8) * 4;
  }
  __device__ __forceinline__ void multiply(const C (&a)[Tile::kDepth][Tile::kLine],
                                           const C (&b)[Tile::kDepth][Tile::kLine]) {
    TESSERA_UNROLL_BY(Tile::kUnroll)
    for (int k = 0; k < Tile::kDepth; ++k) {
      C x[kRowQuads][4], y[kColQuads][4];
      TESSERA_UNROLL
      for (int q = 0; q < kRowQuads; ++q) load_quad(&a[k][row + q * kRowStep], x[q]);
      TESSERA_UNROLL
      for (int q = 0; q < kColQuads; ++q) load_quad(&b[k][col + q * kColStep], y[q]);
      TESSERA_UNROLL
      for (int i = 0; i < Tile::kRows; ++i) {
        TESSERA_UNROLL
        for (int j = 0; j < Tile::kCols; ++j) sum[i][j] += x[i / 4][i % 4] * y[j / 4][j % 4];
      }
    }
  }
  /// Calls fn(row, column, four neighbours) for all that this thread owns.
  template <class Fn>
  __device__ __forceinline__ void for_each_quad(const Fn& fn) const {
    TESSERA_UNROLL
    for (int i = 0; i < Tile::kRows; ++i) {
      TESSERA_UNROLL
      for (int q = 0; q < kColQuads; ++q) {
        const C v[4] = {sum[i][q * 4], sum[i][q * 4 + 1], sum[i][q * 4 + 2], sum[i][q * 4 + 3]};
        fn(row + i / 4 * kRowStep + i % 4, col + q * kColStep, v);
      }
    }
  }
};

// One block per tile and split. While a tile of depth kDepth is multiplied, the next one is on its
// way to registers and goes to the other half of shared memory: one barrier per kDepth. Tails of
// all three sizes are zeros that the loaders put in, and results that are not stored.
// Of each operand kSide values are read for kSide^2 multiply-adds: 16 (side 64) or 32 (128) flops
// per byte of f32, which the second-level cache can serve.
template <class Tile, class C, class A, class B, class Out>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    gemm_tile_kernel(GemmPlan plan, A a, B b, Out out, C* partial) {
  TESSERA_SHARED_ALIGNED(16, C, tile_a, [2][Tile::kDepth][Tile::kLine]);
  TESSERA_SHARED_ALIGNED(16, C, tile_b, [2][Tile::kDepth][Tile::kLine]);
  int block = static_cast<int>(blockIdx.x);
  const int first_n = block % plan.tiles_n * Tile::kSide;
  block /= plan.tiles_n;
  const int first_m = block % plan.tiles_m * Tile::kSide;
  block /= plan.tiles_m;
  const int split = block % plan.splits, z = block / plan.splits;
  if (first_m >= out.bind(z).rows) return;

  GemmFeed<C, Tile, decltype(a.bind(z))> feed_a(a.bind(z), first_m);
  GemmFeed<C, Tile, decltype(b.bind(z))> feed_b(b.bind(z), first_n);
  const int begin = split * plan.depth, end = min(feed_a.from.depth, begin + plan.depth);
  FmaProduct<C, Tile> product;
  if (begin < end) {
    feed_a.fetch(begin, end);
    feed_b.fetch(begin, end);
    feed_a.stage(tile_a[0]);
    feed_b.stage(tile_b[0]);
    __syncthreads();
  }
  int half = 0;
  for (int k = begin; k < end; k += Tile::kDepth, half ^= 1) {
    const bool more = k + Tile::kDepth < end;
    if (more) {
      feed_a.fetch(k + Tile::kDepth, end);
      feed_b.fetch(k + Tile::kDepth, end);
    }
    product.multiply(tile_a[half], tile_b[half]);
    if (more) {
      feed_a.stage(tile_a[half ^ 1]);
      feed_b.stage(tile_b[half ^ 1]);
      __syncthreads();
    }
  }
  const auto to = out.bind(z);  // not before: registers are scarce in the loop
  product.for_each_quad([&](int row, int col, const C(&v)[4]) {
    const int m = first_m + row, n = first_n + col;
    if (m >= to.rows || n >= to.cols) return;
    if (plan.splits == 1) return to.store(m, n, v);
    const int64_t line = (int64_t{z} * plan.splits + split) * plan.rows + m;
    store_quad(partial + line * plan.row_length + n, v);
  });
}

// A thread adds one quad's partial results in the splits' order. They were written just now and are
// few (gemm_splits), so they come from the second-level cache.
template <class C, class Out>
__global__ void __launch_bounds__(256, 4)
    gemm_sum_splits_kernel(GemmPlan plan, int quads, Out out, const C* partial) {
  const int per_row = plan.row_length / 4;
  const int step = static_cast<int>(gridDim.x * blockDim.x);
  for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < quads; i += step) {
    const int n = i % per_row * 4, m = i / per_row % plan.rows, z = i / per_row / plan.rows;
    const auto to = out.bind(z);
    if (m >= to.rows) continue;
    C sum[4] = {};
    for (int split = 0; split < plan.splits; ++split) {
      const int64_t line = (int64_t{z} * plan.splits + split) * plan.rows + m;
      C v[4];
      load_quad(partial + line * plan.row_length + n, v);
      TESSERA_UNROLL
      for (int j = 0; j < 4; ++j) sum[j] += v[j];
    }
    to.store(m, n, sum);
  }
}

// Blocks that fill a large GPU. A constant, so that no sum's order depends on the GPU.
inline constexpr int64_t kGemmFill = 132;
// A split of k is at least so long: its partial results then cost less than its operands.
inline constexpr int64_t kGemmSplitDepth = 256;

inline int64_t gemm_tiles(int64_t size, int64_t side) { return (size + side - 1) / side; }
inline int64_t gemm_splits(int64_t tiles, int64_t k) {
  if (tiles >= kGemmFill) return 1;
  return std::clamp<int64_t>(2 * kGemmFill / tiles, 1, std::max<int64_t>(k / kGemmSplitDepth, 1));
}

}  // namespace detail

/// Matrices, rows and columns of the result (the largest matrix's), and terms of a sum.
struct GemmSize {
  int64_t batch, m, n, k;
};

namespace detail {

// Whether tiles of this side fill the GPU and waste little at the edges.
inline bool gemm_side_pays(const GemmSize& s, int64_t side) {
  const int64_t tiles = s.batch * gemm_tiles(s.m, side) * gemm_tiles(s.n, side);
  const auto padded = [&](int64_t to) {
    return static_cast<double>(gemm_tiles(s.m, to) * to) *
           static_cast<double>(gemm_tiles(s.n, to) * to);
  };
  return tiles * gemm_splits(tiles, s.k) >= kGemmFill && padded(side) <= 1.25 * padded(side / 2);
}

template <class Tile, class C, class A, class B, class Out>
void gemm_tiled_by(const GemmSize& s, const A& a, const B& b, const Out& out, Device device) {
  const int64_t tiles_m = gemm_tiles(s.m, Tile::kSide), tiles_n = gemm_tiles(s.n, Tile::kSide);
  const int64_t tiles = s.batch * tiles_m * tiles_n;
  int64_t splits = gemm_splits(tiles, s.k);
  int64_t depth = (s.k + splits - 1) / splits;
  depth = std::max<int64_t>((depth + Tile::kDepth - 1) / Tile::kDepth, 1) * Tile::kDepth;
  splits = std::max<int64_t>((s.k + depth - 1) / depth, 1);
  TESSERA_CHECK(ValueError,
                s.m <= INT32_MAX / 2 && s.n <= INT32_MAX / 2 && s.k <= INT32_MAX / 2 &&
                    tiles * splits <= INT32_MAX,
                "matrix product of ", s.batch, " x (", s.m, " x ", s.k, " x ", s.n,
                "): too large for one launch");
  const GemmPlan plan{static_cast<int>(tiles_m), static_cast<int>(tiles_n),
                      static_cast<int>(splits),  static_cast<int>(depth),
                      static_cast<int>(s.m),     static_cast<int>((s.n + 3) / 4 * 4)};
  Tensor partial;
  C* scratch = nullptr;
  if (splits > 1) {
    partial = empty({s.batch * splits, s.m, plan.row_length}, dtype_of<C>(), device);
    scratch = partial.data<C>();
  }
  launch(gemm_tile_kernel<Tile, C, A, B, Out>,
         {static_cast<unsigned>(tiles * splits), static_cast<unsigned>(Tile::kThreads)}, plan, a, b,
         out, scratch);
  if (splits == 1) return;
  const int64_t quads = s.batch * s.m * (plan.row_length / 4);
  launch(gemm_sum_splits_kernel<C, Out>, {grid_for(quads, 256), 256}, plan, static_cast<int>(quads),
         out, scratch);
}

}  // namespace detail

/// Runs the product of `a` and `b` of elements T into `out`, in compute_t<T>. Nothing is done for
/// an empty result; k = 0 stores sums of nothing. Throws ValueError for sizes beyond 2^30.
template <class T, class A, class B, class Out>
void gemm_tiled(const GemmSize& size, const A& a, const B& b, const Out& out, Device device) {
  if (size.batch == 0 || size.m == 0 || size.n == 0) return;
  using C = compute_t<T>;
  if constexpr (std::is_same_v<T, float>) {
    if (detail::gemm_side_pays(size, 128))
      return detail::gemm_tiled_by<GemmTile<128, 8, 8, 8, 2>, C>(size, a, b, out, device);
  }
  if constexpr (std::is_same_v<T, C>) {
    constexpr bool kWide = std::is_same_v<T, double>;
    using Small = GemmTile<32, kWide ? 8 : 16, 4, 4, kWide ? 6 : 8>;
    using Middle = GemmTile<64, kWide ? 8 : 16, 8, 4, kWide ? 2 : 4>;
    if (detail::gemm_side_pays(size, 64))
      return detail::gemm_tiled_by<Middle, C>(size, a, b, out, device);
    detail::gemm_tiled_by<Small, C>(size, a, b, out, device);
  } else {
    detail::gemm_tiled_by<GemmTile<64, 16, 8, 4, 4>, C>(size, a, b, out, device);
  }
}

/// Leaves a result as it is.
struct Keep {
  template <class C>
  TESSERA_HD C operator()(C v) const {
    return v;
  }
};

/// Output of a product in memory, rows of unit stride: finish(result + bias + residual), the latter
/// two where they are not null. `vector` says that all quads are aligned.
template <class T, class Finish = Keep>
struct DenseOutput {
  using C = compute_t<T>;

  T* y;
  const T* bias;      // of a column, z_bias further for the next matrix
  const T* residual;  // like y
  int64_t z_stride, row_stride, z_bias;
  int rows, cols;
  bool vector;
  Finish finish;

  static DenseOutput make(T* y, const T* bias, const T* residual, int64_t z_stride,
                          int64_t row_stride, int64_t z_bias, int64_t rows, int64_t cols,
                          const Finish& finish = {}) {
    const bool vector = cols % 4 == 0 && row_stride % 4 == 0 && z_stride % 4 == 0 &&
                        z_bias % 4 == 0 && is_quad_aligned(y) && is_quad_aligned(bias) &&
                        is_quad_aligned(residual);
    return {y,
            bias,
            residual,
            z_stride,
            row_stride,
            z_bias,
            static_cast<int>(rows),
            static_cast<int>(cols),
            vector,
            finish};
  }
  __device__ DenseOutput bind(int z) const {
    DenseOutput bound = *this;
    bound.y += z * z_stride;
    if (bias) bound.bias += z * z_bias;
    if (residual) bound.residual += z * z_stride;
    return bound;
  }
  __device__ __forceinline__ void store(int m, int n, const C (&v)[4]) const {
    const int64_t at = m * row_stride + n;
    C r[4] = {v[0], v[1], v[2], v[3]};
    if (vector) {
      add_quad(bias ? bias + n : nullptr, r);
      add_quad(residual ? residual + at : nullptr, r);
      TESSERA_UNROLL
      for (int i = 0; i < 4; ++i) r[i] = finish(r[i]);
      return store_quad(y + at, r);
    }
    TESSERA_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (n + i >= cols) return;
      if (bias) r[i] += static_cast<C>(bias[n + i]);
      if (residual) r[i] += static_cast<C>(residual[at + i]);
      y[at + i] = static_cast<T>(finish(r[i]));
    }
  }

 private:
  __device__ __forceinline__ static void add_quad(const T* p, C (&r)[4]) {
    if (!p) return;
    C t[4];
    load_quad(p, t);
    TESSERA_UNROLL
    for (int i = 0; i < 4; ++i) r[i] += t[i];
  }
};

}  // namespace tessera::cuda
