#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/detect/roi_align.h"
#include "ops/detect/roi_math.h"
#include "tensor/parallel.h"

namespace tessera {

namespace kernel {
constinit KernelSlot<void(const Tensor&, const Tensor&, const RoiAlignOptions&, Tensor&)> roi_align{
    "roi_align"};
constinit KernelSlot<void(const Tensor&, const Tensor&, const RoiAlignOptions&, Tensor&)>
    roi_align_grad{"roi_align_grad"};
}  // namespace kernel

namespace {

/// The samples of all bins along one axis, merged: bin b reads pixel index[t] with weight[t] for t
/// in [begin[b], begin[b + 1]). A bin's average is the product of its row and column weights.
template <class T>
struct BinTaps {
  std::vector<size_t> begin;
  std::vector<int64_t> index;
  std::vector<T> weight;

  void add(int64_t pixel, T w) {
    for (size_t t = begin.back(); t < index.size(); ++t)
      if (index[t] == pixel) {
        weight[t] += w;
        return;
      }
    index.push_back(pixel);
    weight.push_back(w);
  }

  void build(const math::RoiAxis<T>& axis, int64_t bins, int64_t size) {
    begin.assign(1, 0);
    index.clear();
    weight.clear();
    const T share = axis.share();
    for (int64_t b = 0; b < bins; ++b) {
      for (int64_t s = 0; s < axis.samples; ++s) {
        const math::RoiTap<T> tap(axis.position(b, s), size);
        if (!tap.inside) continue;
        add(tap.low, share * (1 - tap.t));
        if (tap.t > 0) add(tap.low + 1, share * tap.t);
      }
      begin.push_back(index.size());
    }
  }
};

template <class T>
struct RoiTaps {
  int64_t image = 0;
  BinTaps<T> rows, columns;

