#include <algorithm>

#include "ops/image/grid_sample.h"
#include "tensor/parallel.h"

namespace tessera {

namespace kernel {
constinit KernelSlot<void(const Tensor&, const Tensor&, const GridSampleOptions&, Tensor&)>
    grid_sample{"grid_sample"};
constinit KernelSlot<void(const Tensor&, const Tensor&, const GridSampleOptions&, Tensor&)>
    grid_sample_input_grad{"grid_sample_input_grad"};
constinit KernelSlot<void(const Tensor&, const Tensor&, const Tensor&, const GridSampleOptions&,
                          Tensor&)>
    grid_sample_grid_grad{"grid_sample_grid_grad"};
constinit KernelSlot<void(const Tensor&, const Shape&, const GridSampleOptions&, GridCorners&)>
    grid_corners{"grid_corners"};
}  // namespace kernel

namespace {

/// Where one location samples an image: up to four pixels, corner k = 2 * dy + dx.
template <class T>
struct Location {
  math::GridCoordinate<T> cx, cy;
  math::GridTaps<T> tx, ty;

  Location(const T* grid, int64_t height, int64_t width, const GridSampleOptions& o)
      : cx(math::grid_coordinate(grid[0], width, o.padding, o.align_corners)),
        cy(math::grid_coordinate(grid[1], height, o.padding, o.align_corners)),
        tx(math::grid_taps(cx.pixel, width, o.mode)),
        ty(math::grid_taps(cy.pixel, height, o.mode)) {}

  bool valid(int k) const { return ty.valid[k / 2] && tx.valid[k % 2]; }
  T weight(int k) const { return ty.weight[k / 2] * tx.weight[k % 2]; }
  int64_t pixel(int k, int64_t width) const { return (ty.low + k / 2) * width + tx.low + k % 2; }
};

template <class T>
void sample(const Tensor& x, const Tensor& grid, const GridSampleOptions& options, Tensor& y) {
  const int64_t height = x.shape()[1], width = x.shape()[2], channels = x.shape()[3];
  const int64_t per_image = grid.shape()[1] * grid.shape()[2];
  const T *images = x.data<T>(), *at = grid.data<T>();
  T* out = y.data<T>();
  const int64_t grain = std::max<int64_t>(16, 16384 / (4 * channels + 8));
  parallel_for(0, x.shape()[0] * per_image, grain, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const Location<T> loc(at + 2 * p, height, width, options);
      const T* image = images + p / per_image * height * width * channels;
      T* __restrict dst = out + p * channels;
      if (loc.valid(0) && loc.valid(3)) {
        const T* a = image + loc.pixel(0, width) * channels;
        const T* b = a + channels;
        const T* c = a + width * channels;
        const T* d = c + channels;
        const T wa = loc.weight(0), wb = loc.weight(1), wc = loc.weight(2), wd = loc.weight(3);
        for (int64_t k = 0; k < channels; ++k)
          dst[k] = wa * a[k] + wb * b[k] + wc * c[k] + wd * d[k];
        continue;
      }
      std::fill_n(dst, channels, T(0));
      for (int corner = 0; corner < 4; ++corner) {
        if (!loc.valid(corner)) continue;
        const T* a = image + loc.pixel(corner, width) * channels;
        const T w = loc.weight(corner);
        for (int64_t k = 0; k < channels; ++k) dst[k] += w * a[k];
      }
    }
  });
}

/// Channels, not locations, are shared out among threads: two locations may add to one pixel.
template <class T>
void sample_input_grad(const Tensor& g, const Tensor& grid, const GridSampleOptions& options,
                       Tensor& gx) {
  const int64_t height = gx.shape()[1], width = gx.shape()[2], channels = gx.shape()[3];
  const int64_t per_image = grid.shape()[1] * grid.shape()[2];
  const T *in = g.data<T>(), *at = grid.data<T>();
  T* images = gx.data<T>();
  const int64_t grain = std::max<int64_t>(16, 16384 / (4 * per_image));
  parallel_for(0, gx.shape()[0] * channels, grain, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t n = begin / channels, first = begin % channels;
      const int64_t count = std::min(end - begin, channels - first);
      T* image = images + n * height * width * channels + first;
      for (int64_t p = n * per_image; p < (n + 1) * per_image; ++p) {
        const Location<T> loc(at + 2 * p, height, width, options);
        const T* __restrict src = in + p * channels + first;
        for (int corner = 0; corner < 4; ++corner) {
          if (!loc.valid(corner)) continue;
          T* __restrict dst = image + loc.pixel(corner, width) * channels;
          const T w = loc.weight(corner);
          for (int64_t k = 0; k < count; ++k) dst[k] += w * src[k];
        }
      }
      begin += count;
    }
  });
}

