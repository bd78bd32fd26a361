#include "ops/detect/roi_align.h"

#include "cuda/fault.h"
#include "cuda/ordered_scatter.cuh"
#include "cuda/pixel_packs.cuh"
#include "cuda/reduce.cuh"
#include "ops/detect/roi_math.h"

namespace tessera {
namespace {

using cuda::FaultReporter;
using cuda::PixelPacks;
using cuda::detail::load_wide;
using cuda::detail::Pack;
using math::RoiAxis;
using math::RoiTap;

constexpr int kBlock = 256;

/// Both kinds of wrong values.
struct RoiFaults {
  FaultReporter image, coordinate;
};

template <class T>
struct Roi {
  int64_t image = -1;  // none: the roi is wrong and was reported
  RoiAxis<T> rows, columns;
};

// rois: batch index, x1, y1, x2, y2 in image pixels.
template <class T>
__device__ __forceinline__ Roi<T> read_roi(const T* rois, int64_t r, int64_t images,
                                           const RoiAlignOptions& o, const RoiFaults& faults) {
  const T* v = rois + 5 * r;
  Roi<T> roi;
  if (!(v[0] >= 0 && v[0] < static_cast<T>(images))) {
    faults.image.report(v[0] == v[0] ? static_cast<int64_t>(std::floor(v[0])) : -1, images);
    return roi;
  }
  for (int i = 1; i < 5; ++i)
    if (!(std::abs(static_cast<double>(v[i]) * o.spatial_scale) <= math::kRoiLimit)) {
      faults.coordinate.report(static_cast<int64_t>(v[i]), static_cast<int64_t>(math::kRoiLimit));
      return roi;
    }
  roi.image = static_cast<int64_t>(v[0]);
  roi.rows = RoiAxis<T>(v[2], v[4], o.output_h, o);
  roi.columns = RoiAxis<T>(v[1], v[3], o.output_w, o);
  return roi;
}

/// Sizes of the feature map.
struct Map {
  int64_t images;
  int32_t height, width;
  int64_t channels;
};

// sum += weight * pixel (low + dy, low + dx) for the pixels of one sample.
template <int kVector, class T>
__device__ __forceinline__ void add_sample(Pack<T, kVector>& sum, const T* image, const Map& map,
                                           const RoiTap<T>& y, const RoiTap<T>& x) {
  const T* corner = image + (y.low * map.width + x.low) * map.channels;
  Pack<T, kVector> v[4] = {};
  v[0] = load_wide<kVector>(corner);
  if (x.t > 0) v[1] = load_wide<kVector>(corner + map.channels);
  if (y.t > 0) v[2] = load_wide<kVector>(corner + map.width * map.channels);
  if (x.t > 0 && y.t > 0) v[3] = load_wide<kVector>(corner + (map.width + 1) * map.channels);
  const T w[4] = {(1 - y.t) * (1 - x.t), (1 - y.t) * x.t, y.t * (1 - x.t), y.t * x.t};
  TESSERA_UNROLL
  for (int i = 0; i < 4; ++i) TESSERA_UNROLL
  for (int k = 0; k < kVector; ++k) sum.v[k] += w[i] * v[i].v[k];
}

// A thread owns kVector channels of one bin and adds up its samples, of which those outside the map
// are left out. feature (N, H, W, C), y (R, output_h, output_w, C), any sizes; kVector is 1 where C
// is no multiple of it. Bound by the caches: a sample reads four pixels, which its neighbours
// share.
template <int kVector, class T>
__global__ void __launch_bounds__(kBlock, sizeof(T) == 4 ? 4 : 2)
    average_bins(uint32_t work, PixelPacks at, Map map, RoiAlignOptions o, RoiFaults faults,
                 const T* __restrict__ feature, const T* __restrict__ rois, T* __restrict__ y) {
  const uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x;
  if (thread >= work) return;
  const PixelPacks::Place p = at.place(thread);
  const Roi<T> roi = read_roi(rois, p.image, map.images, o, faults);
  Pack<T, kVector> sum{};
  if (roi.image >= 0) {
    const T* image =
        feature + roi.image * map.height * map.width * map.channels + int64_t{p.pack} * kVector;
    const auto in_y = roi.rows.samples_within(p.h, T(-1), static_cast<T>(map.height));
    const auto in_x = roi.columns.samples_within(p.w, T(-1), static_cast<T>(map.width));
    for (int64_t a = in_y.begin; a < in_y.end; ++a) {
      const RoiTap<T> ty(roi.rows.position(p.h, a), map.height);
      if (!ty.inside) continue;
      for (int64_t b = in_x.begin; b < in_x.end; ++b) {
        const RoiTap<T> tx(roi.columns.position(p.w, b), map.width);
        if (tx.inside) add_sample(sum, image, map, ty, tx);
      }
    }
  }
  const T share = roi.rows.share() * roi.columns.share();
  TESSERA_UNROLL
  for (int k = 0; k < kVector; ++k) sum.v[k] *= share;
  *reinterpret_cast<Pack<T, kVector>*>(y + int64_t{thread} * kVector) = sum;
}

/// What the gradient needs of a roi: its bins, and the pixels [h0, h1) x [w0, w1) they can reach.
template <class T>
struct RoiReach {
  RoiAxis<T> rows, columns;
  int32_t h0, h1, w0, w1;
};

// Pixels between the first and the last sample, and two more, which rounding cannot pass.
template <class T>
__device__ __forceinline__ void reach_of(const RoiAxis<T>& axis, int64_t bins, int32_t size,
                                         int32_t& first, int32_t& end) {
  first = end = 0;
  if (axis.samples == 0) return;
  const T a = axis.position(0, 0), b = axis.position(bins - 1, axis.samples - 1);
  const T low = (a < b ? a : b) - 2, high = (a < b ? b : a) + 3, n = static_cast<T>(size);
  first = low > 0 ? static_cast<int32_t>(low < n ? low : n) : 0;
  end = high < n ? static_cast<int32_t>(high > 0 ? high : T(0)) : size;
}

// A thread per roi; image[r] becomes its image, or map.images for a wrong one.
template <class T>
__global__ void __launch_bounds__(kBlock)
    find_reach(int64_t count, Map map, RoiAlignOptions o, RoiFaults faults,
               const T* __restrict__ rois, RoiReach<T>* __restrict__ reach,
               int32_t* __restrict__ image) {
  const int64_t r = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (r >= count) return;
  const Roi<T> roi = read_roi(rois, r, map.images, o, faults);
  image[r] = static_cast<int32_t>(roi.image < 0 ? map.images : roi.image);
  RoiReach<T> out{roi.rows, roi.columns, 0, 0, 0, 0};
  reach_of(roi.rows, o.output_h, map.height, out.h0, out.h1);
  reach_of(roi.columns, o.output_w, map.width, out.w0, out.w1);
  reach[r] = out;
}

constexpr int kTile = 8;                                  // pixels of a tile, along each axis
constexpr int kBins = 16;                                 // bins at a time, along each axis
constexpr int kLanes = 16;                                // groups of channels of a block
constexpr int kPixels = kTile * kTile * kLanes / kBlock;  // of a thread
static_assert(2 * kTile * kBins == kBlock);

/// The rois sorted by image.
template <class T>
struct SortedRois {
  const int32_t *image, *order;  // ascending; which roi
  const RoiReach<T>* reach;      // by roi
  int32_t count;

