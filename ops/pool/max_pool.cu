// Max pooling and its adjoints. Every kernel is bound by memory: x, y and indices pass once, what
// neighbouring windows share comes from the caches.

#include "ops/pool/max_pool.h"

#include <limits>

#include "cuda/pixel_packs.cuh"

namespace tessera {
namespace {

using cuda::PixelPacks;
using cuda::detail::load_wide;
using cuda::detail::Pack;
using cuda::detail::store_narrow;

// A thread owns kVector channels of one window. x (N, H, W, C), y and indices (N, OH, OW, C); any
// sizes, kVector is 1 where C is no multiple of it.
template <bool kIndex, int kVector, class Int, class T>
__global__ void __launch_bounds__(cuda::kPixelBlock, 4)
    max_windows(uint32_t work, PixelPacks at, WindowsOf<Int> win, int64_t channels,
                const T* __restrict__ x, T* __restrict__ y, int32_t* __restrict__ indices) {
  using C = compute_t<T>;
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= work) return;
  const PixelPacks::Place p = at.place(i);
  const T* image = x + p.image * win.h.in * win.w.in * channels + int64_t{p.pack} * kVector;
  const Int h1 = win.h.end(p.h), w0 = win.w.begin(p.w), w1 = win.w.end(p.w);
  Pack<C, kVector> most;
  Pack<int32_t, kVector> where;
  TESSERA_UNROLL
  for (int k = 0; k < kVector; ++k) {
    most.v[k] = -std::numeric_limits<C>::infinity();
    where.v[k] = -1;
  }
  for (Int h = win.h.begin(p.h); h < h1; h += win.h.step())
    for (Int w = w0; w < w1; w += win.w.step()) {
      const auto pixel = static_cast<int32_t>(h * win.w.in + w);
      const auto value = load_wide<kVector>(image + pixel * channels);
      TESSERA_UNROLL
      for (int k = 0; k < kVector; ++k) {
        const C v = value.v[k];
        if (v > most.v[k] || v != v || (kIndex && where.v[k] < 0)) {
          most.v[k] = v;
          where.v[k] = pixel;
        }
      }
    }
  const int64_t to = int64_t{i} * kVector;
  store_narrow<kVector>(y + to, most);
  if constexpr (kIndex) *reinterpret_cast<Pack<int32_t, kVector>*>(indices + to) = where;
}

// A thread owns kVector channels of one input pixel and asks the windows over it, in row-major
// order, whether it won.
template <int kVector, class Int, class T>
__global__ void __launch_bounds__(cuda::kPixelBlock, 4)
    gather_from_windows(uint32_t work, PixelPacks at, WindowsOf<Int> win, int64_t channels,
                        const T* __restrict__ g, const int32_t* __restrict__ indices,
                        T* __restrict__ gx) {
  using C = compute_t<T>;
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= work) return;
  const PixelPacks::Place p = at.place(i);
  const auto pixel = static_cast<int32_t>(p.h * win.w.in + p.w);
  const int64_t image = p.image * win.h.out * win.w.out * channels + int64_t{p.pack} * kVector;
  const Int i1 = win.h.last_output(p.h), j0 = win.w.first_output(p.w), j1 = win.w.last_output(p.w);
  Pack<C, kVector> sum{};
  for (Int o = win.h.first_output(p.h); o <= i1; ++o)
    for (Int j = j0; j <= j1; ++j) {
      const int64_t from = image + (int64_t{o} * win.w.out + j) * channels;
      const auto where = *reinterpret_cast<const Pack<int32_t, kVector>*>(indices + from);
      bool won = false;
      TESSERA_UNROLL
      for (int k = 0; k < kVector; ++k) won = won || where.v[k] == pixel;
      if (!won) continue;
      const auto value = load_wide<kVector>(g + from);
      TESSERA_UNROLL
      for (int k = 0; k < kVector; ++k) sum.v[k] += where.v[k] == pixel ? value.v[k] : C(0);
    }
  store_narrow<kVector>(gx + int64_t{i} * kVector, sum);
}

// A thread owns kVector channels of one window; their winners lie anywhere in the image.
template <int kVector, class T>
__global__ void __launch_bounds__(cuda::kPixelBlock, 4)
    pick_winners(uint32_t work, PixelPacks at, int64_t image_size, int64_t channels,
                 const T* __restrict__ x, const int32_t* __restrict__ indices, T* __restrict__ y) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= work) return;
  const PixelPacks::Place p = at.place(i);
  const T* image = x + p.image * image_size + int64_t{p.pack} * kVector;
  const int64_t to = int64_t{i} * kVector;
  const auto where = *reinterpret_cast<const Pack<int32_t, kVector>*>(indices + to);
  Pack<T, kVector> out;
  TESSERA_UNROLL
  for (int k = 0; k < kVector; ++k)
    out.v[k] = where.v[k] < 0 ? T(0.0f) : image[where.v[k] * channels + k];
  *reinterpret_cast<Pack<T, kVector>*>(y + to) = out;
}

