// Means over windows and their adjoint, bound by memory: x and y pass once, what neighbouring
// windows share comes from the caches.

#include "ops/pool/avg_pool.h"

#include "cuda/pixel_packs.cuh"

namespace tessera {
namespace {

using cuda::PixelPacks;
using cuda::detail::load_wide;
using cuda::detail::Pack;
using cuda::detail::store_narrow;

constexpr int kBlock = cuda::kPixelBlock;

template <int kVector, class C>
__device__ __forceinline__ void add_scaled(Pack<C, kVector>& sum, const Pack<C, kVector>& v,
                                           C scale) {
  TESSERA_UNROLL
  for (int k = 0; k < kVector; ++k) sum.v[k] += v.v[k] * scale;
}

// A thread owns kVector channels of one window. Rows are added up on their own, so that the error
// of a large window is that of height + width additions. Any sizes; kVector is 1 where C is no
// multiple of it.
template <int kVector, class Int, class T>
__global__ void __launch_bounds__(kBlock, 4)
    mean_of_windows(uint32_t work, PixelPacks at, WindowsOf<Int> win, int64_t channels,
                    const T* __restrict__ x, T* __restrict__ y) {
  using C = compute_t<T>;
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= work) return;
  const PixelPacks::Place p = at.place(i);
  const T* image = x + p.image * win.h.in * win.w.in * channels + int64_t{p.pack} * kVector;
  const Int h1 = win.h.end(p.h), w0 = win.w.begin(p.w), w1 = win.w.end(p.w);
  Pack<C, kVector> sum{};
  for (Int h = win.h.begin(p.h); h < h1; ++h) {
    Pack<C, kVector> row{};
    for (Int w = w0; w < w1; ++w)
      add_scaled(row, load_wide<kVector>(image + (int64_t{h} * win.w.in + w) * channels), C(1));
    add_scaled(sum, row, C(1));
  }
  Pack<C, kVector> mean{};
  add_scaled(mean, sum, win.template inverse_divisor<C>(p.h, p.w));
  store_narrow<kVector>(y + int64_t{i} * kVector, mean);
}

// For few large windows. A block owns one window's channels in `lanes` groups of kVector and one
// of `parts` equal shares of its pixels; kBlock / lanes threads take turns at the pixels of each
// group, and their sums are added up as a tree in shared memory. Writes the mean, or with several
// parts the sums (parts, windows, channels) for add_parts(). lanes: a power of two up to 32.
template <int kVector, class T>
__global__ void __launch_bounds__(kBlock, 4)
    sum_windows_by_blocks(WindowsOf<int32_t> win, int64_t windows, int64_t channels, int lanes,
                          int groups, int parts, const T* __restrict__ x, T* __restrict__ y,
                          compute_t<T>* __restrict__ sums) {
  using C = compute_t<T>;
  using P = Pack<C, kVector>;
  TESSERA_SHARED_ALIGNED(32, C, shared, [kBlock * kVector]);
  P* const partial = reinterpret_cast<P*>(shared);
  const int lane = static_cast<int>(threadIdx.x) % lanes, slots = kBlock / lanes;
  const int slot = static_cast<int>(threadIdx.x) / lanes;
  int64_t rest = blockIdx.x;
  const int64_t channel = (rest % groups * lanes + lane) * kVector;
  rest /= groups;
  const int64_t window = rest % windows, part = rest / windows;
  const auto j = static_cast<int32_t>(window % win.w.out);
  const auto i = static_cast<int32_t>(window / win.w.out % win.h.out);
  const int64_t n = window / win.w.out / win.h.out;
  const int32_t w0 = win.w.begin(j), h0 = win.h.begin(i), wide = win.w.end(j) - w0;
  const int32_t pixels = (win.h.end(i) - h0) * wide, share = (pixels + parts - 1) / parts;
  const auto first = static_cast<int32_t>(part) * share, end = min(first + share, pixels);
  P sum{};
  if (channel < channels) {
    const T* image = x + n * win.h.in * win.w.in * channels + channel;
    for (int32_t q = first + slot; q < end; q += slots) {
      const int32_t h = h0 + q / wide, w = w0 + q % wide;
      add_scaled(sum, load_wide<kVector>(image + (int64_t{h} * win.w.in + w) * channels), C(1));
    }
  }
  partial[threadIdx.x] = sum;
  for (int half = slots / 2; half > 0; half /= 2) {
    __syncthreads();
    if (slot < half) {
      add_scaled(sum, partial[threadIdx.x + half * lanes], C(1));
      partial[threadIdx.x] = sum;
    }
  }
  if (slot != 0 || channel >= channels) return;
  const int64_t to = window * channels + channel;
  if (parts > 1) {
    *reinterpret_cast<P*>(sums + part * windows * channels + to) = sum;
    return;
  }
  P mean{};
  add_scaled(mean, sum, win.template inverse_divisor<C>(i, j));
  store_narrow<kVector>(y + to, mean);
}

// y = the mean from the sums of the parts, in their order; a thread per element.
template <class T>
__global__ void __launch_bounds__(kBlock)
    add_parts(int64_t count, WindowsOf<int32_t> win, int64_t channels, int parts,
              const compute_t<T>* __restrict__ sums, T* __restrict__ y) {
  using C = compute_t<T>;
  const int64_t e = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (e >= count) return;
  C sum = 0;
  for (int part = 0; part < parts; ++part) sum += sums[part * count + e];
  const int64_t window = e / channels;
  const auto j = static_cast<int32_t>(window % win.w.out);
  const auto i = static_cast<int32_t>(window / win.w.out % win.h.out);
  y[e] = static_cast<T>(sum * win.template inverse_divisor<C>(i, j));
}

// A thread owns kVector channels of one input pixel and collects from the windows over it, in
// row-major order.
template <int kVector, class Int, class T>
__global__ void __launch_bounds__(kBlock, 4)
    spread_windows(uint32_t work, PixelPacks at, WindowsOf<Int> win, int64_t channels,
                   const T* __restrict__ y, T* __restrict__ x) {
  using C = compute_t<T>;
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= work) return;
  const PixelPacks::Place p = at.place(i);
  const T* image = y + p.image * win.h.out * win.w.out * channels + int64_t{p.pack} * kVector;
  const Int o1 = win.h.last_output(p.h), j0 = win.w.first_output(p.w), j1 = win.w.last_output(p.w);
  Pack<C, kVector> sum{};
  for (Int o = win.h.first_output(p.h); o <= o1; ++o)
    for (Int j = j0; j <= j1; ++j)
      add_scaled(sum, load_wide<kVector>(image + (int64_t{o} * win.w.out + j) * channels),
                 win.template inverse_divisor<C>(o, j));
  store_narrow<kVector>(x + int64_t{i} * kVector, sum);
}

