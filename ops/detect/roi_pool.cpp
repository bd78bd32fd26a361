#include "ops/detect/roi_pool.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "ops/detect/roi_align.h"
#include "ops/detect/roi_math.h"
#include "ops/index/gather.h"
#include "ops/index/view.h"
#include "ops/pointwise/where.h"
#include "tensor/parallel.h"
#include "tensor/view.h"

namespace tessera {

namespace {

using math::RoiSpan;

/// Position of the largest of the span's pixels for every channel; NaN is the largest.
template <class T>
void argmax_in(const T* pixels, RoiSpan rows, RoiSpan columns, int64_t width, int64_t first_pixel,
               int64_t channels, int64_t* at) {
  std::fill_n(at, channels, first_pixel + rows.first * width + columns.first);
  for (int64_t h = rows.first; h < rows.last; ++h)
    for (int64_t w = columns.first; w < columns.last; ++w) {
      const int64_t here = first_pixel + h * width + w;
      const T* v = pixels + here * channels;
      for (int64_t c = 0; c < channels; ++c) {
        const T best = pixels[at[c] * channels + c];
        if (v[c] > best || (std::isnan(v[c]) && !std::isnan(best))) at[c] = here;
      }
    }
}

template <class T>
bool roi_pool_argmax_typed(const Tensor& feature, const Tensor& rois, T scale, Tensor& argmax,
                           Tensor& filled) {
  const int64_t images = feature.size(0), height = feature.size(1), width = feature.size(2);
  const int64_t channels = feature.size(3), out_h = argmax.size(1), out_w = argmax.size(2);
  const T *pixels = feature.data<T>(), *boxes = rois.data<T>();
  int64_t* at = argmax.data<int64_t>();
  bool* full = filled.data<bool>();
  std::atomic<bool> some_empty = false;
  parallel_for(0, rois.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* roi = boxes + 5 * r;
      TESSERA_CHECK(ValueError, roi[0] >= 0 && roi[0] < static_cast<T>(images),
                    "roi_pool: batch index ", roi[0], " of roi ", r, " is outside [0, ", images,
                    ")");
      for (int i = 1; i < 5; ++i)
        TESSERA_CHECK(ValueError, std::abs(roi[i] * scale) <= T(1e7), "roi_pool: coordinate ",
                      roi[i], " of roi ", r, " is out of range");
      const int64_t first_pixel = static_cast<int64_t>(roi[0]) * height * width;
      for (int64_t b = 0; b < out_h * out_w; ++b) {
        const RoiSpan rows = math::roi_pool_span(roi[2], roi[4], scale, b / out_w, out_h, height);
        const RoiSpan columns = math::roi_pool_span(roi[1], roi[3], scale, b % out_w, out_w, width);
        const bool empty = rows.first >= rows.last || columns.first >= columns.last;
        const int64_t bin = r * out_h * out_w + b;
        full[bin] = !empty;
        if (empty) {
          std::fill_n(at + bin * channels, channels, 0);
          some_empty = true;
        } else {
          argmax_in(pixels, rows, columns, width, first_pixel, channels, at + bin * channels);
        }
      }
    }
  });
  return some_empty;
}

bool roi_pool_argmax_cpu(const Tensor& feature, const Tensor& rois, double scale, Tensor& argmax,
                         Tensor& filled) {
  return dispatch_float(feature.dtype(), "roi_pool", [&]<class T>() {
    return roi_pool_argmax_typed<T>(feature, rois, static_cast<T>(scale), argmax, filled);
  });
}

}  // namespace

namespace kernel {
constinit KernelSlot<bool(const Tensor&, const Tensor&, double, Tensor&, Tensor&)> roi_pool_argmax{
    "roi_pool_argmax"};
}
TESSERA_KERNEL(roi_pool_argmax, cpu, roi_pool_argmax_cpu);

Tensor roi_pool(const Tensor& feature, const Tensor& rois, int64_t output_h, int64_t output_w,
                double spatial_scale) {
  check_rois(feature.shape(), feature.dtype(), rois, output_h, output_w, spatial_scale, "roi_pool");
  const int64_t count = rois.size(0), channels = feature.size(3);
  const Shape shape{count, output_h, output_w, channels};
  Tensor argmax = empty(shape, DType::i64, feature.device());
  Tensor filled = empty({count, output_h, output_w, 1}, DType::boolean, feature.device());
  const bool some_empty =
      kernel::roi_pool_argmax(feature.device(), view::contiguous(feature.detach()),
                              view::contiguous(rois.detach()), spatial_scale, argmax, filled);
  const Tensor pixels =
      reshape(feature, {feature.size(0) * feature.size(1) * feature.size(2), channels});
  const Tensor picked =
      gather(pixels, 0, view::reshape(argmax, {count * output_h * output_w, channels}));
  const Tensor y = reshape(picked, shape);
  return some_empty ? where(filled, y, zeros({}, y.dtype(), y.device())) : y;
}

}  // namespace tessera