template <class T>
void sample_grid_grad(const Tensor& g, const Tensor& x, const Tensor& grid,
                      const GridSampleOptions& options, Tensor& out) {
  const int64_t height = x.shape()[1], width = x.shape()[2], channels = x.shape()[3];
  const int64_t per_image = grid.shape()[1] * grid.shape()[2];
  const T *images = x.data<T>(), *at = grid.data<T>(), *in = g.data<T>();
  T* result = out.data<T>();
  const int64_t grain = std::max<int64_t>(16, 16384 / (4 * channels + 8));
  parallel_for(0, x.shape()[0] * per_image, grain, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const Location<T> loc(at + 2 * p, height, width, options);
      const T* image = images + p / per_image * height * width * channels;
      const T* src = in + p * channels;
      T dot[4] = {};  // of g with each corner's pixel
      for (int corner = 0; corner < 4; ++corner) {
        if (!loc.valid(corner)) continue;
        const T* a = image + loc.pixel(corner, width) * channels;
        T lanes[8] = {};  // a fixed order of addition that vectorises
        int64_t k = 0;
        for (; k + 8 <= channels; k += 8)
          for (int j = 0; j < 8; ++j) lanes[j] += src[k + j] * a[k + j];
        for (; k < channels; ++k) lanes[0] += src[k] * a[k];
        for (T lane : lanes) dot[corner] += lane;
      }
      const T *wx = loc.tx.weight, *wy = loc.ty.weight;
      result[2 * p] = loc.cx.slope * (wy[0] * (dot[1] - dot[0]) + wy[1] * (dot[3] - dot[2]));
      result[2 * p + 1] = loc.cy.slope * (wx[0] * (dot[2] - dot[0]) + wx[1] * (dot[3] - dot[1]));
    }
  });
}

template <class T>
void corners(const Tensor& grid, const Shape& x_shape, const GridSampleOptions& options,
             GridCorners& out) {
  const int64_t height = x_shape[1], width = x_shape[2];
  const Shape per_location{grid.shape()[0], grid.shape()[1], grid.shape()[2]};
  const Shape per_corner{4, grid.shape()[0], grid.shape()[1], grid.shape()[2]};
  for (Tensor* t : {&out.slope_x, &out.slope_y, &out.shift_x, &out.shift_y})
    *t = empty(per_location, grid.dtype());
  out.index = empty(per_corner, DType::i64);
  out.mask = empty(per_corner, grid.dtype());
  const int64_t points = numel(per_location), per_image = grid.shape()[1] * grid.shape()[2];
  const T* at = grid.data<T>();
  for (int64_t p = 0; p < points; ++p) {
    const Location<T> loc(at + 2 * p, height, width, options);
    // Zero slope: the weight is constant and may not be reconstructed from a NaN grid value.
    const auto shift = [](const math::GridCoordinate<T>& c, const math::GridTaps<T>& t, T g) {
      return c.slope == 0 ? t.weight[1] : t.weight[1] - c.slope * g;
    };
    out.slope_x.data<T>()[p] = loc.cx.slope;
    out.slope_y.data<T>()[p] = loc.cy.slope;
    out.shift_x.data<T>()[p] = shift(loc.cx, loc.tx, at[2 * p]);
    out.shift_y.data<T>()[p] = shift(loc.cy, loc.ty, at[2 * p + 1]);
    for (int k = 0; k < 4; ++k) {
      const bool valid = loc.valid(k);
      out.index.data<int64_t>()[k * points + p] =
          valid ? p / per_image * height * width + loc.pixel(k, width) : 0;
      out.mask.data<T>()[k * points + p] = valid ? T(1) : T(0);
    }
  }
}

void grid_sample_cpu(const Tensor& x, const Tensor& grid, const GridSampleOptions& o, Tensor& y) {
  if (y.numel() == 0) return;
  dispatch_float(x.dtype(), "grid_sample", [&]<class T>() { sample<T>(x, grid, o, y); });
}
void grid_sample_input_grad_cpu(const Tensor& g, const Tensor& grid, const GridSampleOptions& o,
                                Tensor& gx) {
  if (g.numel() == 0) return;
  dispatch_float(g.dtype(), "grid_sample",
                 [&]<class T>() { sample_input_grad<T>(g, grid, o, gx); });
}
void grid_sample_grid_grad_cpu(const Tensor& g, const Tensor& x, const Tensor& grid,
                               const GridSampleOptions& o, Tensor& out) {
  if (out.numel() == 0) return;
  dispatch_float(g.dtype(), "grid_sample",
                 [&]<class T>() { sample_grid_grad<T>(g, x, grid, o, out); });
}
void grid_corners_cpu(const Tensor& grid, const Shape& x_shape, const GridSampleOptions& o,
                      GridCorners& out) {
  dispatch_float(grid.dtype(), "grid_sample",
                 [&]<class T>() { corners<T>(grid, x_shape, o, out); });
}

}  // namespace

TESSERA_KERNEL(grid_sample, cpu, grid_sample_cpu);
TESSERA_KERNEL(grid_sample_input_grad, cpu, grid_sample_input_grad_cpu);
TESSERA_KERNEL(grid_sample_grid_grad, cpu, grid_sample_grid_grad_cpu);
TESSERA_KERNEL(grid_corners, cpu, grid_corners_cpu);

}  // namespace tessera
