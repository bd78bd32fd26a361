// Convolutions as products with the unfolded image (cuda/gemm_tile.cuh), z being the group:
//
//   forward      pixels x filters       y(p, o)  = sum over (kh, kw, i)  x(p, (kh, kw, i)) w(o,
//   ...) input grad   pixels x channels      gx(p, i) = sum over (kh, kw, o)  g(p, (kh, kw, o))
//   w(o, ...) weight grad  filters x taps         gw(o, (kh, kw, i)) = sum over p  g(p, o) x(p,
//   (kh, kw, i))
//
// The loaders gather from the image itself, four channels at once where a group's channels are a
// multiple of four, so nothing unfolded is stored. Each value is read KH KW times, from the caches.
// The bound is arithmetic except for few channels: 2 KH KW C / groups flops per result.
#include "cuda/gemm_tile.cuh"
#include "ops/conv/conv2d_cuda.h"
#include "ops/conv/gather_axis.cuh"

namespace tessera::conv::cuda::implicit_gemm {
namespace {

using tessera::cuda::Along;
using tessera::cuda::DenseOutput;
using tessera::cuda::Divider;
using tessera::cuda::gemm_tiled;
using tessera::cuda::is_quad_aligned;
using tessera::cuda::load_quad;
using tessera::cuda::store_quad;
using tessera::cuda::StridedMatrix;

// Division by a count that may be 0 where there is nothing to divide.
TESSERA_HD Divider divider(int64_t count) { return Divider(count > 0 ? count : 1); }

// Pixels of a result, numbered through all images.
struct PixelGrid {
  Divider rows, cols;

  struct Place {
    int image, row, col;
  };
  __device__ __forceinline__ Place at(int pixel) const {
    auto col = static_cast<uint32_t>(pixel);
    uint32_t row = cols.split(col);
    const uint32_t image = rows.split(row);
    return {static_cast<int>(image), static_cast<int>(row), static_cast<int>(col)};
  }
};

// The unfolded image of one group: pixel p of the result by k = (tap row, tap column, channel).
template <class T>
struct Patches {
  const T* image;
  GatherAxis h, w;
  PixelGrid grid;
  Divider tap_cols, group;  // columns of taps, channels of a group
  int channels;             // of all groups
  int pixels, depth;        // depth: taps times channels of a group
  bool vector;

  // Where tap (0, 0) of a pixel lies, and how far the channel of a tap is from there.
  struct Pixel {
    const T* image;
    int y, x;
  };
  struct Tap {
    int y, x, channel;
  };

  __device__ __forceinline__ Pixel pixel(int p) const {
    const PixelGrid::Place at = grid.at(p);
    return {image + int64_t{at.image} * (h.size * w.size) * channels, at.row * h.stride + h.base,
            at.col * w.stride + w.base};
  }
  __device__ __forceinline__ Tap tap(int k) const {
    auto channel = static_cast<uint32_t>(k);
    uint32_t col = group.split(channel);
    const uint32_t row = tap_cols.split(col);
    return {static_cast<int>(row) * h.reach, static_cast<int>(col) * w.reach,
            static_cast<int>(channel)};
  }
  // nullptr outside the image, where there are zeros.
  __device__ __forceinline__ const T* find(const Pixel& p, const Tap& t) const {
    const int y = p.y + t.y, x = p.x + t.x;
    if (y < 0 || y >= h.size || x < 0 || x >= w.size) return nullptr;
    return p.image + int64_t{y * w.size + x} * channels + t.channel;
  }
};

template <class T, class C>
__device__ __forceinline__ void load_quad_or_zeros(const T* p, C (&v)[4]) {
  if (p) return load_quad(p, v);
  TESSERA_UNROLL
  for (int i = 0; i < 4; ++i) v[i] = C(0);
}

// x is the pixel: its coordinates are found once, the taps go by.
template <class T>
struct PixelLines : Patches<T> {
  using Line = typename Patches<T>::Pixel;

