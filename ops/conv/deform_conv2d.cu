// Deformable convolution's sampling. A sample is one tap of one deform group at one output pixel of
// one image; samples are numbered (image, pixel, deform group, tap), as the mask lies in memory.
#include "ops/conv/deform_conv2d.h"

#include "cuda/ordered_scatter.cuh"
#include "cuda/reduce.cuh"
#include "ops/conv/deform_sample.h"
#include "tensor/view.h"

namespace tessera {
namespace {

using cuda::Divider;
using cuda::detail::Pack;

constexpr int kBlock = 256;

/// One call for some images, tensors from the first of them on. Every count is below 2^31.
template <class T>
struct Deform {
  const T* x;
  const T* offset;
  const T* mask;  // or null: all ones
  int images, height, width, channels;
  int stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
  int pixels;  // of one image's output
  int taps, sets;
  Divider by_pixels, by_row, by_taps, by_filter_row, by_sets;  // pixels, Wo, taps, KW, sets
  Divider by_set_channels, by_group_channels;

  struct Place {
    int image, pixel, set, tap;  // pixel: of all images
  };
  __device__ __forceinline__ Place place(int sample) const {
    auto tap = static_cast<uint32_t>(sample);
    uint32_t set = by_taps.split(tap);
    const uint32_t pixel = by_sets.split(set);
    return {static_cast<int>(by_pixels.divide(pixel)), static_cast<int>(pixel),
            static_cast<int>(set), static_cast<int>(tap)};
  }
  __device__ __forceinline__ conv::BilinearSample<T> sample(const Place& at) const {
    auto col = static_cast<uint32_t>(at.pixel - at.image * pixels);
    const auto row = static_cast<int>(by_row.split(col));
    auto tap_col = static_cast<uint32_t>(at.tap);
    const auto tap_row = static_cast<int>(by_filter_row.split(tap_col));
    const int h = row * stride_h - padding_h + tap_row * dilation_h;
    const int w =
        static_cast<int>(col) * stride_w - padding_w + static_cast<int>(tap_col) * dilation_w;
    const T* move = offset + int64_t{number(at)} * 2;
    return {height, width, static_cast<T>(h) + move[0], static_cast<T>(w) + move[1]};
  }
  __device__ __forceinline__ int number(const Place& at) const {
    return (at.pixel * sets + at.set) * taps + at.tap;
  }
  __device__ __forceinline__ T scale(int sample) const { return mask ? mask[sample] : T(1); }
  // Where a channel of x lies in the columns, which are (pixel, group, tap, channel of the group).
  __device__ __forceinline__ int64_t column(int pixel, int tap, int channel) const {
    auto inner = static_cast<uint32_t>(channel);
    const auto group = static_cast<int>(by_group_channels.split(inner));
    return (int64_t{pixel} * channels + group * static_cast<int>(by_group_channels.divisor)) *
               taps +
           tap * static_cast<int>(by_group_channels.divisor) + static_cast<int>(inner);
  }
  __device__ __forceinline__ const T* pixel_of(int image, int64_t pixel) const {
    return x + (int64_t{image} * height * width + pixel) * channels;
  }
  int samples() const { return images * pixels * sets * taps; }
};

// A thread makes kVector neighbouring channels of one sample; neighbouring threads, the sample's
// others. kVector is 1 unless it divides the channels of groups and sets and all is aligned. Bytes:
// columns written once; x is read 4 KH KW times, from the caches.
template <int kVector, class T>
__global__ void __launch_bounds__(kBlock, 2)
    deform_columns_kernel(Deform<T> d, Divider packs, uint32_t count, T* columns) {
  using P = Pack<T, kVector>;
  const uint32_t step = gridDim.x * blockDim.x;
  for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
    uint32_t pack = i, tap = packs.split(pack);
    const uint32_t pixel = d.by_taps.split(tap);
    const int channel = static_cast<int>(pack) * kVector;
    const typename Deform<T>::Place at{
        static_cast<int>(d.by_pixels.divide(pixel)), static_cast<int>(pixel),
        static_cast<int>(d.by_set_channels.divide(static_cast<uint32_t>(channel))),
        static_cast<int>(tap)};
    const conv::BilinearSample<T> sample = d.sample(at);
    const T scale = d.scale(d.number(at));
    P sum{};
    TESSERA_UNROLL
    for (int c = 0; c < 4; ++c) {
      const auto corner = sample.corner(c);
      if (corner.pixel < 0) continue;
      const T weight = corner.weight * scale;
      const P v = *reinterpret_cast<const P*>(d.pixel_of(at.image, corner.pixel) + channel);
      TESSERA_UNROLL
      for (int k = 0; k < kVector; ++k) sum.v[k] += weight * v.v[k];
    }
    *reinterpret_cast<P*>(columns + d.column(at.pixel, at.tap, channel)) = sum;
  }
}

// Gradients of offsets and mask: `lanes` neighbouring threads of a warp (a power of two) share a
// sample, each taking every lanes-th pack of its set's channels. All threads of a warp stay until
// they have added up. Bytes: g once; x four times per sample, from the caches.
template <int kVector, class T>
__global__ void __launch_bounds__(kBlock, 2)
    deform_sampling_grad_kernel(Deform<T> d, const T* g, int lanes, int samples, T* goffset,
                                T* gmask) {
  using P = Pack<T, kVector>;
  const auto set_channels = static_cast<int>(d.by_set_channels.divisor);
  const int per_block = kBlock / lanes, lane = static_cast<int>(threadIdx.x) % lanes;
  for (int64_t first = int64_t{blockIdx.x} * per_block; first < samples;
       first += int64_t{gridDim.x} * per_block) {
    const auto number = static_cast<int>(first + static_cast<int>(threadIdx.x) / lanes);
    T value = 0, d_h = 0, d_w = 0;
    if (number < samples) {
      const typename Deform<T>::Place at = d.place(number);
      const conv::BilinearSample<T> sample = d.sample(at);
      T sum[4] = {};
      for (int c = lane * kVector; c < set_channels; c += lanes * kVector) {
        const int channel = at.set * set_channels + c;
        const P gc = *reinterpret_cast<const P*>(g + d.column(at.pixel, at.tap, channel));
        TESSERA_UNROLL
        for (int i = 0; i < 4; ++i) {
          const int64_t pixel = sample.corner(i).pixel;
          if (pixel < 0) continue;
          const P v = *reinterpret_cast<const P*>(d.pixel_of(at.image, pixel) + channel);
          TESSERA_UNROLL
          for (int k = 0; k < kVector; ++k) sum[i] += gc.v[k] * v.v[k];
        }
      }
      TESSERA_UNROLL
      for (int i = 0; i < 4; ++i) {
        const auto corner = sample.corner(i);
        if (corner.pixel < 0) continue;
        value += corner.weight * sum[i];
        d_h += corner.d_h * sum[i];
        d_w += corner.d_w * sum[i];
      }
    }
    for (int mask = lanes / 2; mask > 0; mask /= 2) {
      value += cuda::shuffle_xor(value, mask);
      d_h += cuda::shuffle_xor(d_h, mask);
      d_w += cuda::shuffle_xor(d_w, mask);
    }
    if (lane > 0 || number >= samples) continue;
    const T scale = d.scale(number);
    goffset[int64_t{number} * 2] = scale * d_h;
    goffset[int64_t{number} * 2 + 1] = scale * d_w;
    if (gmask) gmask[number] = value;
  }
}

// A thread notes where its sample's corners go: rows 4 * sample + corner of an ordered scatter to
// (pixel, deform group). Corners outside the image go nowhere.
template <class T>
__global__ void __launch_bounds__(kBlock)
    deform_corners_kernel(Deform<T> d, int samples, int destinations, int32_t* keys, T* weights) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < samples; i += step) {
    const auto number = static_cast<int>(i);
    const typename Deform<T>::Place at = d.place(number);
    const conv::BilinearSample<T> sample = d.sample(at);
    const T scale = d.scale(number);
    Pack<int32_t, 4> key;
    Pack<T, 4> weight;
    TESSERA_UNROLL
    for (int c = 0; c < 4; ++c) {
      const auto corner = sample.corner(c);
      const int64_t pixel = int64_t{at.image} * d.height * d.width + corner.pixel;
      key.v[c] = corner.pixel < 0 ? destinations : static_cast<int32_t>(pixel * d.sets + at.set);
      weight.v[c] = corner.weight * scale;
    }
    *reinterpret_cast<Pack<int32_t, 4>*>(keys + i * 4) = key;
    *reinterpret_cast<Pack<T, 4>*>(weights + i * 4) = weight;
  }
}

