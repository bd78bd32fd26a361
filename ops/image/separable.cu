#include "ops/image/separable.h"

#include <cstring>

#include "cuda/pixel_packs.cuh"
#include "cuda/runtime.h"

namespace tessera {
namespace {

using cuda::PixelPacks;
using cuda::detail::load_wide;
using cuda::detail::Pack;

/// The taps of one axis: those of output o are begin[o] .. begin[o + 1] - 1.
template <class T>
struct Taps {
  const int32_t *begin, *index;
  const T* weight;
};

// A thread owns kVector channels of one output pixel and combines, column by column, the pixels
// that its rows and columns name. Any sizes; kVector is 1 where C is no multiple of it. Bound by
// memory for up to 16 taps, whose pixels neighbours share: x and y pass once.
template <int kVector, class T>
__global__ void __launch_bounds__(cuda::kPixelBlock, 4)
    combine_taps(uint32_t work, PixelPacks at, Taps<T> rows, Taps<T> columns, int64_t height,
                 int64_t width, int64_t channels, const T* __restrict__ x, T* __restrict__ y) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= work) return;
  const PixelPacks::Place p = at.place(i);
  const T* image = x + p.image * height * width * channels + int64_t{p.pack} * kVector;
  const int32_t r0 = rows.begin[p.h], r1 = rows.begin[p.h + 1];
  const int32_t c1 = columns.begin[p.w + 1];
  Pack<T, kVector> sum{};
  for (int32_t c = columns.begin[p.w]; c < c1; ++c) {
    const T* column = image + columns.index[c] * channels;
    Pack<T, kVector> high{};
    for (int32_t r = r0; r < r1; ++r) {
      const auto v = load_wide<kVector>(column + rows.index[r] * width * channels);
      const T w = rows.weight[r];
      TESSERA_UNROLL
      for (int k = 0; k < kVector; ++k) high.v[k] += w * v.v[k];
    }
    const T w = columns.weight[c];
    TESSERA_UNROLL
    for (int k = 0; k < kVector; ++k) sum.v[k] += w * high.v[k];
  }
  *reinterpret_cast<Pack<T, kVector>*>(y + int64_t{i} * kVector) = sum;
}

/// Both axes' taps, moved to the device in one copy.
template <class T>
class DeviceTaps {
 public:
  DeviceTaps(const AxisMap& rows, const AxisMap& columns, Device device) {
    for (const AxisMap* map : {&rows, &columns}) append<T>(map->weight);
    for (const AxisMap* map : {&rows, &columns}) {
      append<int32_t>(map->begin);
      append<int32_t>(map->index);
    }
    block_ = empty({static_cast<int64_t>(bytes_.size())}, DType::u8, device);
    cuda::copy_to_device(block_.raw_data(), bytes_.data(), bytes_.size());
  }
  Taps<T> rows() const { return {at<int32_t>(2), at<int32_t>(3), at<T>(0)}; }
  Taps<T> columns() const { return {at<int32_t>(4), at<int32_t>(5), at<T>(1)}; }

 private:
  template <class To, class From>
  void append(const std::vector<From>& values) {
    starts_.push_back(bytes_.size());
    const std::vector<To> narrow(values.begin(), values.end());
    const size_t bytes = narrow.size() * sizeof(To);
    bytes_.resize(bytes_.size() + bytes);
    if (bytes > 0) std::memcpy(bytes_.data() + starts_.back(), narrow.data(), bytes);
  }
  template <class To>
  const To* at(size_t part) const {
    return reinterpret_cast<const To*>(block_.data<uint8_t>() + starts_[part]);
  }

  std::vector<std::byte> bytes_;  // widest numbers first, so that all are aligned
  std::vector<size_t> starts_;
  Tensor block_;
};

template <int kVector, class T>
void separable_by(const Tensor& x, const AxisMap& rows, const AxisMap& columns, Tensor& y) {
  const DeviceTaps<T> taps(rows, columns, x.device());
  const int64_t channels = x.size(3), packs = channels / kVector;
  const PixelPacks at(rows.out, columns.out, packs);
  cuda::for_images(x.size(0), rows.out * columns.out * packs, [&](int64_t first, uint32_t work) {
    cuda::launch(combine_taps<kVector, T>, cuda::one_thread_each(work), work, at, taps.rows(),
                 taps.columns(), rows.in, columns.in, channels,
                 x.data<T>() + first * rows.in * columns.in * channels,
                 y.data<T>() + first * rows.out * columns.out * channels);
  });
}

void separable_cuda(const Tensor& x, const AxisMap& rows, const AxisMap& columns, Tensor& y) {
  if (y.numel() == 0) return;
  for (const AxisMap* map : {&rows, &columns})
    TESSERA_CHECK(ValueError, map->in < INT32_MAX && map->index.size() < INT32_MAX,
                  "resize: an axis from ", map->in, " to ", map->out, " with ", map->index.size(),
                  " taps is too large for the GPU's kernels");
  dispatch_float(x.dtype(), "resize", [&]<class T>() {
    constexpr int kVector = cuda::kPixelVector<T>;
    if (cuda::channels_pack(x.size(3), kVector, sizeof(T), x.raw_data()) &&
        cuda::channels_pack(x.size(3), kVector, sizeof(T), y.raw_data()))
      return separable_by<kVector, T>(x, rows, columns, y);
    separable_by<1, T>(x, rows, columns, y);
  });
}

TESSERA_KERNEL(separable, cuda, separable_cuda);

}  // namespace
}  // namespace tessera