  __device__ __forceinline__ bool along_k() const { return true; }
  __device__ __forceinline__ Line line(int x) const {
    if (x < this->pixels) return this->pixel(x);
    return {this->image, INT32_MIN / 2, 0};  // outside, whatever the tap
  }
  template <class C>
  __device__ __forceinline__ void load(const Line& line, int k, int end, C (&v)[4]) const {
    if (this->vector)
      return load_quad_or_zeros(k < end ? this->find(line, this->tap(k)) : nullptr, v);
    TESSERA_UNROLL
    for (int i = 0; i < 4; ++i) {
      const T* p = k + i < end ? this->find(line, this->tap(k + i)) : nullptr;
      v[i] = p ? static_cast<C>(*p) : C(0);
    }
  }
};

// x is the tap's channel and k the pixel.
template <class T>
struct TapLines : Patches<T> {
  struct Line {
    int x;
    typename Patches<T>::Tap tap;
  };

  __device__ __forceinline__ bool along_k() const { return false; }
  __device__ __forceinline__ Line line(int x) const { return {x, this->tap(x)}; }
  template <class C>
  __device__ __forceinline__ void load(const Line& line, int k, int end, C (&v)[4]) const {
    const int count = k < end ? this->depth - line.x : 0;
    const auto pixel = this->pixel(k);
    if (this->vector)
      return load_quad_or_zeros(count > 0 ? this->find(pixel, line.tap) : nullptr, v);
    TESSERA_UNROLL
    for (int i = 0; i < 4; ++i) {
      const T* p = i < count ? this->find(pixel, this->tap(line.x + i)) : nullptr;
      v[i] = p ? static_cast<C>(*p) : C(0);
    }
  }
};

// The groups' channels lie side by side.
template <class Lines>
struct Grouped {
  Lines all;
  int group_channels;

  __device__ __forceinline__ Lines bind(int z) const {
    Lines bound = all;
    bound.image += int64_t{z} * group_channels;
    return bound;
  }
};

void check_sizes(const ConvShape& s) {
  TESSERA_CHECK(ValueError,
                s.h * s.w < INT32_MAX / 2 && s.ho * s.wo < INT32_MAX / 2 && s.c < INT32_MAX / 2 &&
                    s.o < INT32_MAX / 2 && s.kh * s.kw * std::max(s.cg(), s.og()) < INT32_MAX / 2 &&
                    s.n * std::max(s.ho * s.wo, s.h * s.w) < INT32_MAX / 2,
                "convolution of ", s.n, " images of ", s.h, " x ", s.w, " x ", s.c, " to ", s.ho,
                " x ", s.wo, " x ", s.o, ": 2^30 pixels and more are not supported on CUDA");
}

// What the filters of the forward pass see of x.
template <class Lines, class T>
Grouped<Lines> unfolded(const ConvShape& s, const T* x) {
  Grouped<Lines> grouped;
  Lines& p = grouped.all;
  p.image = x;
  p.h = height_axis(s).forward();
  p.w = width_axis(s).forward();
  p.grid = {divider(s.ho), divider(s.wo)};
  p.tap_cols = divider(s.kw);
  p.group = divider(s.cg());
  p.channels = static_cast<int>(s.c);
  p.pixels = static_cast<int>(s.n * s.ho * s.wo);
  p.depth = static_cast<int>(s.kh * s.kw * s.cg());
  p.vector = s.cg() % 4 == 0 && is_quad_aligned(x);
  grouped.group_channels = static_cast<int>(s.cg());
  return grouped;
}

// The input gradient reads g and the filters through the taps of its phases: z counts the phases of
// the rows, then those of the columns, then groups.
struct Phases {
  ConvAxis h, w;
  int groups;