/// The rows that the input gradient adds up: a corner's weight times its sample's columns.
template <class T>
struct CornerRows {
  Deform<T> d;
  const T* g;
  const T* weights;
  bool aligned;

  bool packs(int) const { return aligned; }
  template <int kVector>
  __device__ __forceinline__ Pack<T, kVector> load(int64_t, int32_t row, int64_t channel) const {
    const typename Deform<T>::Place at = d.place(row / 4);
    const int of_x =
        at.set * static_cast<int>(d.by_set_channels.divisor) + static_cast<int>(channel);
    auto v = *reinterpret_cast<const Pack<T, kVector>*>(g + d.column(at.pixel, at.tap, of_x));
    const T weight = weights[row];
    TESSERA_UNROLL
    for (int k = 0; k < kVector; ++k) v.v[k] *= weight;
    return v;
  }
};

template <class T>
Deform<T> describe(const Tensor& x, const Tensor& offset, const Tensor& mask, Size2 kernel,
                   const DeformConv2dOptions& o) {
  const Shape &xs = x.shape(), &os = offset.shape();
  for (int64_t size :
       {xs[1] * xs[2], xs[3], os[1] * os[2], os[3], kernel.h * kernel.w * xs[3],
        xs[1] + 2 * o.padding.h + o.dilation.h, xs[2] + 2 * o.padding.w + o.dilation.w,
        os[1] * o.stride.h, os[2] * o.stride.w})
    TESSERA_CHECK(ValueError, size < INT32_MAX / 2, "deform_conv2d: input ", xs, " with offset ",
                  os, ": sizes of 2^30 and more are not supported on CUDA");
  const auto narrow = [](int64_t v) { return static_cast<int>(v); };
  Deform<T> d{};
  d.x = x.data<T>();
  d.offset = offset.data<T>();
  d.mask = mask.defined() ? mask.data<T>() : nullptr;
  d.images = narrow(xs[0]), d.height = narrow(xs[1]), d.width = narrow(xs[2]);
  d.channels = narrow(xs[3]);
  d.stride_h = narrow(o.stride.h), d.stride_w = narrow(o.stride.w);
  d.padding_h = narrow(o.padding.h), d.padding_w = narrow(o.padding.w);
  d.dilation_h = narrow(o.dilation.h), d.dilation_w = narrow(o.dilation.w);
  d.pixels = narrow(os[1] * os[2]);
  d.taps = narrow(kernel.h * kernel.w);
  d.sets = narrow(o.deform_groups);
  d.by_pixels = Divider(os[1] * os[2]);
  d.by_row = Divider(os[2]);
  d.by_taps = Divider(kernel.h * kernel.w);
  d.by_filter_row = Divider(kernel.w);
  d.by_sets = Divider(o.deform_groups);
  d.by_set_channels = Divider(xs[3] / o.deform_groups);
  d.by_group_channels = Divider(xs[3] / o.groups);
  return d;
}