bool packs(int64_t channels, int vector, int64_t element, const Tensor& a, const Tensor& b,
           const Tensor& indices) {
  return cuda::channels_pack(channels, vector, element, a.raw_data()) &&
         cuda::channels_pack(channels, vector, element, b.raw_data()) &&
         (!indices.defined() || cuda::channels_pack(channels, vector, 4, indices.raw_data()));
}

template <bool kIndex, int kVector, class Int, class T>
void max_by(const Tensor& x, const Windows& win, Tensor& y, Tensor* indices) {
  const int64_t channels = x.size(3), pixels = win.h.out * win.w.out;
  const PixelPacks at(win.h.out, win.w.out, channels / kVector);
  cuda::for_images(x.size(0), pixels * (channels / kVector), [&](int64_t first, uint32_t work) {
    const int64_t to = first * pixels * channels;
    cuda::launch(max_windows<kIndex, kVector, Int, T>, cuda::one_thread_each(work), work, at,
                 win.as<Int>(), channels, x.data<T>() + first * win.h.in * win.w.in * channels,
                 y.data<T>() + to, kIndex ? indices->data<int32_t>() + to : nullptr);
  });
}

template <bool kIndex, class T>
void max_pool(const Tensor& x, const Windows& win, Tensor& y, Tensor& indices) {
  constexpr int kVector = cuda::kPixelVector<T>;
  Tensor* index = kIndex ? &indices : nullptr;
  if (!win.fit_32_bits()) return max_by<kIndex, 1, int64_t, T>(x, win, y, index);
  if (packs(x.size(3), kVector, sizeof(T), x, y, indices))
    return max_by<kIndex, kVector, int32_t, T>(x, win, y, index);
  max_by<kIndex, 1, int32_t, T>(x, win, y, index);
}

void max_pool2d_cuda(const Tensor& x, const Windows& windows, Tensor& y, Tensor& indices) {
  if (y.numel() == 0) return;
  dispatch_floating(x.dtype(), "max_pool2d", [&]<class T>() {
    if (indices.defined())
      max_pool<true, T>(x, windows, y, indices);
    else
      max_pool<false, T>(x, windows, y, indices);
  });
}

template <int kVector, class Int, class T>
void scatter_by(const Tensor& g, const Tensor& indices, const Windows& win, Tensor& gx) {
  const int64_t channels = g.size(3), pixels = win.h.in * win.w.in;
  const PixelPacks at(win.h.in, win.w.in, channels / kVector);
  cuda::for_images(g.size(0), pixels * (channels / kVector), [&](int64_t first, uint32_t work) {
    const int64_t from = first * win.h.out * win.w.out * channels;
    cuda::launch(gather_from_windows<kVector, Int, T>, cuda::one_thread_each(work), work, at,
                 win.as<Int>(), channels, g.data<T>() + from, indices.data<int32_t>() + from,
                 gx.data<T>() + first * pixels * channels);
  });
}

void scatter_cuda(const Tensor& g, const Tensor& indices, const Windows& win, Tensor& gx) {
  if (gx.numel() == 0) return;
  dispatch_floating(g.dtype(), "max_pool2d_scatter", [&]<class T>() {
    constexpr int kVector = cuda::kPixelVector<T>;
    if (!win.fit_32_bits()) return scatter_by<1, int64_t, T>(g, indices, win, gx);
    if (packs(g.size(3), kVector, sizeof(T), g, gx, indices))
      return scatter_by<kVector, int32_t, T>(g, indices, win, gx);
    scatter_by<1, int32_t, T>(g, indices, win, gx);
  });
}

template <int kVector, class T>
void gather_by(const Tensor& x, const Tensor& indices, const Windows& win, Tensor& y) {
  const int64_t channels = x.size(3), pixels = win.h.out * win.w.out;
  const int64_t image_size = win.h.in * win.w.in * channels;
  const PixelPacks at(win.h.out, win.w.out, channels / kVector);
  cuda::for_images(x.size(0), pixels * (channels / kVector), [&](int64_t first, uint32_t work) {
    const int64_t to = first * pixels * channels;
    cuda::launch(pick_winners<kVector, T>, cuda::one_thread_each(work), work, at, image_size,
                 channels, x.data<T>() + first * image_size, indices.data<int32_t>() + to,
                 y.data<T>() + to);
  });
}

void gather_cuda(const Tensor& x, const Tensor& indices, const Windows& win, Tensor& y) {
  if (y.numel() == 0) return;
  dispatch_floating(x.dtype(), "max_pool2d_gather", [&]<class T>() {
    constexpr int kVector = cuda::kPixelVector<T>;
    if (packs(x.size(3), kVector, sizeof(T), y, y, indices))
      return gather_by<kVector, T>(x, indices, win, y);
    gather_by<1, T>(x, indices, win, y);
  });
}

TESSERA_KERNEL(max_pool2d, cuda, max_pool2d_cuda);
TESSERA_KERNEL(max_pool2d_scatter, cuda, scatter_cuda);
TESSERA_KERNEL(max_pool2d_gather, cuda, gather_cuda);

}  // namespace
}  // namespace tessera
