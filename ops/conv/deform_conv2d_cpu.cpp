#include <algorithm>

#include "ops/conv/deform_conv2d.h"
#include "ops/conv/deform_sample.h"
#include "ops/cpu/blocked_gemm.h"
#include "tensor/view.h"

namespace tessera {
namespace {

struct Sizes {
  int64_t n, h, w, c, ho, wo, taps, kw, channels_per_offset, channels_per_group;
  Size2 stride, padding, dilation;
  int64_t deform_groups;

  int64_t pixels() const { return ho * wo; }
};

Sizes make_sizes(const Tensor& x, const Tensor& offset, Size2 kernel,
                 const DeformConv2dOptions& o) {
  const Shape &xs = x.shape(), &os = offset.shape();
  return {xs[0],
          xs[1],
          xs[2],
          xs[3],
          os[1],
          os[2],
          kernel.h * kernel.w,
          kernel.w,
          xs[3] / o.deform_groups,
          xs[3] / o.groups,
          o.stride,
          o.padding,
          o.dilation,
          o.deform_groups};
}

template <class T>
using Sample = conv::BilinearSample<T>;

// The sample of tap k, deform group d at output pixel p of one image. offset is the image's.
template <class T>
Sample<T> sample_of(const Sizes& s, const T* offset, int64_t p, int64_t d, int64_t k) {
  const T* move = offset + ((p * s.deform_groups + d) * s.taps + k) * 2;
  const int64_t h = p / s.wo * s.stride.h - s.padding.h + k / s.kw * s.dilation.h;
  const int64_t w = p % s.wo * s.stride.w - s.padding.w + k % s.kw * s.dilation.w;
  return {static_cast<int>(s.h), static_cast<int>(s.w), static_cast<T>(h) + move[0],
          static_cast<T>(w) + move[1]};
}

// Calls fn(channel, count, column) for the stretches of input channels [begin, end) that are also
// contiguous in the columns, which are ordered (group, tap, channel of the group).
template <class Fn>
void for_stretches(const Sizes& s, int64_t begin, int64_t end, int64_t tap, const Fn& fn) {
  const int64_t size = s.channels_per_group;
  while (begin < end) {
    const int64_t group = begin / size, first = begin % size;
    const int64_t count = std::min(end - begin, size - first);
    fn(begin, count, (group * s.taps + tap) * size + first);
    begin += count;
  }
}

template <class T>
T dot(const T* a, const T* b, int64_t n) {
  using Lanes = cpu::Vector<T>;
  constexpr int64_t kLanes = Lanes::kLanes;
  typename Lanes::Type sum{};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) sum += Lanes::load(a + i) * Lanes::load(b + i);
  T total = 0;
  for (int64_t lane = 0; lane < kLanes; ++lane) total += sum[lane];
  for (; i < n; ++i) total += a[i] * b[i];
  return total;
}

template <class T>
void columns_typed(const Sizes& s, const T* x, const T* offset, const T* mask, T* columns) {
  parallel_for(0, s.n * s.pixels(), 4, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      const int64_t n = q / s.pixels(), p = q % s.pixels(), per_pixel = s.deform_groups * s.taps;
      const T* image = x + n * s.h * s.w * s.c;
      T* out = columns + q * s.taps * s.c;
      for (int64_t d = 0; d < s.deform_groups; ++d) {
        for (int64_t k = 0; k < s.taps; ++k) {
          const Sample<T> sample = sample_of(s, offset + n * s.pixels() * per_pixel * 2, p, d, k);
          const T scale = mask ? mask[q * per_pixel + d * s.taps + k] : T(1);
          for_stretches(s, d * s.channels_per_offset, (d + 1) * s.channels_per_offset, k,
                        [&](int64_t channel, int64_t count, int64_t column) {
                          T* dst = out + column;
                          std::fill_n(dst, count, T(0));
                          for (int i = 0; i < 4; ++i) {
                            const auto corner = sample.corner(i);
                            if (corner.pixel < 0) continue;
                            const T weight = corner.weight * scale;
                            const T* src = image + corner.pixel * s.c + channel;
                            for (int64_t j = 0; j < count; ++j) dst[j] += weight * src[j];
                          }
                        });
        }
      }
    }
  });
}

