// Depthwise convolutions. Each value takes part in KH KW multiply-adds only, so the bound is
// memory: the image and the result once each, which holds as long as the rows that a filter covers
// stay in the caches. Filters are moved to (KH KW, O) first, where neighbouring channels are
// neighbours.
#include "cuda/gemm_tile.cuh"
#include "ops/conv/conv2d_cuda.h"
#include "ops/conv/gather_axis.cuh"
#include "tensor/view.h"

namespace tessera::conv::cuda::depthwise {
namespace {

using tessera::cuda::Divider;
using tessera::cuda::grid_for;
using tessera::cuda::is_quad_aligned;
using tessera::cuda::launch;
using tessera::cuda::load_quad;
using tessera::cuda::store_quad;

constexpr int kBlock = 256;
constexpr int kStrip = 4;  // pixels of a row that a thread makes: they share the loads of a filter

template <int kLanes, class T, class C>
__device__ __forceinline__ void load_lanes(const T* p, C (&v)[kLanes]) {
  if constexpr (kLanes == 4)
    load_quad(p, v);
  else
    v[0] = static_cast<C>(*p);
}
template <int kLanes, class T, class C>
__device__ __forceinline__ void store_lanes(T* p, const C (&v)[kLanes]) {
  if constexpr (kLanes == 4)
    store_quad(p, v);
  else
    *p = static_cast<T>(v[0]);
}

// The forward pass and the input gradient. `out` has `channels` channels, `in` in_channels; one of
// the two is the other times `multiplier`.
template <class T>
struct Gather {
  const T* in;
  const T* filters;  // (taps, O)
  const T* bias;     // the epilogue; null where unwanted
  const T* residual;
  T* out;
  Clamp<compute_t<T>> clamp;
  ConvAxis conv_h, conv_w;
  GatherAxis h, w;  // forward only
  int channels, in_channels, multiplier;
  int height, width;  // of out
  int strips;         // of a row and one phase of its columns
  Divider lanes, row_strips, rows;
  uint32_t count;  // threads with work
};

// A thread owns kLanes channels (4, or 1 where they do not lie aligned) of a strip of pixels of a
// row; neighbouring threads own neighbouring channels. The pixels of a strip are `stride` apart in
// the gradient (one phase), 1 in the forward pass. Strips may end outside the row, where nothing is
// stored.
template <bool kTransposed, int kLanes, class T>
__global__ void __launch_bounds__(kBlock, 2) depthwise_gather_kernel(Gather<T> a) {
  using C = compute_t<T>;
  const uint32_t step = gridDim.x * blockDim.x;
  for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < a.count; i += step) {
    uint32_t lane = i, strip = a.lanes.split(lane);
    uint32_t row = a.row_strips.split(strip);
    const int image = static_cast<int>(a.rows.split(row)), y = static_cast<int>(row);
    const int channel = static_cast<int>(lane) * kLanes;
    const int phase = static_cast<int>(strip) / a.strips;
    const GatherAxis h = kTransposed ? a.conv_h.transposed(y % a.conv_h.stride) : a.h;
    const GatherAxis w = kTransposed ? a.conv_w.transposed(phase) : a.w;
    const int first = (static_cast<int>(strip) - phase * a.strips) * kStrip;
    const int top = (kTransposed ? y / a.conv_h.stride : y) * h.stride + h.base;
    const int left = first * w.stride + w.base;
    const T* in = a.in + int64_t{image} * (h.size * w.size) * a.in_channels;
    const int filter_channels = kTransposed ? a.in_channels : a.channels;

    C sum[kStrip][kLanes] = {};
    for (int m = 0; m < (kTransposed ? a.multiplier : 1); ++m) {
      const int from = kTransposed ? channel * a.multiplier + m : channel / a.multiplier;
      const T* filters = a.filters + (kTransposed ? from : channel);
      for (int th = 0; th < h.taps; ++th) {
        const int in_y = top + th * h.reach;
        if (in_y < 0 || in_y >= h.size) continue;
        const int filter_row = (h.first_tap + th * h.tap_step) * a.conv_w.k + w.first_tap;
        for (int tw = 0; tw < w.taps; ++tw) {
          C f[kLanes];
          load_lanes<kLanes>(filters + int64_t{filter_row + tw * w.tap_step} * filter_channels, f);
          TESSERA_UNROLL
          for (int r = 0; r < kStrip; ++r) {
            const int in_x = left + r * w.stride + tw * w.reach;
            if (in_x < 0 || in_x >= w.size) continue;
            C v[kLanes];
            load_lanes<kLanes>(in + int64_t{in_y * w.size + in_x} * a.in_channels + from, v);
            TESSERA_UNROLL
            for (int l = 0; l < kLanes; ++l) sum[r][l] += f[l] * v[l];
          }
        }
      }
    }

    C add[kLanes] = {};
    if (a.bias) load_lanes<kLanes>(a.bias + channel, add);
    TESSERA_UNROLL
    for (int r = 0; r < kStrip; ++r) {
      if (first + r >= w.count) break;
      const int64_t pixel =
          int64_t{image} * (a.height * a.width) + y * a.width + w.first + (first + r) * w.step;
      const int64_t at = pixel * a.channels + channel;
      C more[kLanes] = {};
      if (a.residual) load_lanes<kLanes>(a.residual + at, more);
      TESSERA_UNROLL
      for (int l = 0; l < kLanes; ++l) sum[r][l] = a.clamp(sum[r][l] + add[l] + more[l]);
      store_lanes<kLanes>(a.out + at, sum[r]);
    }
  }
}

// Partial weight gradients. A block of kBlock threads owns the channels of `lanes` threads side by
// side, kTaps taps and one stretch of the pixels; a thread walks through every kBlock / lanes-th of
// them, holding its sums in registers. The block then adds them pairwise. g is read once for kTaps
// taps, x once per tap, mostly from the first-level cache.
template <class T>
struct WeightGrad {
  const T* g;
  const T* x;
  compute_t<T>* partial;  // (chunks, taps, O)
  GatherAxis h, w;
  int kw, taps, channels, in_channels, multiplier;
  int lanes, blocks_across, tap_chunks;
  int pixels, chunk;  // all, and of a stretch
  Divider rows, cols;
};

constexpr int kTaps = 9;

template <int kLanes, class T>
__global__ void __launch_bounds__(kBlock, 2) depthwise_weight_grad_kernel(WeightGrad<T> a) {
  using C = compute_t<T>;
  struct alignas(16) Lanes {
    C v[kLanes];
  };
  TESSERA_SHARED(Lanes, sums, [kBlock]);
  int block = static_cast<int>(blockIdx.x);
  const int across = block % a.blocks_across;
  block /= a.blocks_across;
  const int first_tap = block % a.tap_chunks * kTaps, stretch = block / a.tap_chunks;
  const int thread = static_cast<int>(threadIdx.x);
  const int channel = (across * a.lanes + thread % a.lanes) * kLanes;
  const bool mine = channel < a.channels;

  C sum[kTaps][kLanes] = {};
  const int begin = stretch * a.chunk, end = min(begin + a.chunk, a.pixels);
  const int from = channel / a.multiplier;
  for (int p = begin + thread / a.lanes; mine && p < end; p += kBlock / a.lanes) {
    auto col = static_cast<uint32_t>(p);
    uint32_t row = a.cols.split(col);
    const auto image = static_cast<int>(a.rows.split(row));
    C g[kLanes];
    load_lanes<kLanes>(a.g + int64_t{p} * a.channels + channel, g);
    const T* x = a.x + int64_t{image} * (a.h.size * a.w.size) * a.in_channels + from;
    const int top = static_cast<int>(row) * a.h.stride + a.h.base;
    const int left = static_cast<int>(col) * a.w.stride + a.w.base;
    int kh = first_tap / a.kw, kw = first_tap % a.kw;
    TESSERA_UNROLL
    for (int t = 0; t < kTaps; ++t) {
      const int in_y = top + kh * a.h.reach, in_x = left + kw * a.w.reach;
      if (first_tap + t < a.taps && in_y >= 0 && in_y < a.h.size && in_x >= 0 && in_x < a.w.size) {
        C v[kLanes];
        load_lanes<kLanes>(x + int64_t{in_y * a.w.size + in_x} * a.in_channels, v);
        TESSERA_UNROLL
        for (int l = 0; l < kLanes; ++l) sum[t][l] += g[l] * v[l];
      }
      if (++kw == a.kw) kw = 0, ++kh;
    }
  }

  TESSERA_UNROLL
  for (int t = 0; t < kTaps; ++t) {
    TESSERA_UNROLL
    for (int l = 0; l < kLanes; ++l) sums[thread].v[l] = sum[t][l];
    __syncthreads();
    for (int half = kBlock / 2; half >= a.lanes; half /= 2) {
      if (thread < half) {
        TESSERA_UNROLL
        for (int l = 0; l < kLanes; ++l) sums[thread].v[l] += sums[thread + half].v[l];
      }
      __syncthreads();
    }
    if (thread < a.lanes && mine && first_tap + t < a.taps) {
      const int64_t line = int64_t{stretch} * a.taps + first_tap + t;
      TESSERA_UNROLL
      for (int l = 0; l < kLanes; ++l)
        a.partial[line * a.channels + channel + l] = sums[thread].v[l];
    }
    __syncthreads();
  }
}

// A block adds the stretches of 32 weights: eight threads to a weight take every eighth stretch,
// and the first of them adds the eight. gw is (O, taps), the partial sums (stretches, taps, O).
template <class T>
__global__ void __launch_bounds__(kBlock)
    depthwise_sum_stretches_kernel(const compute_t<T>* partial, int stretches, int taps,
                                   int channels, T* gw) {
  using C = compute_t<T>;
  constexpr int kAcross = 32, kDown = kBlock / kAcross;
  TESSERA_SHARED(C, sums, [kDown][kAcross]);
  const int across = static_cast<int>(threadIdx.x) % kAcross;
  const int down = static_cast<int>(threadIdx.x) / kAcross;
  const int weights = taps * channels;
  const int i = static_cast<int>(blockIdx.x) * kAcross + across;
  C sum = 0;
  if (i < weights)
    for (int s = down; s < stretches; s += kDown) sum += partial[int64_t{s} * weights + i];
  sums[down][across] = sum;
  __syncthreads();
  if (down > 0 || i >= weights) return;
  for (int s = 1; s < kDown; ++s) sum += sums[s][across];
  gw[int64_t{i % channels} * taps + i / channels] = static_cast<T>(sum);
}

void check_sizes(const ConvShape& s) {
  TESSERA_CHECK(ValueError,
                s.h * s.w < INT32_MAX / 2 && s.ho * s.wo < INT32_MAX / 2 && s.o < INT32_MAX / 2 &&
                    s.kh * s.kw * s.o < INT32_MAX / 2 && s.n * s.ho * s.wo < INT32_MAX / 2,
                "depthwise convolution of ", s.n, " images of ", s.h, " x ", s.w, " x ", s.c,
                ": 2^30 pixels and more are not supported on CUDA");
}

// (O, KH, KW, 1) -> (KH KW, O).
Tensor by_taps(const ConvShape& s, const Tensor& w) {
  return view::contiguous(view::transpose(view::reshape(w, {s.o, s.kh * s.kw}), 0, 1));
}

// What both directions know alike; then launches with four channels a thread where they lie so.
template <bool kTransposed, class T>
void run_gather(const ConvShape& s, Gather<T>& a) {
  const bool quads = s.o == s.c && s.c % 4 == 0 && is_quad_aligned(a.in) &&
                     is_quad_aligned(a.filters) && is_quad_aligned(a.bias) &&
                     is_quad_aligned(a.residual) && is_quad_aligned(a.out);
  a.conv_h = height_axis(s);
  a.conv_w = width_axis(s);
  a.channels = static_cast<int>(kTransposed ? s.c : s.o);
  a.in_channels = static_cast<int>(kTransposed ? s.o : s.c);
  a.multiplier = static_cast<int>(s.o / s.c);
  a.height = static_cast<int>(kTransposed ? s.h : s.ho);
  a.width = static_cast<int>(kTransposed ? s.w : s.wo);
  const int64_t phases = kTransposed ? a.conv_w.phases() : 1;
  const int64_t columns = kTransposed ? a.conv_w.transposed(0).count : s.wo;
  const int64_t strips = (columns + kStrip - 1) / kStrip;
  const int64_t lanes = a.channels / (quads ? 4 : 1);
  const int64_t count = s.n * a.height * phases * strips * lanes;
  TESSERA_CHECK(ValueError, count <= INT32_MAX, "depthwise convolution of ", s.n, " images of ",
                s.h, " x ", s.w, " x ", s.c, ": too large for one launch");
  a.strips = static_cast<int>(strips);
  a.lanes = Divider(lanes);
  a.row_strips = Divider(phases * strips);
  a.rows = Divider(a.height);
  a.count = static_cast<uint32_t>(count);
  const auto kernel = quads ? depthwise_gather_kernel<kTransposed, 4, T>
                            : depthwise_gather_kernel<kTransposed, 1, T>;
  launch(kernel, {grid_for(count, kBlock), kBlock}, a);
}

}  // namespace