  /// The first roi of image n or a later one.
  __device__ __forceinline__ int32_t first_of(int32_t n) const {
    int32_t low = 0, high = count;
    while (low < high) {
      const int32_t middle = low + (high - low) / 2;
      if (image[middle] < n)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }
};

// Puts the positions i of [first, first + kBlock) with `wanted` into list, ascending, and returns
// their number. counts: a word per warp.
__device__ __forceinline__ int list_wanted(bool wanted, int32_t position, int32_t* list,
                                           int* counts) {
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const unsigned votes = __ballot_sync(cuda::kFullWarp, wanted);
  if (lane == 0) counts[warp] = __popc(votes);
  __syncthreads();
  int before = 0, total = 0;
  for (unsigned w = 0; w < kBlock / 32; ++w) {
    if (w == warp) before = total;
    total += counts[w];
  }
  if (wanted) list[before + __popc(votes & ((1u << lane) - 1))] = position;
  __syncthreads();
  return total;
}

// What the samples of bin b count for pixel p.
template <class T>
__device__ __forceinline__ T weight_of(const RoiAxis<T>& axis, int64_t b, int64_t bins, int32_t p,
                                       int32_t size) {
  T sum = 0;
  if (b >= bins || p >= size) return sum;
  const T share = axis.share();
  const auto near = axis.samples_within(b, static_cast<T>(p - 1), static_cast<T>(p + 1));
  for (int64_t s = near.begin; s < near.end; ++s) {
    const RoiTap<T> tap(axis.position(b, s), size);
    if (!tap.inside) continue;
    if (tap.low == p)
      sum += share * (1 - tap.t);
    else if (tap.low + 1 == p)
      sum += share * tap.t;
  }
  return sum;
}

/// The weights of kBins bins for the rows and columns of a tile, and which are not zero.
template <class T>
struct TileWeights {
  T at[2][kTile][kBins];  // rows, columns
  unsigned some[2][kTile];