/// Calls fn(first, tensors of images [first, last)...) for as many images at a time as 32 bits
/// count.
template <class Fn>
void by_images(const Shape& x, const Shape& offset, Size2 kernel, const Fn& fn) {
  const int64_t each =
      std::max({offset[1] * offset[2] * offset[3] * 2,
                offset[1] * offset[2] * kernel.h * kernel.w * x[3], x[1] * x[2] * x[3]});
  const int64_t at_once = std::max<int64_t>(INT32_MAX / 2 / each, 1);
  for (int64_t n = 0; n < x[0]; n += at_once) {
    const int64_t end = std::min(n + at_once, x[0]);
    fn([=](const Tensor& t) { return t.defined() ? view::slice(t, 0, n, end) : t; });
  }
}

/// Channels of x that a thread moves at once: 16 bytes, if no pack is cut by a group or a set.
template <class T>
bool packs(const Deform<T>& d, const T* columns) {
  constexpr int kVector = 16 / static_cast<int>(sizeof(T));
  const auto aligned = [](const T* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  return d.by_set_channels.divisor % kVector == 0 && d.by_group_channels.divisor % kVector == 0 &&
         aligned(d.x) && aligned(columns);
}

template <class T>
void columns_typed(const Deform<T>& d, T* columns) {
  constexpr int kVector = 16 / static_cast<int>(sizeof(T));
  const bool wide = packs(d, columns);
  const int64_t per_sample = d.channels / (wide ? kVector : 1);
  const int64_t count = int64_t{d.images} * d.pixels * d.taps * per_sample;
  TESSERA_CHECK(ValueError, count <= INT32_MAX, "deform_conv2d: ", count,
                " elements of columns are too many");
  const auto kernel = wide ? deform_columns_kernel<kVector, T> : deform_columns_kernel<1, T>;
  cuda::launch(kernel, {cuda::grid_for(count, kBlock), kBlock}, d, Divider(per_sample),
               static_cast<uint32_t>(count), columns);
}

template <class T>
void sampling_grad(const Deform<T>& d, const T* g, T* goffset, T* gmask) {
  constexpr int kVector = 16 / static_cast<int>(sizeof(T));
  const bool wide = packs(d, g);
  const int per_set = static_cast<int>(d.by_set_channels.divisor) / (wide ? kVector : 1);
  int lanes = 1;
  while (lanes < 32 && lanes < per_set) lanes *= 2;
  const auto kernel =
      wide ? deform_sampling_grad_kernel<kVector, T> : deform_sampling_grad_kernel<1, T>;
  cuda::launch(kernel, {cuda::grid_for(d.samples(), kBlock / lanes), kBlock}, d, g, lanes,
               d.samples(), goffset, gmask);
}

// gx holds zeros.
template <class T>
void input_grad(const Deform<T>& d, const T* g, Tensor& gx) {
  const int64_t destinations = int64_t{d.images} * d.height * d.width * d.sets;
  const int64_t rows = int64_t{d.samples()} * 4;
  TESSERA_CHECK(ValueError, rows < INT32_MAX - 64 && destinations < INT32_MAX,
                "deform_conv2d: ", rows, " corners of samples are too many");
  const Tensor keys = empty({rows}, DType::i32, gx.device());
  const Tensor weights = empty({rows}, gx.dtype(), gx.device());
  cuda::launch(deform_corners_kernel<T>, {cuda::grid_for(d.samples(), kBlock), kBlock}, d,
               d.samples(), static_cast<int>(destinations), keys.data<int32_t>(),
               weights.data<T>());
  const cuda::RowOrder order = cuda::order_rows(keys, destinations);
  cuda::add_ordered(order, 1, static_cast<int64_t>(d.by_set_channels.divisor),
                    CornerRows<T>{d, g, weights.data<T>(), packs(d, g)}, gx.data<T>());
}

void deform_columns_cuda(const Tensor& x, const Tensor& offset, const Tensor& mask, Size2 kernel,
                         const DeformConv2dOptions& options, Tensor& columns) {
  by_images(x.shape(), offset.shape(), kernel, [&](const auto& part) {
    dispatch_float(x.dtype(), "deform_conv2d", [&]<class T>() {
      columns_typed(describe<T>(part(x), part(offset), part(mask), kernel, options),
                    part(columns).template data<T>());
    });
  });
}

void deform_columns_grad_cuda(const Tensor& g, const Tensor& x, const Tensor& offset,
                              const Tensor& mask, Size2 kernel, const DeformConv2dOptions& options,
                              Tensor& gx, Tensor& goffset, Tensor& gmask) {
  if (gx.defined()) fill_(gx, 0);
  by_images(x.shape(), offset.shape(), kernel, [&](const auto& part) {
    dispatch_float(x.dtype(), "deform_conv2d", [&]<class T>() {
      const Deform<T> d = describe<T>(part(x), part(offset), part(mask), kernel, options);
      const T* columns = part(g).template data<T>();
      Tensor to_x = part(gx), to_mask = part(gmask);
      if (goffset.defined())
        sampling_grad(d, columns, part(goffset).template data<T>(),
                      to_mask.defined() ? to_mask.data<T>() : nullptr);
      if (gx.defined()) input_grad(d, columns, to_x);
    });
  });
}

TESSERA_KERNEL(deform_columns, cuda, deform_columns_cuda);
TESSERA_KERNEL(deform_columns_grad, cuda, deform_columns_grad_cuda);

}  // namespace
}  // namespace tessera
