#include <algorithm>
#include <cstring>
#include <type_traits>

#include "ops/cpu/lanes.h"
#include "ops/cpu/vector.h"
#include "ops/image/grid_points.h"
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

// Locations in runs of GridPoints, each in one image. The runs do not depend on the threads, so
// neither does which locations are computed together.
class Runs {
 public:
  explicit Runs(const Tensor& grid)
      : per_image_(grid.shape()[1] * grid.shape()[2]),
        runs_((per_image_ + kPoints - 1) / kPoints),
        images_(grid.shape()[0]) {}

  // f(first, count, image) for the runs of one image, or of all, in parallel: at least `grain`
  // locations for a thread.
  template <class F>
  void of_image(int64_t image, F&& f) const {
    for (int64_t r = 0; r < runs_; ++r) one(image * runs_ + r, f);
  }
  template <class F>
  void in_parallel(int64_t grain, F&& f) const {
    parallel_for(0, images_ * runs_, std::max<int64_t>(1, grain / kPoints),
                 [&](int64_t begin, int64_t end) {
                   for (; begin < end; ++begin) one(begin, f);
                 });
  }

 private:
  static constexpr int64_t kPoints = GridPoints<float>::kCount;

  template <class F>
  void one(int64_t run, F& f) const {
    const int64_t image = run / runs_, at = run % runs_ * kPoints;
    f(image * per_image_ + at, std::min(kPoints, per_image_ - at), image);
  }

  int64_t per_image_, runs_, images_;
};

// Any location: dst (channels) from the pixels that exist, corner 0 at `from`, rows `row` apart.
template <class T>
void sample_point(const T* from, int64_t row, int64_t channels, const GridPoints<T>& points,
                  int64_t i, T* __restrict dst) {
  const T *a = from, *b = a + channels, *c = a + row, *d = c + channels;
  const T w[4] = {points.weight(i, 0), points.weight(i, 1), points.weight(i, 2),
                  points.weight(i, 3)};
  if (points.corners[i] == points.kAll) {
    for (int64_t k = 0; k < channels; ++k)
      dst[k] = w[0] * a[k] + w[1] * b[k] + w[2] * c[k] + w[3] * d[k];
    return;
  }
  for (int64_t k = 0; k < channels; ++k) dst[k] = 0;
  for (int corner = 0; corner < 4; ++corner) {
    if ((points.corners[i] >> corner & 1) == 0) continue;
    const T* pixel = from + corner / 2 * row + corner % 2 * channels;
    for (int64_t k = 0; k < channels; ++k) dst[k] += w[corner] * pixel[k];
  }
}

// `count` locations with at most kWide channels: whole vectors of kWide are read and written where
// pixel `last` of the image or one before it is corner 0.
template <int kWide>
void sample_few(const float* image, int64_t last, int64_t row, int64_t channels,
                const GridPoints<float>& points, int64_t count, float* dst) {
  typedef float Wide __attribute__((vector_size(kWide * sizeof(float))));
  const auto load = [](const float* p) {
    Wide v;
    std::memcpy(&v, p, sizeof v);
    return v;
  };
  int32_t all = points.kAll, any = 0;
  int64_t highest = 0;
  for (int64_t k = 0; k < count; ++k) {
    all &= points.corners[k];
    any |= points.corners[k];
    highest = std::max(highest, points.pixel[k]);
  }
  if (any == 0) {
    std::fill_n(dst, count * channels, 0.0f);
    return;
  }
  const auto at = [&](int64_t k) { return image + points.pixel[k] * channels; };
  const auto whole = [&](int64_t k) {
    const float* from = at(k);
    const Wide lower = Wide{} + points.lower[k], right = Wide{} + points.right[k];
    const Wide left = 1 - right;
    const Wide above = load(from) * left + load(from + channels) * right;
    const Wide below = load(from + row) * left + load(from + row + channels) * right;
    const Wide sum = above * (1 - lower) + below * lower;
    std::memcpy(dst + k * channels, &sum, sizeof sum);
  };
  // What is written too far belongs to locations that come later.
  const int64_t end = count - (kWide - 1) / channels;
  int64_t k = 0;
  if (all == points.kAll && highest <= last)
    for (; k < end; ++k) whole(k);
  for (; k < count; ++k) {
    if (k < end && points.corners[k] == points.kAll && points.pixel[k] <= last)
      whole(k);
    else
      sample_point(at(k), row, channels, points, k, dst + k * channels);
  }
}

