#include "ops/detect/roi_pool.h"

#include "cuda/fault.h"
#include "cuda/pixel_packs.cuh"
#include "ops/detect/roi_math.h"

namespace tessera {
namespace {

using cuda::FaultReporter;
using cuda::PixelPacks;
using cuda::detail::load_wide;
using cuda::detail::Pack;
using math::RoiSpan;

constexpr int64_t kLimit = 10'000'000;  // feature pixels

// A thread owns kVector channels of one bin and goes through its pixels in row-major order. feature
// (N, H, W, C), argmax (R, OH, OW, C), filled (R, OH, OW), any sizes; kVector is 1 where C is no
// multiple of it. Bound by the caches for overlapping rois, otherwise by reading their pixels once.
template <int kVector, class T>
__global__ void __launch_bounds__(cuda::kPixelBlock, 4)
    find_maxima(uint32_t work, PixelPacks at, int64_t images, int64_t height, int64_t width,
                int64_t channels, int64_t out_h, int64_t out_w, T scale, FaultReporter wrong_image,
                FaultReporter wrong_coordinate, const T* __restrict__ feature,
                const T* __restrict__ rois, int64_t* __restrict__ argmax,
                bool* __restrict__ filled) {
  const uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x;
  if (thread >= work) return;
  const PixelPacks::Place p = at.place(thread);
  const T* roi = rois + 5 * p.image;
  bool valid = true;
  if (!(roi[0] >= 0 && roi[0] < static_cast<T>(images))) {
    wrong_image.report(roi[0] == roi[0] ? static_cast<int64_t>(std::floor(roi[0])) : -1, images);
    valid = false;
  }
  for (int i = 1; i < 5 && valid; ++i)
    if (!(std::abs(roi[i] * scale) <= static_cast<T>(kLimit))) {
      wrong_coordinate.report(static_cast<int64_t>(roi[i]), kLimit);
      valid = false;
    }
  RoiSpan rows{0, 0}, columns{0, 0};
  if (valid) {
    rows = math::roi_pool_span(roi[2], roi[4], scale, p.h, out_h, height);
    columns = math::roi_pool_span(roi[1], roi[3], scale, p.w, out_w, width);
  }
  const bool full = rows.first < rows.last && columns.first < columns.last;
  const int64_t bin = (p.image * out_h + p.h) * out_w + p.w;
  if (p.pack == 0) filled[bin] = full;
  if (channels == 0) return;
  const int64_t channel = int64_t{p.pack} * kVector;
  Pack<int64_t, kVector> where{};
  if (full) {
    const int64_t image = static_cast<int64_t>(roi[0]) * height;
    const int64_t first = (image + rows.first) * width + columns.first;
    Pack<T, kVector> best = load_wide<kVector>(feature + first * channels + channel);
    TESSERA_UNROLL
    for (int k = 0; k < kVector; ++k) where.v[k] = first;
    for (int64_t h = rows.first; h < rows.last; ++h)
      for (int64_t w = columns.first; w < columns.last; ++w) {
        const int64_t here = (image + h) * width + w;
        const auto v = load_wide<kVector>(feature + here * channels + channel);
        TESSERA_UNROLL
        for (int k = 0; k < kVector; ++k)
          if (v.v[k] > best.v[k] || (v.v[k] != v.v[k] && best.v[k] == best.v[k])) {
            best.v[k] = v.v[k];
            where.v[k] = here;
          }
      }
  }
  *reinterpret_cast<Pack<int64_t, kVector>*>(argmax + bin * channels + channel) = where;
}

template <int kVector, class T>
void find_by(const Tensor& feature, const Tensor& rois, T scale, Tensor& argmax, Tensor& filled) {
  const int64_t channels = feature.size(3), out_h = argmax.size(1), out_w = argmax.size(2);
  const int64_t packs = std::max<int64_t>(1, channels / kVector), bins = out_h * out_w;
  const PixelPacks at(out_h, out_w, packs);
  cuda::for_images(rois.size(0), bins * packs, [&](int64_t first, uint32_t work) {
    cuda::launch(find_maxima<kVector, T>, cuda::one_thread_each(work), work, at, feature.size(0),
                 feature.size(1), feature.size(2), channels, out_h, out_w, scale,
                 cuda::fault_reporter("roi_pool: batch"),
                 cuda::fault_reporter("roi_pool: coordinate out of range"), feature.data<T>(),
                 rois.data<T>() + 5 * first, argmax.data<int64_t>() + first * bins * channels,
                 filled.data<bool>() + first * bins);
  });
}

bool roi_pool_argmax_cuda(const Tensor& feature, const Tensor& rois, double scale, Tensor& argmax,
                          Tensor& filled) {
  dispatch_float(feature.dtype(), "roi_pool", [&]<class T>() {
    constexpr int kVector = cuda::kPixelVector<T>;
    const bool packs =
        cuda::channels_pack(feature.size(3), kVector, sizeof(T), feature.raw_data()) &&
        cuda::channels_pack(feature.size(3), kVector, sizeof(int64_t), argmax.raw_data());
    if (packs)
      find_by<kVector, T>(feature, rois, static_cast<T>(scale), argmax, filled);
    else
      find_by<1, T>(feature, rois, static_cast<T>(scale), argmax, filled);
  });
  cuda::look_for_fault();
  return true;  // some bin may be empty
}

TESSERA_KERNEL(roi_pool_argmax, cuda, roi_pool_argmax_cuda);

}  // namespace
}  // namespace tessera
