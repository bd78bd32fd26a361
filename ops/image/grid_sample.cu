// Sampling images at the locations of a grid, bound by memory: a location's four pixels and its
// result pass once, what neighbouring locations share comes from the caches.

#include "ops/image/grid_sample.h"

#include "cuda/ordered_scatter.cuh"
#include "cuda/pixel_packs.cuh"
#include "cuda/reduce.cuh"
#include "ops/image/grid_location.h"

namespace tessera {
namespace {

using cuda::Divider;
using cuda::detail::load_wide;
using cuda::detail::Pack;

constexpr int kBlock = 256;

/// The images, and the locations per image.
struct Images {
  int32_t height, width;
  int64_t channels;
  Divider per_image;
  GridSampleOptions options;

  __device__ __forceinline__ int64_t pixels() const { return int64_t{height} * width; }
  /// Number of the image that location `point` belongs to.
  __device__ __forceinline__ int64_t image_of(uint32_t point) const {
    return per_image.divide(point);
  }
};

template <class T>
__device__ __forceinline__ math::GridLocation<T> location(const T* grid, uint32_t point,
                                                          const Images& im) {
  const auto at = *reinterpret_cast<const Pack<T, 2>*>(grid + 2 * int64_t{point});
  return math::GridLocation<T>(at.v[0], at.v[1], im.height, im.width, im.options);
}

// sum of weight * pixel over a location's corners, channels [c, c + kVector) of its image.
template <int kVector, class T>
__device__ __forceinline__ Pack<T, kVector> blend(const math::GridLocation<T>& loc, const T* image,
                                                  const Images& im) {
  Pack<T, kVector> corner[4], sum{};
  TESSERA_UNROLL
  for (int k = 0; k < 4; ++k) {
    corner[k] = {};
    if (loc.valid(k)) corner[k] = load_wide<kVector>(image + loc.pixel(k, im.width) * im.channels);
  }
  TESSERA_UNROLL
  for (int k = 0; k < 4; ++k) {
    const T w = loc.valid(k) ? loc.weight(k) : T(0);
    TESSERA_UNROLL
    for (int i = 0; i < kVector; ++i) sum.v[i] += w * corner[k].v[i];
  }
  return sum;
}

// A thread owns kVector channels of one location, or (kVector 1) up to `group` single ones, so that
// few channels do not compute the location often. Any sizes.
template <int kVector, class T>
__global__ void __launch_bounds__(kBlock, 4)
    sample_points(uint32_t work, Divider packs, int group, Images im, const T* __restrict__ x,
                  const T* __restrict__ grid, T* __restrict__ y) {
  uint32_t pack = blockIdx.x * blockDim.x + threadIdx.x;
  if (pack >= work) return;
  const uint32_t point = packs.split(pack);
  const math::GridLocation<T> loc = location(grid, point, im);
  const int64_t c0 = int64_t{pack} * kVector * group;
  const T* image = x + im.image_of(point) * im.pixels() * im.channels;
  for (int i = 0; i < group; ++i) {
    const int64_t c = c0 + i * kVector;
    if (c >= im.channels) return;
    *reinterpret_cast<Pack<T, kVector>*>(y + int64_t{point} * im.channels + c) =
        blend<kVector>(loc, image + c, im);
  }
}

// The four corners of each location as rows to add: which pixel of all images, and its weight. A
// thread per location; 8 * sizeof(T) + 16 bytes each.
template <class T>
__global__ void __launch_bounds__(kBlock)
    list_corners(uint32_t points, int32_t nowhere, Images im, const T* __restrict__ grid,
                 int32_t* __restrict__ keys, T* __restrict__ weights) {
  const uint32_t point = blockIdx.x * blockDim.x + threadIdx.x;
  if (point >= points) return;
  const math::GridLocation<T> loc = location(grid, point, im);
  const int64_t image = im.image_of(point) * im.pixels();
  Pack<int32_t, 4> key;
  Pack<T, 4> weight;
  TESSERA_UNROLL
  for (int k = 0; k < 4; ++k) {
    const bool valid = loc.valid(k);
    key.v[k] = valid ? static_cast<int32_t>(image + loc.pixel(k, im.width)) : nowhere;
    weight.v[k] = valid ? loc.weight(k) : T(0);
  }
  *reinterpret_cast<Pack<int32_t, 4>*>(keys + 4 * int64_t{point}) = key;
  *reinterpret_cast<Pack<T, 4>*>(weights + 4 * int64_t{point}) = weight;
}

// `lanes` neighbouring threads, a power of two up to 32, own one location: each takes every
// lanes-th group of kVector channels, and their sums are added up as a tree.
template <int kVector, class T>
__global__ void __launch_bounds__(kBlock, 4)
    grid_slopes(uint32_t points, int lanes, Images im, const T* __restrict__ g,
                const T* __restrict__ x, const T* __restrict__ grid, T* __restrict__ out) {
  const uint32_t own = (blockIdx.x * blockDim.x + threadIdx.x) / static_cast<unsigned>(lanes);
  const int lane = static_cast<int>(threadIdx.x) & (lanes - 1);
  const uint32_t point = min(own, points - 1);  // every lane takes part in the shuffles
  const math::GridLocation<T> loc = location(grid, point, im);
  const T* image = x + im.image_of(point) * im.pixels() * im.channels;
  T dot[4] = {};
  for (int64_t c = lane * kVector; c < im.channels; c += lanes * kVector) {
    const auto from = load_wide<kVector>(g + int64_t{point} * im.channels + c);
    TESSERA_UNROLL
    for (int k = 0; k < 4; ++k) {
      if (!loc.valid(k)) continue;
      const auto pixel = load_wide<kVector>(image + loc.pixel(k, im.width) * im.channels + c);
      TESSERA_UNROLL
      for (int i = 0; i < kVector; ++i) dot[k] += from.v[i] * pixel.v[i];
    }
  }
  for (int mask = lanes / 2; mask > 0; mask /= 2)
    for (int k = 0; k < 4; ++k) dot[k] += cuda::shuffle_xor(dot[k], mask);
  if (lane != 0 || own >= points) return;
  const T *wx = loc.tx.weight, *wy = loc.ty.weight;
  T* const to = out + 2 * int64_t{point};
  to[0] = loc.cx.slope * (wy[0] * (dot[1] - dot[0]) + wy[1] * (dot[3] - dot[2]));
  to[1] = loc.cy.slope * (wx[0] * (dot[2] - dot[0]) + wx[1] * (dot[3] - dot[1]));
}

template <class T>
struct CornerPointers {
  T *slope_x, *slope_y, *shift_x, *shift_y, *mask;
  int64_t* index;
};

// A thread per location.
template <class T>
__global__ void __launch_bounds__(kBlock)
    describe_corners(uint32_t points, Images im, const T* __restrict__ grid,
                     CornerPointers<T> out) {
  const uint32_t point = blockIdx.x * blockDim.x + threadIdx.x;
  if (point >= points) return;
  const math::GridLocation<T> loc = location(grid, point, im);
  const int64_t image = im.image_of(point) * im.pixels();
  out.slope_x[point] = loc.cx.slope;
  out.slope_y[point] = loc.cy.slope;
  out.shift_x[point] = math::grid_shift(loc.cx, loc.tx, grid[2 * int64_t{point}]);
  out.shift_y[point] = math::grid_shift(loc.cy, loc.ty, grid[2 * int64_t{point} + 1]);
  for (int k = 0; k < 4; ++k) {
    const bool valid = loc.valid(k);
    out.index[int64_t{k} * points + point] = valid ? image + loc.pixel(k, im.width) : 0;
    out.mask[int64_t{k} * points + point] = valid ? T(1) : T(0);
  }
}

Images images_of(const Shape& x, const Tensor& grid, const GridSampleOptions& o) {
  TESSERA_CHECK(ValueError, x[1] < INT32_MAX && x[2] < INT32_MAX, "grid_sample: an image of ", x,
                " is too large for the GPU's kernels");
  return {static_cast<int32_t>(x[1]), static_cast<int32_t>(x[2]), x[3],
          Divider(grid.size(1) * grid.size(2)), o};
}

/// The number of locations where 32 bits count `each` things per location.
uint32_t points_of(const Tensor& grid, int64_t each) {
  const int64_t points = grid.numel() / 2;
  TESSERA_CHECK(ValueError, points <= INT32_MAX / each, "grid_sample: a grid ", grid.shape(),
                " is too large for the GPU's kernels");
  return static_cast<uint32_t>(points);
}

template <int kVector, class T>
void sample_by(const Tensor& x, const Tensor& grid, const GridSampleOptions& o, int group,
               Tensor& y) {
  const int64_t channels = x.size(3), per_image = grid.size(1) * grid.size(2);
  const int64_t each = kVector * group, packs = (channels + each - 1) / each;
  cuda::for_images(x.size(0), per_image * packs, [&](int64_t first, uint32_t work) {
    cuda::launch(
        sample_points<kVector, T>, cuda::one_thread_each(work), work, Divider(packs), group,
        images_of(x.shape(), grid, o), x.data<T>() + first * x.size(1) * x.size(2) * channels,
        grid.data<T>() + first * per_image * 2, y.data<T>() + first * per_image * channels);
  });
}

// A location's two values are read together.
template <class T>
Tensor with_whole_pairs(const Tensor& grid) {
  const bool aligned = reinterpret_cast<uintptr_t>(grid.raw_data()) % (2 * sizeof(T)) == 0;
  return aligned ? grid : view::clone(grid);
}

void grid_sample_cuda(const Tensor& x, const Tensor& grid, const GridSampleOptions& o, Tensor& y) {
  if (y.numel() == 0) return;
  dispatch_float(x.dtype(), "grid_sample", [&]<class T>() {
    constexpr int kVector = cuda::kPixelVector<T>;
    const Tensor at = with_whole_pairs<T>(grid);
    if (cuda::channels_pack(x.size(3), kVector, sizeof(T), x.raw_data()) &&
        cuda::channels_pack(x.size(3), kVector, sizeof(T), y.raw_data()))
      return sample_by<kVector, T>(x, at, o, 1, y);
    sample_by<1, T>(x, at, o, 4, y);
  });
}

void grid_sample_input_grad_cuda(const Tensor& g, const Tensor& grid, const GridSampleOptions& o,
                                 Tensor& gx) {
  if (g.numel() == 0 || gx.numel() == 0) return;
  dispatch_float(g.dtype(), "grid_sample", [&]<class T>() {
    const Images im = images_of(gx.shape(), grid, o);
    const uint32_t points = points_of(grid, 4);
    const int64_t pixels = gx.size(0) * gx.size(1) * gx.size(2);
    TESSERA_CHECK(ValueError, pixels < INT32_MAX, "grid_sample: images ", gx.shape(),
                  " are too large for the GPU's kernels");
    const Tensor keys = empty({4 * int64_t{points}}, DType::i32, g.device());
    const Tensor weights = empty({4 * int64_t{points}}, g.dtype(), g.device());
    const Tensor at = with_whole_pairs<T>(grid);
    cuda::launch(list_corners<T>, cuda::one_thread_each(points), points,
                 static_cast<int32_t>(pixels), im, at.template data<T>(),
                 keys.template data<int32_t>(), weights.template data<T>());
    cuda::add_ordered(
        cuda::order_rows(keys, pixels), 1, im.channels,
        cuda::WeightedRowSource<T, 4>{g.data<T>(), weights.template data<T>(), im.channels},
        gx.data<T>());
  });
}

template <int kVector, class T>
void slopes_by(const Tensor& g, const Tensor& x, const Tensor& grid, const GridSampleOptions& o,
               Tensor& out) {
  int lanes = 1;
  while (lanes < 32 && lanes * kVector < x.size(3)) lanes *= 2;
  const uint32_t points = points_of(grid, lanes);
  cuda::launch(grid_slopes<kVector, T>,
               cuda::one_thread_each(points * static_cast<unsigned>(lanes)), points, lanes,
               images_of(x.shape(), grid, o), g.data<T>(), x.data<T>(), grid.data<T>(),
               out.data<T>());
}

void grid_sample_grid_grad_cuda(const Tensor& g, const Tensor& x, const Tensor& grid,
                                const GridSampleOptions& o, Tensor& out) {
  if (out.numel() == 0) return;
  dispatch_float(g.dtype(), "grid_sample", [&]<class T>() {
    constexpr int kVector = cuda::kPixelVector<T>;
    const Tensor at = with_whole_pairs<T>(grid);
    if (cuda::channels_pack(x.size(3), kVector, sizeof(T), x.raw_data()) &&
        cuda::channels_pack(x.size(3), kVector, sizeof(T), g.raw_data()))
      return slopes_by<kVector, T>(g, x, at, o, out);
    slopes_by<1, T>(g, x, at, o, out);
  });
}

void grid_corners_cuda(const Tensor& grid, const Shape& x_shape, const GridSampleOptions& o,
                       GridCorners& out) {
  const Shape per_location{grid.size(0), grid.size(1), grid.size(2)};
  const Shape per_corner{4, grid.size(0), grid.size(1), grid.size(2)};
  for (Tensor* t : {&out.slope_x, &out.slope_y, &out.shift_x, &out.shift_y})
    *t = empty(per_location, grid.dtype(), grid.device());
  out.index = empty(per_corner, DType::i64, grid.device());
  out.mask = empty(per_corner, grid.dtype(), grid.device());
  if (grid.numel() == 0) return;
  dispatch_float(grid.dtype(), "grid_sample", [&]<class T>() {
    const Tensor at = with_whole_pairs<T>(grid);
    const int64_t points = numel(per_location);
    cuda::launch(
        describe_corners<T>, cuda::one_thread_each(points), points, images_of(x_shape, grid, o),
        at.template data<T>(),
        CornerPointers<T>{out.slope_x.data<T>(), out.slope_y.data<T>(), out.shift_x.data<T>(),
                          out.shift_y.data<T>(), out.mask.data<T>(), out.index.data<int64_t>()});
  });
}

TESSERA_KERNEL(grid_sample, cuda, grid_sample_cuda);
TESSERA_KERNEL(grid_sample_input_grad, cuda, grid_sample_input_grad_cuda);
TESSERA_KERNEL(grid_sample_grid_grad, cuda, grid_sample_grid_grad_cuda);
TESSERA_KERNEL(grid_corners, cuda, grid_corners_cuda);

}  // namespace
}  // namespace tessera