template <class T>
void sample(const Tensor& x, const Tensor& grid, const GridSampleOptions& options, Tensor& y) {
  const int64_t height = x.shape()[1], width = x.shape()[2], channels = x.shape()[3];
  const int64_t row = width * channels;
  const T *images = x.data<T>(), *at = grid.data<T>();
  T* out = y.data<T>();
  const int64_t grain = std::max<int64_t>(16, 16384 / (4 * channels + 8));
  Runs(grid).in_parallel(grain, [&](int64_t first, int64_t count, int64_t n) {
    GridPoints<T> points;
    points.fill(at + 2 * first, count, height, width, options);
    const T* image = images + n * height * row;
    T* dst = out + first * channels;
    if constexpr (std::is_same_v<T, float>) {
      // Corner 3 is followed by whole vectors of what all images hold.
      const int64_t past = width + 1 + (channels <= 4 ? 4 : 8);
      const int64_t last = (x.shape()[0] - n) * height * width - past;
      if (channels <= 4) return sample_few<4>(image, last, row, channels, points, count, dst);
      if (channels <= 8) return sample_few<8>(image, last, row, channels, points, count, dst);
    }
    for (int64_t i = 0; i < count; ++i)
      sample_point(image + points.pixel[i] * channels, row, channels, points, i,
                   dst + i * channels);
  });
}

// Adds a location's gradient src to `count` channels of its pixels, corner 0 at dst.
template <class T>
void scatter_point(const GridPoints<T>& points, int64_t i, const T* __restrict src, int64_t count,
                   int64_t row, int64_t channels, T* dst) {
  using Lanes = cpu::Vector<T>;
  const auto offset = [&](int k) { return k / 2 * row + k % 2 * channels; };
  int64_t c = 0;
  if (points.corners[i] == points.kAll) {
    const T w[4] = {points.weight(i, 0), points.weight(i, 1), points.weight(i, 2),
                    points.weight(i, 3)};
    for (; c + Lanes::kLanes <= count; c += Lanes::kLanes) {
      const typename Lanes::Type g = Lanes::load(src + c);
      for (int k = 0; k < 4; ++k) {
        T* to = dst + offset(k) + c;
        Lanes::store(to, Lanes::load(to) + w[k] * g);
      }
    }
  }
  for (int k = 0; k < 4; ++k) {
    if ((points.corners[i] >> k & 1) == 0) continue;
    T* __restrict to = dst + offset(k);
    const T w = points.weight(i, k);
    for (int64_t j = c; j < count; ++j) to[j] += w * src[j];
  }
}

/// Channels, not locations, are shared out among threads: two locations may add to one pixel.
template <class T>
void sample_input_grad(const Tensor& g, const Tensor& grid, const GridSampleOptions& options,
                       Tensor& gx) {
  const int64_t height = gx.shape()[1], width = gx.shape()[2], channels = gx.shape()[3];
  const int64_t per_image = grid.shape()[1] * grid.shape()[2];
  const T *in = g.data<T>(), *at = grid.data<T>();
  T* images = gx.data<T>();
  const Runs runs(grid);
  const int64_t block = cpu::Vector<T>::kLanes, blocks = (channels + block - 1) / block;
  const int64_t grain = std::max<int64_t>(1, 16384 / (4 * per_image * block));
  parallel_for(0, gx.shape()[0] * blocks, grain, [&](int64_t begin, int64_t end) {
    GridPoints<T> points;
    while (begin < end) {
      const int64_t n = begin / blocks, first = begin % blocks * block;
      const int64_t last = std::min(blocks, begin % blocks + end - begin);
      const int64_t width_of_run = std::min(last * block, channels) - first;
      T* image = images + n * height * width * channels + first;
      const auto add = [&](int64_t p, int64_t count, int64_t) {
        points.fill(at + 2 * p, count, height, width, options);
        for (int64_t i = 0; i < count; ++i)
          scatter_point(points, i, in + (p + i) * channels + first, width_of_run, width * channels,
                        channels, image + points.pixel[i] * channels);
      };
      runs.of_image(n, add);
      begin += last - first / block;
    }
  });
}