template <int kVector, class Int, class T>
void mean_by(const Tensor& x, const Windows& win, Tensor& y) {
  const int64_t channels = x.size(3), pixels = win.h.out * win.w.out;
  const PixelPacks at(win.h.out, win.w.out, channels / kVector);
  cuda::for_images(x.size(0), pixels * (channels / kVector), [&](int64_t first, uint32_t work) {
    cuda::launch(mean_of_windows<kVector, Int, T>, cuda::one_thread_each(work), work, at,
                 win.as<Int>(), channels, x.data<T>() + first * win.h.in * win.w.in * channels,
                 y.data<T>() + first * pixels * channels);
  });
}

template <int kVector, class T>
void mean_by_blocks(const Tensor& x, const Windows& win, Tensor& y) {
  using C = compute_t<T>;
  const int64_t channels = x.size(3), packs = channels / kVector;
  const int64_t windows = x.size(0) * win.h.out * win.w.out;
  int lanes = 1;
  while (lanes < packs && lanes < 32) lanes *= 2;
  const int64_t groups = (packs + lanes - 1) / lanes, blocks = groups * windows;
  // Enough blocks for a large GPU, each with some pixels for every thread.
  const int64_t pixels = win.h.in * win.w.in, per_block = 8 * (kBlock / lanes);
  const int64_t parts =
      std::clamp<int64_t>(pixels / per_block, 1, std::max<int64_t>(1, 512 / blocks));
  Tensor sums;
  if (parts > 1) sums = empty({parts, windows, channels}, dtype_of<C>(), x.device());
  C* sum = parts > 1 ? sums.data<C>() : nullptr;
  const auto narrow = win.as<int32_t>();
  cuda::launch(sum_windows_by_blocks<kVector, T>, {static_cast<unsigned>(blocks * parts), kBlock},
               narrow, windows, channels, lanes, static_cast<int>(groups), static_cast<int>(parts),
               x.data<T>(), y.data<T>(), sum);
  if (parts > 1)
    cuda::launch(add_parts<T>, cuda::one_thread_each(static_cast<uint32_t>(y.numel())), y.numel(),
                 narrow, channels, static_cast<int>(parts), sum, y.data<T>());
}