  /// roi: batch index, x1, y1, x2, y2 in image pixels.
  void build(const T* roi, const RoiAlignOptions& o, int64_t height, int64_t width) {
    image = static_cast<int64_t>(roi[0]);
    rows.build(math::RoiAxis<T>(roi[2], roi[4], o.output_h, o), o.output_h, height);
    columns.build(math::RoiAxis<T>(roi[1], roi[3], o.output_w, o), o.output_w, width);
  }
};

template <class T>
void check_values(const T* rois, int64_t count, int64_t images, double scale) {
  for (int64_t r = 0; r < count; ++r) {
    const T* roi = rois + 5 * r;
    TESSERA_CHECK(ValueError, roi[0] >= 0 && roi[0] < static_cast<T>(images),
                  "roi_align: batch index ", roi[0], " of roi ", r, " is outside [0, ", images,
                  ")");
    for (int i = 1; i < 5; ++i)
      TESSERA_CHECK(ValueError, std::abs(static_cast<double>(roi[i]) * scale) <= math::kRoiLimit,
                    "roi_align: coordinate ", roi[i], " of roi ", r, " is out of range");
  }
}

/// dst[c] = sum over taps of weight * row[c], four taps per pass.
template <class T>
void weighted_sum(const std::vector<const T*>& row, const std::vector<T>& weight, int64_t channels,
                  T* __restrict dst) {
  std::fill_n(dst, channels, T(0));
  size_t t = 0;
  for (; t + 4 <= row.size(); t += 4) {
    const T *a = row[t], *b = row[t + 1], *c = row[t + 2], *d = row[t + 3];
    const T wa = weight[t], wb = weight[t + 1], wc = weight[t + 2], wd = weight[t + 3];
    for (int64_t k = 0; k < channels; ++k) dst[k] += wa * a[k] + wb * b[k] + wc * c[k] + wd * d[k];
  }
  for (; t < row.size(); ++t) {
    const T* a = row[t];
    const T wa = weight[t];
    for (int64_t k = 0; k < channels; ++k) dst[k] += wa * a[k];
  }
}

template <class T>
void pool(const Tensor& feature, const Tensor& rois, const RoiAlignOptions& o, Tensor& y) {
  const int64_t height = feature.shape()[1], width = feature.shape()[2];
  const int64_t channels = feature.shape()[3], bins = o.output_h * o.output_w;
  const T *images = feature.data<T>(), *boxes = rois.data<T>();
  T* out = y.data<T>();
  check_values(boxes, rois.shape()[0], feature.shape()[0], o.spatial_scale);
  const int64_t grain = std::max<int64_t>(1, 4096 / (bins * channels));
  parallel_for(0, rois.shape()[0], grain, [&](int64_t begin, int64_t end) {
    RoiTaps<T> taps;
    std::vector<const T*> row;
    std::vector<T> weight;
    for (int64_t r = begin; r < end; ++r) {
      taps.build(boxes + 5 * r, o, height, width);
      const T* image = images + taps.image * height * width * channels;
      for (int64_t b = 0; b < bins; ++b) {
        const auto i = static_cast<size_t>(b / o.output_w), j = static_cast<size_t>(b % o.output_w);
        row.clear();
        weight.clear();
        for (size_t p = taps.rows.begin[i]; p < taps.rows.begin[i + 1]; ++p)
          for (size_t q = taps.columns.begin[j]; q < taps.columns.begin[j + 1]; ++q) {
            row.push_back(image + (taps.rows.index[p] * width + taps.columns.index[q]) * channels);
            weight.push_back(taps.rows.weight[p] * taps.columns.weight[q]);
          }
        weighted_sum(row, weight, channels, out + (r * bins + b) * channels);
      }
    }
  });
}

/// Adds one roi's gradient g (bins, channels) into channels first .. first + count of its image.
template <class T>
void scatter_roi(const RoiTaps<T>& taps, const RoiAlignOptions& o, const T* g, int64_t width,
                 int64_t channels, int64_t first, int64_t count, T* image) {
  for (int64_t b = 0; b < o.output_h * o.output_w; ++b) {
    const auto i = static_cast<size_t>(b / o.output_w), j = static_cast<size_t>(b % o.output_w);
    const T* __restrict src = g + b * channels + first;
    for (size_t p = taps.rows.begin[i]; p < taps.rows.begin[i + 1]; ++p)
      for (size_t q = taps.columns.begin[j]; q < taps.columns.begin[j + 1]; ++q) {
        T* __restrict dst =
            image + (taps.rows.index[p] * width + taps.columns.index[q]) * channels + first;
        const T w = taps.rows.weight[p] * taps.columns.weight[q];
        for (int64_t k = 0; k < count; ++k) dst[k] += w * src[k];
      }
  }
}

/// Channels, not rois, are shared out among threads: two rois may overlap.
template <class T>
void pool_grad(const Tensor& g, const Tensor& rois, const RoiAlignOptions& o, Tensor& gx) {
  const int64_t height = gx.shape()[1], width = gx.shape()[2], channels = gx.shape()[3];
  const int64_t count = rois.shape()[0], bins = o.output_h * o.output_w;
  const T *in = g.data<T>(), *boxes = rois.data<T>();
  T* images = gx.data<T>();
  check_values(boxes, count, gx.shape()[0], o.spatial_scale);
  std::vector<RoiTaps<T>> taps(static_cast<size_t>(count));
  parallel_for(0, count, 64, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      taps[static_cast<size_t>(r)].build(boxes + 5 * r, o, height, width);
  });
  const int64_t grain = std::max<int64_t>(16, 16384 / std::max<int64_t>(1, count * bins));
  parallel_for(0, gx.shape()[0] * channels, grain, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t n = begin / channels, first = begin % channels;
      const int64_t width_of_run = std::min(end - begin, channels - first);
      T* image = images + n * height * width * channels;
      for (int64_t r = 0; r < count; ++r) {
        const RoiTaps<T>& t = taps[static_cast<size_t>(r)];
        if (t.image == n)
          scatter_roi(t, o, in + r * bins * channels, width, channels, first, width_of_run, image);
      }
      begin += width_of_run;
    }
  });
}

void roi_align_cpu(const Tensor& feature, const Tensor& rois, const RoiAlignOptions& o, Tensor& y) {
  if (y.numel() == 0) return;
  dispatch_float(feature.dtype(), "roi_align", [&]<class T>() { pool<T>(feature, rois, o, y); });
}
void roi_align_grad_cpu(const Tensor& g, const Tensor& rois, const RoiAlignOptions& o, Tensor& gx) {
  if (g.numel() == 0) return;
  dispatch_float(g.dtype(), "roi_align", [&]<class T>() { pool_grad<T>(g, rois, o, gx); });
}

}  // namespace

TESSERA_KERNEL(roi_align, cpu, roi_align_cpu);
TESSERA_KERNEL(roi_align_grad, cpu, roi_align_grad_cpu);

}  // namespace tessera