// Each output pixel owns its offsets and mask values.
template <class T>
void sampling_grad(const Sizes& s, const T* g, const T* x, const T* offset, const T* mask,
                   T* goffset, T* gmask) {
  parallel_for(0, s.n * s.pixels(), 4, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      const int64_t n = q / s.pixels(), p = q % s.pixels(), per_pixel = s.deform_groups * s.taps;
      const T* image = x + n * s.h * s.w * s.c;
      const T* gcolumns = g + q * s.taps * s.c;
      for (int64_t d = 0; d < s.deform_groups; ++d) {
        for (int64_t k = 0; k < s.taps; ++k) {
          const Sample<T> sample = sample_of(s, offset + n * s.pixels() * per_pixel * 2, p, d, k);
          T value = 0, d_h = 0, d_w = 0;
          for (int i = 0; i < 4; ++i) {
            const auto corner = sample.corner(i);
            if (corner.pixel < 0) continue;
            T sum = 0;
            for_stretches(s, d * s.channels_per_offset, (d + 1) * s.channels_per_offset, k,
                          [&](int64_t channel, int64_t count, int64_t column) {
                            sum +=
                                dot(gcolumns + column, image + corner.pixel * s.c + channel, count);
                          });
            value += corner.weight * sum;
            d_h += corner.d_h * sum;
            d_w += corner.d_w * sum;
          }
          const int64_t at = q * per_pixel + d * s.taps + k;
          const T scale = mask ? mask[at] : T(1);
          goffset[2 * at] = scale * d_h;
          goffset[2 * at + 1] = scale * d_w;
          if (gmask) gmask[at] = value;
        }
      }
    }
  });
}

// Samples overlap, so one thread adds all of them for its block of channels of one image.
template <class T>
void input_grad(const Sizes& s, const T* g, const T* offset, const T* mask, T* gx) {
  constexpr int64_t kBlock = 32;
  const int64_t blocks = (s.c + kBlock - 1) / kBlock, per_pixel = s.deform_groups * s.taps;
  std::fill_n(gx, s.n * s.h * s.w * s.c, T(0));
  parallel_for(0, s.n * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t n = b / blocks, first = b % blocks * kBlock,
                    last = std::min(first + kBlock, s.c);
      T* image = gx + n * s.h * s.w * s.c;
      const T* image_offset = offset + n * s.pixels() * per_pixel * 2;
      for (int64_t p = 0; p < s.pixels(); ++p) {
        const int64_t q = n * s.pixels() + p;
        const T* gcolumns = g + q * s.taps * s.c;
        for (int64_t d = first / s.channels_per_offset; d * s.channels_per_offset < last; ++d) {
          const int64_t from = std::max(first, d * s.channels_per_offset);
          const int64_t to = std::min(last, (d + 1) * s.channels_per_offset);
          for (int64_t k = 0; k < s.taps; ++k) {
            const Sample<T> sample = sample_of(s, image_offset, p, d, k);
            const T scale = mask ? mask[q * per_pixel + d * s.taps + k] : T(1);
            for_stretches(s, from, to, k, [&](int64_t channel, int64_t count, int64_t column) {
              for (int i = 0; i < 4; ++i) {
                const auto corner = sample.corner(i);
                if (corner.pixel < 0) continue;
                const T weight = corner.weight * scale;
                T* dst = image + corner.pixel * s.c + channel;
                for (int64_t j = 0; j < count; ++j) dst[j] += weight * gcolumns[column + j];
              }
            });
          }
        }
      }
    }
  });
}

void deform_columns_cpu(const Tensor& x, const Tensor& offset, const Tensor& mask, Size2 kernel,
                        const DeformConv2dOptions& options, Tensor& columns) {
  const Sizes s = make_sizes(x, offset, kernel, options);
  dispatch_float(x.dtype(), "deform_conv2d", [&]<class T>() {
    columns_typed(s, x.data<T>(), offset.data<T>(), mask.defined() ? mask.data<T>() : nullptr,
                  columns.data<T>());
  });
}

void deform_columns_grad_cpu(const Tensor& g, const Tensor& x, const Tensor& offset,
                             const Tensor& mask, Size2 kernel, const DeformConv2dOptions& options,
                             Tensor& gx, Tensor& goffset, Tensor& gmask) {
  const Sizes s = make_sizes(x, offset, kernel, options);
  dispatch_float(x.dtype(), "deform_conv2d", [&]<class T>() {
    const T* scales = mask.defined() ? mask.data<T>() : nullptr;
    if (goffset.defined())
      sampling_grad(s, g.data<T>(), x.data<T>(), offset.data<T>(), scales, goffset.data<T>(),
                    gmask.defined() ? gmask.data<T>() : nullptr);
    if (gx.defined()) input_grad(s, g.data<T>(), offset.data<T>(), scales, gx.data<T>());
  });
}

TESSERA_KERNEL(deform_columns, cpu, deform_columns_cpu);
TESSERA_KERNEL(deform_columns_grad, cpu, deform_columns_grad_cpu);

}  // namespace
}  // namespace tessera