// Whether a thread per result would leave most of a GPU idle.
bool few_large_windows(const Tensor& y, const Windows& win, int vector) {
  const int64_t wide = win.w.end(0) - win.w.begin(0), high = win.h.end(0) - win.h.begin(0);
  return win.fit_32_bits() && win.h.in * win.w.in <= INT32_MAX / 2 && wide * high >= 64 &&
         y.numel() / vector < (1 << 17);
}

void window_mean_cuda(const Tensor& x, const Windows& win, Tensor& y) {
  if (y.numel() == 0) return;
  dispatch_floating(x.dtype(), "window_mean", [&]<class T>() {
    constexpr int kVector = cuda::kPixelVector<T>;
    const bool packs = cuda::channels_pack(x.size(3), kVector, sizeof(T), x.raw_data()) &&
                       cuda::channels_pack(x.size(3), kVector, sizeof(T), y.raw_data());
    if (few_large_windows(y, win, packs ? kVector : 1))
      return packs ? mean_by_blocks<kVector, T>(x, win, y) : mean_by_blocks<1, T>(x, win, y);
    if (!win.fit_32_bits()) return mean_by<1, int64_t, T>(x, win, y);
    packs ? mean_by<kVector, int32_t, T>(x, win, y) : mean_by<1, int32_t, T>(x, win, y);
  });
}

template <int kVector, class Int, class T>
void spread_by(const Tensor& y, const Windows& win, Tensor& x) {
  const int64_t channels = y.size(3), pixels = win.h.in * win.w.in;
  const PixelPacks at(win.h.in, win.w.in, channels / kVector);
  cuda::for_images(y.size(0), pixels * (channels / kVector), [&](int64_t first, uint32_t work) {
    cuda::launch(spread_windows<kVector, Int, T>, cuda::one_thread_each(work), work, at,
                 win.as<Int>(), channels, y.data<T>() + first * win.h.out * win.w.out * channels,
                 x.data<T>() + first * pixels * channels);
  });
}

void window_spread_cuda(const Tensor& y, const Windows& win, Tensor& x) {
  if (x.numel() == 0) return;
  dispatch_floating(y.dtype(), "window_spread", [&]<class T>() {
    constexpr int kVector = cuda::kPixelVector<T>;
    if (!win.fit_32_bits()) return spread_by<1, int64_t, T>(y, win, x);
    const bool packs = cuda::channels_pack(x.size(3), kVector, sizeof(T), x.raw_data()) &&
                       cuda::channels_pack(x.size(3), kVector, sizeof(T), y.raw_data());
    packs ? spread_by<kVector, int32_t, T>(y, win, x) : spread_by<1, int32_t, T>(y, win, x);
  });
}

TESSERA_KERNEL(window_mean, cuda, window_mean_cuda);
TESSERA_KERNEL(window_spread, cuda, window_spread_cuda);

}  // namespace
}  // namespace tessera