// What a location's gradient in x and y are made of: g with the differences of its pixels.
template <class T>
struct Slopes {
  T x, y;
};

// Corner 0 lies at `a`; a corner that does not exist counts as zeros.
template <class T>
Slopes<T> grid_slopes(const GridPoints<T>& points, int64_t i, const T* src, const T* a, int64_t row,
                      int64_t channels) {
  using Lanes = cpu::Vector<T>;
  using V = typename Lanes::Type;
  const T right = points.right[i], lower = points.lower[i];
  const T left = 1 - right, upper = 1 - lower;
  const T *b = a + channels, *c = a + row, *d = c + channels;
  const int32_t exist = points.corners[i];
  Slopes<T> sum = {};
  int64_t k = 0;
  if (exist == points.kAll && channels >= Lanes::kLanes) {
    V at_a = {}, at_b = {}, at_c = {}, at_d = {};  // g times each pixel
    for (; k + Lanes::kLanes <= channels; k += Lanes::kLanes) {
      const V g = Lanes::load(src + k);
      at_a += g * Lanes::load(a + k);
      at_b += g * Lanes::load(b + k);
      at_c += g * Lanes::load(c + k);
      at_d += g * Lanes::load(d + k);
    }
    sum.x = cpu::sum_lanes<T>(upper * (at_b - at_a) + lower * (at_d - at_c));
    sum.y = cpu::sum_lanes<T>(left * (at_c - at_a) + right * (at_d - at_b));
  }
  for (; k < channels; ++k) {
    const T va = exist & 1 ? a[k] : 0, vb = exist & 2 ? b[k] : 0;
    const T vc = exist & 4 ? c[k] : 0, vd = exist & 8 ? d[k] : 0;
    sum.x += src[k] * (upper * (vb - va) + lower * (vd - vc));
    sum.y += src[k] * (left * (vc - va) + right * (vd - vb));
  }
  return sum;
}

template <class T>
void sample_grid_grad(const Tensor& g, const Tensor& x, const Tensor& grid,
                      const GridSampleOptions& options, Tensor& out) {
  const int64_t height = x.shape()[1], width = x.shape()[2], channels = x.shape()[3];
  const int64_t row = width * channels;
  const T *images = x.data<T>(), *at = grid.data<T>(), *in = g.data<T>();
  T* result = out.data<T>();
  const int64_t grain = std::max<int64_t>(16, 16384 / (4 * channels + 8));
  Runs(grid).in_parallel(grain, [&](int64_t first, int64_t count, int64_t n) {
    GridPoints<T> points;
    points.fill(at + 2 * first, count, height, width, options);
    for (int64_t i = 0; i < count; ++i) {
      const T* corner = images + n * height * row + points.pixel[i] * channels;
      const Slopes<T> s =
          grid_slopes(points, i, in + (first + i) * channels, corner, row, channels);
      result[2 * (first + i)] = points.slope_x[i] * s.x;
      result[2 * (first + i) + 1] = points.slope_y[i] * s.y;
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
    const GridLocation<T> loc(at + 2 * p, height, width, options);
    // Zero slope: the weight is constant and may not be reconstructed from a NaN grid value.
    const auto shift = [](const math::GridCoordinate<T>& c, const math::GridTaps<T>& t, T g) {
      return c.slope == 0 ? t.weight[1] : t.weight[1] - c.slope * g;
    };
    out.slope_x.data<T>()[p] = loc.cx.slope;
    out.slope_y.data<T>()[p] = loc.cy.slope;
    out.shift_x.data<T>()[p] = shift(loc.cx, loc.tx, at[2 * p]);
    out.shift_y.data<T>()[p] = shift(loc.cy, loc.ty, at[2 * p + 1]);
    const int64_t first = p / per_image * height * width;
    for (int k = 0; k < 4; ++k) {
      const bool valid = loc.valid(k);
      out.index.data<int64_t>()[k * points + p] =
          valid ? first + (loc.ty.low + k / 2) * width + loc.tx.low + k % 2 : 0;
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