void forward(const ConvShape& s, const Tensor& x, const Tensor& w, const ConvEpilogue& epilogue,
             Tensor& y) {
  check_sizes(s);
  const Tensor filters = by_taps(s, w);
  dispatch_floating(x.dtype(), "conv2d", [&]<class T>() {
    const auto data = [](const Tensor& t) -> const T* {
      return t.defined() ? t.data<T>() : nullptr;
    };
    Gather<T> a{};
    a.in = x.data<T>();
    a.filters = filters.data<T>();
    a.bias = data(epilogue.bias);
    a.residual = data(epilogue.residual);
    a.out = y.data<T>();
    a.clamp = Clamp<compute_t<T>>(epilogue.activation);
    a.h = height_axis(s).forward();
    a.w = width_axis(s).forward();
    run_gather<false>(s, a);
  });
}

void input_grad(const ConvShape& s, const Tensor& g, const Tensor& w, Tensor& gx) {
  check_sizes(s);
  const Tensor filters = by_taps(s, w);
  dispatch_floating(g.dtype(), "conv2d_input_grad", [&]<class T>() {
    Gather<T> a{};
    a.in = g.data<T>();
    a.filters = filters.data<T>();
    a.out = gx.data<T>();
    run_gather<true>(s, a);
  });
}

void weight_grad(const ConvShape& s, const Tensor& g, const Tensor& x, Tensor& gw) {
  check_sizes(s);
  dispatch_floating(g.dtype(), "conv2d_weight_grad", [&]<class T>() {
    using C = compute_t<T>;
    const bool quads =
        s.o == s.c && s.c % 4 == 0 && is_quad_aligned(g.data<T>()) && is_quad_aligned(x.data<T>());
    const int64_t groups = s.o / (quads ? 4 : 1), taps = s.kh * s.kw, pixels = s.n * s.ho * s.wo;
    WeightGrad<T> a{};
    a.lanes = 1;
    while (a.lanes < 32 && a.lanes < groups) a.lanes *= 2;
    const int64_t across = (groups + a.lanes - 1) / a.lanes;
    const int64_t tap_chunks = (taps + kTaps - 1) / kTaps;
    // Enough blocks for a large GPU, each with some pixels for every thread.
    const int64_t most = std::max<int64_t>(pixels / (4 * (kBlock / a.lanes)), 1);
    int64_t stretches = std::clamp<int64_t>(264 / (across * tap_chunks), 1, most);
    a.chunk = static_cast<int>((pixels + stretches - 1) / stretches);
    stretches = (pixels + a.chunk - 1) / a.chunk;
    Tensor partial = empty({stretches, taps, s.o}, dtype_of<C>(), gw.device());
    a.g = g.data<T>();
    a.x = x.data<T>();
    a.partial = partial.data<C>();
    a.h = height_axis(s).forward();
    a.w = width_axis(s).forward();
    a.kw = static_cast<int>(s.kw);
    a.taps = static_cast<int>(taps);
    a.channels = static_cast<int>(s.o);
    a.in_channels = static_cast<int>(s.c);
    a.multiplier = static_cast<int>(s.o / s.c);
    a.blocks_across = static_cast<int>(across);
    a.tap_chunks = static_cast<int>(tap_chunks);
    a.pixels = static_cast<int>(pixels);
    a.rows = Divider(s.ho);
    a.cols = Divider(s.wo);
    const auto kernel =
        quads ? depthwise_weight_grad_kernel<4, T> : depthwise_weight_grad_kernel<1, T>;
    launch(kernel, {static_cast<unsigned>(across * tap_chunks * stretches), kBlock}, a);
    launch(depthwise_sum_stretches_kernel<T>,
           {static_cast<unsigned>((taps * s.o + 31) / 32), kBlock}, partial.data<C>(),
           static_cast<int>(stretches), static_cast<int>(taps), static_cast<int>(s.o),
           gw.data<T>());
  });
}

}  // namespace tessera::conv::cuda::depthwise