  // A thread makes one: its lane's half of a warp has the bins of one row or column.
  __device__ __forceinline__ void make(const RoiReach<T>& roi, int64_t bin_row, int64_t bin_column,
                                       int32_t h, int32_t w, const Map& map,
                                       const RoiAlignOptions& o) {
    const int bin = static_cast<int>(threadIdx.x) % kBins;
    const int pixel = static_cast<int>(threadIdx.x) / kBins % kTile;
    const int axis = static_cast<int>(threadIdx.x) / (kBins * kTile);
    const T weight =
        axis == 0 ? weight_of(roi.rows, bin_row + bin, o.output_h, h + pixel, map.height)
                  : weight_of(roi.columns, bin_column + bin, o.output_w, w + pixel, map.width);
    at[axis][pixel][bin] = weight;
    const unsigned votes = __ballot_sync(cuda::kFullWarp, weight != 0);
    if (bin == 0) some[axis][pixel] = votes >> (threadIdx.x % 32) & ((1u << kBins) - 1);
  }
};

// A block owns a tile of kTile x kTile pixels of one image and kLanes groups of kVector channels;
// its threads take kPixels pixels of one group each. It goes through the image's rois in order: of
// those that reach the tile the weights are computed together, and every pixel collects from the
// bins that count it. So gx is written once, the order of additions is that of rois and bins, and
// the multiplications are those of adding every bin to its pixels. Any sizes; kVector is 1 where C
// is no multiple of it. Bytes: gx once, and g about once per tile that a roi reaches.
template <int kVector, class T>
__global__ void __launch_bounds__(kBlock, 2)
    collect_from_rois(Map map, int32_t tiles_h, int32_t tiles_w, int32_t channel_groups,
                      RoiAlignOptions o, SortedRois<T> rois, const T* __restrict__ g,
                      T* __restrict__ gx) {
  TESSERA_SHARED(int32_t, list, [kBlock]);
  TESSERA_SHARED(int, counts, [kBlock / 32]);
  TESSERA_SHARED(TileWeights<T>, weights, [2]);  // one is made while the other is read
  int64_t rest = blockIdx.x;
  const int64_t lane = rest % channel_groups * kLanes + threadIdx.x % kLanes;
  rest /= channel_groups;
  const auto w = static_cast<int32_t>(rest % tiles_w) * kTile;
  rest /= tiles_w;
  const auto h = static_cast<int32_t>(rest % tiles_h) * kTile;
  const auto image = static_cast<int32_t>(rest / tiles_h);
  const int64_t channel = lane * kVector;
  const int first_pixel = static_cast<int>(threadIdx.x) / kLanes;
  const int32_t end = rois.first_of(image + 1);
  Pack<T, kVector> sum[kPixels] = {};
  bool any = false;
  int buffer = 0;
  for (int32_t first = rois.first_of(image); first < end; first += kBlock) {
    const int32_t own = first + static_cast<int32_t>(threadIdx.x);
    bool wanted = own < end;
    if (wanted) {
      const RoiReach<T>& reach = rois.reach[rois.order[own]];
      wanted = reach.h0 < h + kTile && reach.h1 > h && reach.w0 < w + kTile && reach.w1 > w;
    }
    const int count = list_wanted(wanted, own, list, counts);
    any = any || count > 0;
    for (int i = 0; i < count; ++i) {
      const int64_t r = rois.order[list[i]];
      const T* bins = g + r * o.output_h * o.output_w * map.channels + channel;
      for (int64_t bin_row = 0; bin_row < o.output_h; bin_row += kBins)
        for (int64_t bin_column = 0; bin_column < o.output_w; bin_column += kBins) {
          TileWeights<T>& tile = weights[buffer];
          buffer ^= 1;
          tile.make(rois.reach[r], bin_row, bin_column, h, w, map, o);
          __syncthreads();
          if (channel >= map.channels) continue;
          TESSERA_UNROLL
          for (int q = 0; q < kPixels; ++q) {
            const int pixel = first_pixel + q * (kBlock / kLanes);
            const int y = pixel / kTile, x = pixel % kTile;
            for (unsigned a = tile.some[0][y]; a != 0; a &= a - 1) {
              const int bin_y = __ffs(static_cast<int>(a)) - 1;
              const T wy = tile.at[0][y][bin_y];
              const T* row = bins + (bin_row + bin_y) * o.output_w * map.channels;
              for (unsigned b = tile.some[1][x]; b != 0; b &= b - 1) {
                const int bin_x = __ffs(static_cast<int>(b)) - 1;
                const T weight = wy * tile.at[1][x][bin_x];
                const auto v = load_wide<kVector>(row + (bin_column + bin_x) * map.channels);
                TESSERA_UNROLL
                for (int k = 0; k < kVector; ++k) sum[q].v[k] += weight * v.v[k];
              }
            }
          }
        }
    }
    __syncthreads();  // list is written again
  }
  if (!any || channel >= map.channels) return;  // gx is zero already
  TESSERA_UNROLL
  for (int q = 0; q < kPixels; ++q) {
    const int pixel = first_pixel + q * (kBlock / kLanes);
    const int32_t y = h + pixel / kTile, x = w + pixel % kTile;
    if (y < map.height && x < map.width)
      *reinterpret_cast<Pack<T, kVector>*>(
          gx + ((int64_t{image} * map.height + y) * map.width + x) * map.channels + channel) =
          sum[q];
  }
}

RoiFaults roi_faults() {
  return {cuda::fault_reporter("roi_align: batch"),
          cuda::fault_reporter("roi_align: coordinate out of range")};
}

Map map_of(const Tensor& feature) {
  TESSERA_CHECK(
      ValueError,
      feature.size(1) < INT32_MAX && feature.size(2) < INT32_MAX && feature.size(0) < INT32_MAX,
      "roi_align: a feature map ", feature.shape(), " is too large for the GPU's kernels");
  return {feature.size(0), static_cast<int32_t>(feature.size(1)),
          static_cast<int32_t>(feature.size(2)), feature.size(3)};
}

bool packs(int64_t channels, int vector, int64_t element, const Tensor& a, const Tensor& b) {
  return cuda::channels_pack(channels, vector, element, a.raw_data()) &&
         cuda::channels_pack(channels, vector, element, b.raw_data());
}

template <int kVector, class T>
void average_by(const Tensor& feature, const Tensor& rois, const RoiAlignOptions& o, Tensor& y) {
  const int64_t channels = feature.size(3), bins = o.output_h * o.output_w;
  const PixelPacks at(o.output_h, o.output_w, channels / kVector);
  cuda::for_images(rois.size(0), bins * (channels / kVector), [&](int64_t first, uint32_t work) {
    cuda::launch(average_bins<kVector, T>, cuda::one_thread_each(work), work, at, map_of(feature),
                 o, roi_faults(), feature.data<T>(), rois.data<T>() + 5 * first,
                 y.data<T>() + first * bins * channels);
  });
}

void roi_align_cuda(const Tensor& feature, const Tensor& rois, const RoiAlignOptions& o,
                    Tensor& y) {
  if (y.numel() == 0) return;
  dispatch_float(feature.dtype(), "roi_align", [&]<class T>() {
    constexpr int kVector = cuda::kPixelVector<T>;
    if (packs(feature.size(3), kVector, sizeof(T), feature, y))
      average_by<kVector, T>(feature, rois, o, y);
    else
      average_by<1, T>(feature, rois, o, y);
  });
  cuda::look_for_fault();
}

template <int kVector, class T>
void collect_by(const Tensor& g, const SortedRois<T>& rois, const RoiAlignOptions& o, Tensor& gx) {
  const Map map = map_of(gx);
  const auto tiles_h = (map.height + kTile - 1) / kTile, tiles_w = (map.width + kTile - 1) / kTile;
  const int64_t groups = (map.channels / kVector + kLanes - 1) / kLanes;
  const int64_t blocks = map.images * tiles_h * tiles_w * groups;
  TESSERA_CHECK(ValueError, blocks <= INT32_MAX, "roi_align: a feature map ", gx.shape(),
                " is too large for the GPU's kernels");
  cuda::launch(collect_from_rois<kVector, T>, {static_cast<unsigned>(blocks), kBlock}, map, tiles_h,
               tiles_w, static_cast<int32_t>(groups), o, rois, g.data<T>(), gx.data<T>());
}

void roi_align_grad_cuda(const Tensor& g, const Tensor& rois, const RoiAlignOptions& o,
                         Tensor& gx) {
  if (g.numel() == 0) return;
  const int64_t count = rois.size(0);
  dispatch_float(g.dtype(), "roi_align", [&]<class T>() {
    constexpr int kVector = cuda::kPixelVector<T>;
    const Tensor images = empty({count}, DType::i32, g.device());
    const Tensor reach = empty({count * int64_t{sizeof(RoiReach<T>)}}, DType::u8, g.device());
    auto* reaches = reinterpret_cast<RoiReach<T>*>(reach.data<uint8_t>());
    cuda::launch(find_reach<T>, {cuda::grid_for(count, kBlock, INT32_MAX), kBlock}, count,
                 map_of(gx), o, roi_faults(), rois.data<T>(), reaches, images.data<int32_t>());
    const cuda::RowOrder sorted = cuda::order_rows(images, gx.size(0));
    const SortedRois<T> by_image{sorted.keys.data<int32_t>(), sorted.order.data<int32_t>(), reaches,
                                 static_cast<int32_t>(count)};
    if (packs(gx.size(3), kVector, sizeof(T), g, gx))
      collect_by<kVector, T>(g, by_image, o, gx);
    else
      collect_by<1, T>(g, by_image, o, gx);
  });
  cuda::look_for_fault();
}

TESSERA_KERNEL(roi_align, cuda, roi_align_cuda);
TESSERA_KERNEL(roi_align_grad, cuda, roi_align_grad_cuda);

}  // namespace
}  // namespace tessera
