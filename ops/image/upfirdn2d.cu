#include "ops/image/upfirdn2d.h"

#include <algorithm>

#include "cuda/map.cuh"

namespace tessera {
namespace {

using cuda::detail::Pack;

constexpr int kThreads = 256;
constexpr int kLanesBytes = 64;  // of one pixel in shared memory: 16 floats or 8 doubles

/// One axis: output o is made from the pixels source, source + 1, ... and the taps tap, tap + up,
/// ..., where source * up is the first multiple of up at or behind o * down - padding. Positions
/// are counted from a block's first pixel, so that they are small and not negative.
struct FirAxis {
  int64_t in, out, down, padding;
  int up, taps;
  cuda::Divider by_up;

  FirAxis(int64_t in_, int64_t out_, int64_t taps_, int64_t up_, int64_t down_, int64_t padding_)
      : in(in_),
        out(out_),
        down(down_),
        padding(padding_),
        up(static_cast<int>(up_)),
        taps(static_cast<int>(taps_)),
        by_up(up_) {}

  /// Pixels that `outputs` neighbouring outputs need, whatever their place.
  int64_t pixels(int64_t outputs) const {
    return (up - 1 + (outputs - 1) * down + taps - 1) / up + 1;
  }
  /// The first pixel of the outputs from o on, and the distance from it to the filter.
  __device__ __forceinline__ int64_t origin(int64_t o, int& rest) const {
    const int64_t at = o * down - padding;
    const int64_t floored = at >= 0 ? at / up : -((up - 1 - at) / up);
    rest = static_cast<int>(at - floored * up);
    return floored;
  }
  /// Pixel and tap of the output `local` behind that.
  __device__ __forceinline__ int source(int local, int rest, int& tap) const {
    const int at = rest + local * static_cast<int>(down);
    const int pixel = static_cast<int>(by_up.divide(static_cast<uint32_t>(at + up - 1)));
    tap = pixel * up - at;
    return pixel;
  }
};

struct Fir {
  FirAxis rows, columns;
  int64_t images, channels;
  bool flip;