  struct Phase {
    GatherAxis h, w;
    int group;
  };
  int count() const { return h.phases() * w.phases() * groups; }
  __device__ __forceinline__ Phase at(int z) const {
    const int phase = z / groups;
    return {h.transposed(phase / w.phases()), w.transposed(phase % w.phases()), z % groups};
  }
};

template <class T>
struct PhasedGradient {
  const T* g;
  Phases phases;
  Divider group;  // results of a group
  int images, channels;
  bool vector;

  __device__ __forceinline__ PixelLines<T> bind(int z) const {
    const Phases::Phase at = phases.at(z);
    const auto filters = static_cast<int>(group.divisor);
    PixelLines<T> p;
    p.image = g + int64_t{at.group} * filters;
    p.h = at.h;
    p.w = at.w;
    p.grid = {divider(at.h.count), divider(at.w.count)};
    p.tap_cols = divider(at.w.taps);
    p.group = group;
    p.channels = channels;
    p.pixels = images * at.h.count * at.w.count;
    p.depth = at.h.taps * at.w.taps * filters;
    p.vector = vector;
    return p;
  }
};

// Filters as (tap row, tap column, o) x (channel of the group): x is the channel.
template <class T>
struct PhasedFilters {
  const T* w;
  Phases phases;
  Divider group;      // results of a group
  int size;           // channels of a group
  int filter_stride;  // from one o to the next
  bool vector;

  struct Bound {
    const T* w;  // from the first tap of the phase on
    Divider tap_cols, group;
    int row_stride, col_stride, filter_stride;
    int size;
    bool vector;

    struct Line {
      const T* p;
      int count;
    };
    __device__ __forceinline__ bool along_k() const { return false; }
    __device__ __forceinline__ Line line(int x) const { return {w + x, size - x}; }
    template <class C>
    __device__ __forceinline__ void load(const Line& line, int k, int end, C (&v)[4]) const {
      auto o = static_cast<uint32_t>(k);
      uint32_t col = group.split(o);
      const uint32_t row = tap_cols.split(col);
      const int tap = static_cast<int>(row) * row_stride + static_cast<int>(col) * col_stride;
      const T* p = line.p + int64_t{static_cast<int>(o)} * filter_stride + tap;
      const int count = k < end ? line.count : 0;
      if (vector && count >= 4) return load_quad(p, v);
      TESSERA_UNROLL
      for (int i = 0; i < 4; ++i) v[i] = i < count ? static_cast<C>(p[i]) : C(0);
    }
  };

  __device__ __forceinline__ Bound bind(int z) const {
    const Phases::Phase at = phases.at(z);
    const int first = (at.h.first_tap * phases.w.k + at.w.first_tap) * size;
    const int64_t filters = int64_t{at.group} * static_cast<int>(group.divisor);
    return {w + filters * filter_stride + first,
            divider(at.w.taps),
            group,
            at.h.tap_step * phases.w.k * size,
            at.w.tap_step * size,
            filter_stride,
            size,
            vector};
  }
};

template <class T>
struct PhasedOutput {
  using C = compute_t<T>;

  T* gx;
  Phases phases;
  int images, channels, group_channels;
  bool vector;

  struct Bound {
    T* gx;
    GatherAxis h, w;
    PixelGrid grid;
    int height, width, channels;
    int rows, cols;
    bool vector;

    __device__ __forceinline__ void store(int m, int n, const C (&v)[4]) const {
      const PixelGrid::Place at = grid.at(m);
      const int64_t pixel = int64_t{at.image} * (height * width) +
                            (h.first + at.row * h.step) * width + w.first + at.col * w.step;
      T* to = gx + pixel * channels + n;
      if (vector) return store_quad(to, v);
      TESSERA_UNROLL
      for (int i = 0; i < 4; ++i)
        if (n + i < cols) to[i] = static_cast<T>(v[i]);
    }
  };

