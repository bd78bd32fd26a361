#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/index.h"
#include "cuda/launch.h"
#include "cuda/map.cuh"
#include "tensor/tensor.h"

/// How kernels over images (N, H, W, C) share out the work: a thread owns one pixel's `vector`
/// neighbouring channels, 16 bytes where they are aligned, and threads side by side take channels
/// side by side.
namespace tessera::cuda {

inline constexpr int kPixelBlock = 256;

/// Channels that a thread takes at once: 16 bytes, and no more than eight values in registers.
template <class T>
inline constexpr int kPixelVector = std::clamp(16 / static_cast<int>(sizeof(T)), 1, 8);

/// The place of a piece of work among (images, height, width, channels / vector).
struct PixelPacks {
  Divider packs, width, height;

  PixelPacks(int64_t height_, int64_t width_, int64_t packs_)
      : packs(packs_), width(width_), height(height_) {}

  struct Place {
    int64_t image;
    int32_t h, w;
    int32_t pack;
  };
  __device__ __forceinline__ Place place(uint32_t work) const {
    Place p;
    uint32_t pack = work;
    uint32_t w = packs.split(pack);
    uint32_t h = width.split(w);
    p.image = height.split(h);
    p.h = static_cast<int32_t>(h);
    p.w = static_cast<int32_t>(w);
    p.pack = static_cast<int32_t>(pack);
    return p;
  }
};

/// Whether groups of `vector` channels of contiguous images lie together and aligned.
inline bool channels_pack(int64_t channels, int vector, int64_t element, const void* data) {
  return channels % vector == 0 &&
         reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(vector * element) == 0;
}

/// A thread for each piece of work.
inline LaunchConfig one_thread_each(uint32_t work) {
  return {grid_for(work, kPixelBlock, INT32_MAX), kPixelBlock};
}

/// run(first, work): pieces of work [0, work) of the images from `first` on, as few launches as 32
/// bits can count. Throws ValueError where one image is too large for that.
template <class Run>
void for_images(int64_t images, int64_t work_per_image, Run&& run) {
  if (images == 0 || work_per_image == 0) return;
  TESSERA_CHECK(ValueError, work_per_image <= INT32_MAX, "an image of ", work_per_image,
                " channel groups is too large for the GPU's kernels");
  const int64_t at_once = INT32_MAX / work_per_image;
  for (int64_t first = 0; first < images; first += at_once)
    run(first, static_cast<uint32_t>(std::min(at_once, images - first) * work_per_image));
}

namespace detail {

template <int kVector, class T>
__device__ __forceinline__ Pack<compute_t<T>, kVector> load_wide(const T* from) {
  const auto pack = *reinterpret_cast<const Pack<T, kVector>*>(from);
  Pack<compute_t<T>, kVector> wide;
  TESSERA_UNROLL
  for (int k = 0; k < kVector; ++k) wide.v[k] = widened(pack.v[k]);
  return wide;
}
template <int kVector, class T>
__device__ __forceinline__ void store_narrow(T* to, const Pack<compute_t<T>, kVector>& wide) {
  Pack<T, kVector> pack;
  TESSERA_UNROLL
  for (int k = 0; k < kVector; ++k) pack.v[k] = static_cast<T>(wide.v[k]);
  *reinterpret_cast<Pack<T, kVector>*>(to) = pack;
}

}  // namespace detail

}  // namespace tessera::cuda