  // h[i]: the filter as it is correlated.
  template <class C>
  __device__ __forceinline__ C weight(const float* __restrict__ filter, int i, C gain) const {
    return static_cast<C>(filter[flip ? i : rows.taps * columns.taps - 1 - i]) * gain;
  }
};

/// The part of y that a block makes: tile_h x tile_w pixels, `lanes` groups of kVector channels.
struct Tiles {
  int tile_h, tile_w, lanes, pixels_h, pixels_w;
  uint32_t blocks;                   // tiles of all images
  cuda::Divider deep, across, down;  // tiles of one: along its channels, columns and rows
  cuda::Divider by_lanes, by_width, by_pixels;
};

template <int kVector, class T>
__device__ __forceinline__ Pack<compute_t<T>, kVector> load_wide(const T* p) {
  const auto from = *reinterpret_cast<const Pack<T, kVector>*>(p);
  Pack<compute_t<T>, kVector> wide;
  TESSERA_UNROLL
  for (int k = 0; k < kVector; ++k) wide.v[k] = static_cast<compute_t<T>>(from.v[k]);
  return wide;
}
template <int kVector, class T>
__device__ __forceinline__ void store_narrow(T* p, const Pack<compute_t<T>, kVector>& wide) {
  Pack<T, kVector> to;
  TESSERA_UNROLL
  for (int k = 0; k < kVector; ++k) to.v[k] = static_cast<T>(wide.v[k]);
  *reinterpret_cast<Pack<T, kVector>*>(p) = to;
}

// The pixels under a block's tile, those outside of the image as zeros. Four loads of a thread are
// under way at a time.
template <class T, int kVector>
__device__ __forceinline__ void load_tile(const Fir& fir, const Tiles& tiles, int64_t image,
                                          int64_t iy, int64_t ix, int64_t channel,
                                          const T* __restrict__ x,
                                          Pack<compute_t<T>, kVector>* pixels) {
  using P = Pack<compute_t<T>, kVector>;
  constexpr int kAhead = 4;
  const FirAxis &rows = fir.rows, &columns = fir.columns;
  const int count = tiles.pixels_h * tiles.pixels_w * tiles.lanes;
  for (int first = threadIdx.x; first < count; first += kAhead * kThreads) {
    P value[kAhead];
    TESSERA_UNROLL
    for (int u = 0; u < kAhead; ++u) {
      auto lane = static_cast<uint32_t>(first + u * kThreads);
      uint32_t column = tiles.by_lanes.split(lane);
      const int64_t r = iy + tiles.by_pixels.split(column), c = ix + column;
      const int64_t k = channel + static_cast<int64_t>(lane) * kVector;
      value[u] = P{};
      if (first + u * kThreads < count && r >= 0 && r < rows.in && c >= 0 && c < columns.in &&
          k < fir.channels)
        value[u] =
            load_wide<kVector>(x + ((image * rows.in + r) * columns.in + c) * fir.channels + k);
    }
    TESSERA_UNROLL
    for (int u = 0; u < kAhead; ++u)
      if (first + u * kThreads < count) pixels[first + u * kThreads] = value[u];
  }
}

// kRows outputs below each other of which `under` is the first pixel and `w` the first weight.
// kTaps > 0: so many taps along either axis meet pixels; a row of pixels that is loaded serves all
// outputs that it reaches, where they follow each other pixel by pixel (kRows > 1). kTaps 0: as
// many as there are.
template <int kTaps, int kRows, class P, class C>
__device__ __forceinline__ void apply_taps(const Fir& fir, int pitch, int lanes, const P* under,
                                           const C* w, int tap_y, int tap_x, P (&sum)[kRows]) {
  constexpr int kVector = sizeof(P) / sizeof(C);
  const FirAxis &rows = fir.rows, &columns = fir.columns;
  const auto add = [](P& to, const P& value, C weight) {
    TESSERA_UNROLL
    for (int v = 0; v < kVector; ++v) to.v[v] += value.v[v] * weight;
  };
  if constexpr (kTaps > 0) {
    TESSERA_UNROLL
    for (int a = 0; a < kTaps + kRows - 1; ++a) {
      TESSERA_UNROLL
      for (int e = 0; e < kTaps; ++e) {
        const P value = under[(a * pitch + e) * lanes];
        TESSERA_UNROLL
        for (int r = 0; r < kRows; ++r)
          if (a >= r && a - r < kTaps)
            add(sum[r], value, w[(a - r) * rows.up * columns.taps + e * columns.up]);
      }
    }
  } else {
    for (int a = 0; tap_y + a * rows.up < rows.taps; ++a)
      for (int e = 0; tap_x + e * columns.up < columns.taps; ++e)
        add(sum[0], under[(a * pitch + e) * lanes], w[a * rows.up * columns.taps + e * columns.up]);
  }
}

// A block owns a tile of one image's y. It loads the pixels under it and the filter to shared
// memory, so each pixel is read from memory once but for the rim that neighbouring tiles share;
// then a thread makes kVector channels of kRows output pixels, neighbouring threads neighbouring
// channels. Tails of tiles and channels are guarded; kVector is 1 where channels do not divide or
// lie unaligned. kTaps and kRows as in apply_taps; kRows > 1 for up and down 1 along the columns.
// Bytes: x about 1.2 to 1.4 times, y once. Shared memory delivers 16 bytes per vector and tap, and
// with 4 x 4 taps and 4 rows 7 for each output instead of 16, which hides behind the memory's time.
template <class T, int kVector, int kTaps, int kRows>
__global__ void __launch_bounds__(kThreads)
    upfirdn2d_tile(Fir fir, Tiles tiles, compute_t<T> gain, const float* __restrict__ filter,
                   const T* __restrict__ x, T* __restrict__ y) {
  using C = compute_t<T>;
  using P = Pack<C, kVector>;
  TESSERA_DYNAMIC_SHARED(P, pixels);
  const int lanes = tiles.lanes, pitch = tiles.pixels_w;
  C* weights = reinterpret_cast<C*>(pixels + tiles.pixels_h * pitch * lanes);
  const FirAxis &rows = fir.rows, &columns = fir.columns;
  for (int i = threadIdx.x; i < rows.taps * columns.taps; i += kThreads)
    weights[i] = fir.weight(filter, i, gain);
  for (uint32_t b = blockIdx.x; b < tiles.blocks; b += gridDim.x) {
    uint32_t deep = b;
    uint32_t across = tiles.deep.split(deep), down = tiles.across.split(across);
    const int64_t image = tiles.down.split(down), channel = int64_t{deep} * lanes * kVector;
    const int64_t oy = int64_t{down} * tiles.tile_h, ox = int64_t{across} * tiles.tile_w;
    int rest_y, rest_x;
    const int64_t iy = rows.origin(oy, rest_y), ix = columns.origin(ox, rest_x);
    load_tile<T, kVector>(fir, tiles, image, iy, ix, channel, x, pixels);
    __syncthreads();
    const int work = tiles.tile_h / kRows * tiles.tile_w * lanes;
    for (int i = threadIdx.x; i < work; i += kThreads) {
      auto lane = static_cast<uint32_t>(i);
      uint32_t column = tiles.by_lanes.split(lane);
      const int row = static_cast<int>(tiles.by_width.split(column)) * kRows;
      const int64_t c = ox + column, k = channel + static_cast<int64_t>(lane) * kVector;
      if (oy + row >= rows.out || c >= columns.out || k >= fir.channels) continue;
      int tap_y, tap_x;
      const int py = rows.source(row, rest_y, tap_y);
      const int px = columns.source(static_cast<int>(column), rest_x, tap_x);
      P sum[kRows] = {};
      apply_taps<kTaps>(fir, pitch, lanes, pixels + (py * pitch + px) * lanes + lane,
                        weights + tap_y * columns.taps + tap_x, tap_y, tap_x, sum);
      TESSERA_UNROLL
      for (int r = 0; r < kRows; ++r)
        if (oy + row + r < rows.out)
          store_narrow<kVector>(
              y + ((image * rows.out + oy + row + r) * columns.out + c) * fir.channels + k, sum[r]);
    }
    __syncthreads();
  }
}

// For filters whose tiles do not fit into shared memory: a thread per element of y, neighbouring
// threads neighbouring channels, reads its pixels from memory. Bytes: y once, x once per tap and
// up * up, mostly from the caches.
template <class T>
__global__ void __launch_bounds__(kThreads)
    upfirdn2d_direct(Fir fir, int64_t elements, compute_t<T> gain, const float* __restrict__ filter,
                     const T* __restrict__ x, T* __restrict__ y) {
  using C = compute_t<T>;
  const FirAxis &rows = fir.rows, &columns = fir.columns;
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t e = int64_t{blockIdx.x} * kThreads + threadIdx.x; e < elements; e += step) {
    const int64_t k = e % fir.channels, pixel = e / fir.channels;
    const int64_t ox = pixel % columns.out, oy = pixel / columns.out % rows.out;
    const int64_t image = pixel / columns.out / rows.out;
    int rest_y, rest_x, tap_y, tap_x;
    const int64_t y0 = rows.origin(oy, rest_y), x0 = columns.origin(ox, rest_x);
    const int64_t iy = y0 + rows.source(0, rest_y, tap_y),
                  ix = x0 + columns.source(0, rest_x, tap_x);
    C sum = 0;
    for (int64_t r = iy; tap_y < rows.taps; ++r, tap_y += rows.up) {
      if (r < 0 || r >= rows.in) continue;
      int tap = tap_x;
      for (int64_t c = ix; tap < columns.taps; ++c, tap += columns.up) {
        if (c < 0 || c >= columns.in) continue;
        sum += static_cast<C>(x[((image * rows.in + r) * columns.in + c) * fir.channels + k]) *
               fir.weight(filter, tap_y * columns.taps + tap, gain);
      }
    }
    y[e] = static_cast<T>(sum);
  }
}

/// The largest tile whose pixels and filter fit into shared memory; tile_h 0 if none does,
/// or for more tiles than 32 bits count. tile_h
/// is a multiple of `rows`.
Tiles choose_tiles(const Fir& fir, int vector, int64_t element, int64_t rows, int64_t& bytes) {
  constexpr int64_t limit = 48 << 10;
  const int64_t groups = (fir.channels + vector - 1) / vector;
  const int64_t lanes = std::min(groups, kLanesBytes / (element * vector));
  for (const auto& [h, w] : {std::pair{16, 16}, {8, 16}, {8, 8}, {4, 8}, {4, 4}}) {
    const int64_t tile_h = std::min<int64_t>(h, (fir.rows.out + rows - 1) / rows * rows);
    const int64_t tile_w = std::min<int64_t>(w, fir.columns.out);
    const int64_t ph = fir.rows.pixels(tile_h), pw = fir.columns.pixels(tile_w);
    if (ph > limit || pw > limit) continue;
    bytes = (ph * pw * lanes * vector + int64_t{fir.rows.taps} * fir.columns.taps) * element;
    if (bytes > limit) continue;
    const int64_t deep = (groups + lanes - 1) / lanes;
    const int64_t across = (fir.columns.out + tile_w - 1) / tile_w;
    const int64_t down = (fir.rows.out + tile_h - 1) / tile_h;
    if (fir.images * down * across * deep > INT32_MAX) return {};
    return {static_cast<int>(tile_h), static_cast<int>(tile_w),
            static_cast<int>(lanes),  static_cast<int>(ph),
            static_cast<int>(pw),     static_cast<uint32_t>(fir.images * down * across * deep),
            cuda::Divider(deep),      cuda::Divider(across),
            cuda::Divider(down),      cuda::Divider(lanes),
            cuda::Divider(tile_w),    cuda::Divider(pw)};
  }
  return {};
}

// Taps that meet pixels along both axes, if it is the same number at every output.
int constant_taps(const Fir& fir) {
  const FirAxis &r = fir.rows, &c = fir.columns;
  if (r.taps % r.up != 0 || c.taps % c.up != 0 || r.taps / r.up != c.taps / c.up) return 0;
  return r.taps / r.up;
}

template <class T, int kVector, int kTaps, int kRows>
bool launch_tiles(const Fir& fir, compute_t<T> gain, const Tensor& filter, const Tensor& x,
                  Tensor& y) {
  int64_t bytes = 0;
  const Tiles tiles = choose_tiles(fir, kVector, sizeof(compute_t<T>), kRows, bytes);
  if (tiles.tile_h == 0) return false;
  cuda::launch(upfirdn2d_tile<T, kVector, kTaps, kRows>,
               {cuda::grid_for(tiles.blocks, 1), kThreads, static_cast<size_t>(bytes)}, fir, tiles,
               gain, filter.data<float>(), x.data<T>(), y.data<T>());
  return true;
}

template <class T>
bool launch_fitting(const Fir& fir, compute_t<T> gain, const Tensor& filter, const Tensor& x,
                    Tensor& y) {
  constexpr int kVector = 16 / sizeof(compute_t<T>), kRows = kVector;  // what registers hold
  const auto aligned = [](const Tensor& t) {
    return reinterpret_cast<uintptr_t>(t.raw_data()) % (sizeof(T) * kVector) == 0;
  };
  if (fir.channels % kVector != 0 || !aligned(x) || !aligned(y))
    return launch_tiles<T, 1, 0, 1>(fir, gain, filter, x, y);
  const int taps = constant_taps(fir);
  if (taps == 4 && fir.rows.up == 1 && fir.rows.down == 1)
    return launch_tiles<T, kVector, 4, kRows>(fir, gain, filter, x, y);
  if (taps == 4) return launch_tiles<T, kVector, 4, 1>(fir, gain, filter, x, y);
  if (taps == 2) return launch_tiles<T, kVector, 2, 1>(fir, gain, filter, x, y);
  return launch_tiles<T, kVector, 0, 1>(fir, gain, filter, x, y);
}

template <class T>
void upfirdn2d_typed(const Fir& fir, compute_t<T> gain, const Tensor& filter, const Tensor& x,
                     Tensor& y) {
  if (launch_fitting<T>(fir, gain, filter, x, y)) return;
  cuda::launch(upfirdn2d_direct<T>, {cuda::grid_for(y.numel(), kThreads), kThreads}, fir, y.numel(),
               gain, filter.data<float>(), x.data<T>(), y.data<T>());
}

void upfirdn2d_cuda(const Tensor& x, const Tensor& filter, const Upfirdn2dArgs& args, Tensor& y) {
  if (y.numel() == 0) return;
  TESSERA_CHECK(ValueError, filter.numel() < 1 << 30, "upfirdn2d: a filter of ", filter.shape(),
                " is too large");
  const Fir fir{{x.size(1), y.size(1), filter.size(0), args.up.h, args.down.h, args.top},
                {x.size(2), y.size(2), filter.size(1), args.up.w, args.down.w, args.left},
                x.size(0),
                x.size(3),
                args.flip_filter};
  dispatch_floating(y.dtype(), "upfirdn2d", [&]<class T>() {
    upfirdn2d_typed<T>(fir, static_cast<compute_t<T>>(args.gain), filter, x, y);
  });
}

TESSERA_KERNEL(upfirdn2d, cuda, upfirdn2d_cuda);

}  // namespace
}  // namespace tessera