  __device__ __forceinline__ Bound bind(int z) const {
    const Phases::Phase at = phases.at(z);
    return {gx + int64_t{at.group} * group_channels,
            at.h,
            at.w,
            {divider(at.h.count), divider(at.w.count)},
            phases.h.in,
            phases.w.in,
            channels,
            images * at.h.count * at.w.count,
            group_channels,
            vector};
  }
};

}  // namespace

void forward(const ConvShape& s, const Tensor& x, const Tensor& w, const ConvEpilogue& epilogue,
             Tensor& y) {
  check_sizes(s);
  dispatch_floating(x.dtype(), "conv2d", [&]<class T>() {
    using Finish = Clamp<compute_t<T>>;
    const auto data = [](const Tensor& t) -> const T* {
      return t.defined() ? t.data<T>() : nullptr;
    };
    const int64_t depth = s.kh * s.kw * s.cg();
    const auto filters =
        StridedMatrix<T, Along::k>::make(w.data<T>(), s.og() * depth, depth, 1, s.og(), depth);
    const auto to = DenseOutput<T, Finish>::make(
        y.data<T>(), data(epilogue.bias), data(epilogue.residual), s.og(), s.o, s.og(),
        s.n * s.ho * s.wo, s.og(), Finish(epilogue.activation));
    gemm_tiled<T>({s.groups, s.n * s.ho * s.wo, s.og(), depth},
                  unfolded<PixelLines<T>>(s, x.data<T>()), filters, to, y.device());
  });
}

void input_grad(const ConvShape& s, const Tensor& g, const Tensor& w, Tensor& gx) {
  check_sizes(s);
  const Phases phases{height_axis(s), width_axis(s), static_cast<int>(s.groups)};
  const GatherAxis h = phases.h.transposed(0), v = phases.w.transposed(0);
  // The first phase has the most pixels; no phase has more taps than these.
  const int64_t taps_h = (s.kh + phases.h.tap_step - 1) / phases.h.tap_step;
  const int64_t taps_w = (s.kw + phases.w.tap_step - 1) / phases.w.tap_step;
  const Divider group = divider(s.og());
  const auto channels = static_cast<int>(s.c), group_channels = static_cast<int>(s.cg());
  const auto images = static_cast<int>(s.n);
  dispatch_floating(g.dtype(), "conv2d_input_grad", [&]<class T>() {
    const bool aligned = s.cg() % 4 == 0;
    const PhasedGradient<T> from{g.data<T>(),
                                 phases,
                                 group,
                                 images,
                                 static_cast<int>(s.o),
                                 s.og() % 4 == 0 && is_quad_aligned(g.data<T>())};
    const PhasedFilters<T> filters{w.data<T>(),
                                   phases,
                                   group,
                                   group_channels,
                                   static_cast<int>(s.kh * s.kw * s.cg()),
                                   aligned && is_quad_aligned(w.data<T>())};
    const PhasedOutput<T> to{gx.data<T>(),   phases,
                             images,         channels,
                             group_channels, aligned && is_quad_aligned(gx.data<T>())};
    gemm_tiled<T>({phases.count(), s.n * h.count * v.count, s.cg(), taps_h * taps_w * s.og()}, from,
                  filters, to, gx.device());
  });
}

void weight_grad(const ConvShape& s, const Tensor& g, const Tensor& x, Tensor& gw) {
  check_sizes(s);
  dispatch_floating(g.dtype(), "conv2d_weight_grad", [&]<class T>() {
    const int64_t taps = s.kh * s.kw * s.cg(), pixels = s.n * s.ho * s.wo;
    const auto from = StridedMatrix<T, Along::x>::make(g.data<T>(), s.og(), 1, s.o, s.og(), pixels);
    const auto to =
        DenseOutput<T>::make(gw.data<T>(), nullptr, nullptr, s.og() * taps, taps, 0, s.og(), taps);
    gemm_tiled<T>({s.groups, s.og(), taps, pixels}, from, unfolded<TapLines<T>>(s, x.data<T>()), to,
                  gw.device());
  });
}

}  // namespace tessera::conv::cuda::implicit_gemm
