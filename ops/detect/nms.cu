// Suppression in two steps: which later boxes each box would drop, as bits, for all pairs at once;
// then one block goes through the boxes in order. Strips of rows keep the bits in the L2 cache, and
// boxes that earlier strips have dropped are left out.

#include "ops/detect/nms.h"

#include <algorithm>
#include <type_traits>

#include "cuda/launch.h"
#include "cuda/runtime.h"
#include "ops/detect/overlap.h"
#include "tensor/view.h"

namespace tessera {
namespace {

using Bits = unsigned long long;

constexpr int kGroup = 64;               // boxes per word of bits
constexpr int kWords = 4;                // words of a row that one block makes
constexpr int kBlock = kGroup * kWords;  // one thread per row and word
constexpr int64_t kStripWords = int64_t{1} << 20;
constexpr int kWalkBlock = 512;

/// The boxes by descending score.
template <class T>
struct SortedBoxes {
  T *x1, *y1, *x2, *y2, *area;
  int64_t* group;  // class, or all 0

  __device__ __forceinline__ math::Corners<T> corners(int64_t i) const {
    return {x1[i], y1[i], x2[i], y2[i]};
  }
};

template <class T>
__global__ void __launch_bounds__(kBlock)
    sort_boxes(int64_t count, const T* __restrict__ boxes, const int64_t* __restrict__ order,
               const int64_t* __restrict__ classes, SortedBoxes<T> out) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int64_t from = order[i];
  const math::Corners<T> box{boxes[4 * from], boxes[4 * from + 1], boxes[4 * from + 2],
                             boxes[4 * from + 3]};
  out.x1[i] = box.x1;
  out.y1[i] = box.y1;
  out.x2[i] = box.x2;
  out.y2[i] = box.y2;
  out.area[i] = box.area();
  out.group[i] = classes ? classes[from] : 0;
}

// Bits of kGroup rows from first_row on and kWords words: bit j of word w of row i tells that box i
// drops box 64 w + j, which is behind it. A thread makes one word; the boxes it meets lie in shared
// memory. Rows that are dropped already and words in front of the diagonal are not written.
template <class T>
__global__ void __launch_bounds__(kBlock)
    compare_boxes(int64_t count, int64_t first_row, int64_t words, SortedBoxes<T> boxes,
                  T threshold, const Bits* __restrict__ dropped, Bits* __restrict__ bits) {
  TESSERA_SHARED(T, x1, [kBlock]);
  TESSERA_SHARED(T, y1, [kBlock]);
  TESSERA_SHARED(T, x2, [kBlock]);
  TESSERA_SHARED(T, y2, [kBlock]);
  TESSERA_SHARED(T, area, [kBlock]);
  TESSERA_SHARED(int64_t, group, [kBlock]);
  const int64_t column_blocks = (words + kWords - 1) / kWords;
  const int64_t row_group = blockIdx.x / column_blocks;  // of this strip
  const int64_t first_word = blockIdx.x % column_blocks * kWords;
  const int64_t diagonal = first_row / kGroup + row_group;
  if (first_word + kWords <= diagonal) return;
  const int64_t column = first_word * kGroup + threadIdx.x;
  if (column < count) {
    x1[threadIdx.x] = boxes.x1[column];
    y1[threadIdx.x] = boxes.y1[column];
    x2[threadIdx.x] = boxes.x2[column];
    y2[threadIdx.x] = boxes.y2[column];
    area[threadIdx.x] = boxes.area[column];
    group[threadIdx.x] = boxes.group[column];
  }
  __syncthreads();
  const int own = static_cast<int>(threadIdx.x) % kGroup;
  const int first = static_cast<int>(threadIdx.x) / kGroup * kGroup;
  const int64_t row = diagonal * kGroup + own, word = first_word + first / kGroup;
  if (row >= count || word >= words || word < diagonal) return;
  if ((dropped[diagonal] >> own) & 1) return;
  const math::Corners<T> box = boxes.corners(row);
  const T own_area = boxes.area[row];
  const int64_t own_group = boxes.group[row];
  const auto end = static_cast<int>(min(int64_t{kGroup}, count - word * kGroup));
  Bits drops = 0;
  for (int k = word == diagonal ? own + 1 : 0; k < end; ++k) {
    const int j = first + k;
    const math::Corners<T> other{x1[j], y1[j], x2[j], y2[j]};
    const bool over =
        math::suppression_iou(box, own_area, other, area[j]) > threshold && group[j] == own_group;
    drops |= static_cast<Bits>(over) << k;
  }
  bits[(row - first_row) * words + word] = drops;
}

__device__ __forceinline__ int lowest_bit(Bits v) { return __popcll((v & (~v + 1)) - 1); }

// One block goes through the groups [first, last) of 64 boxes. Who of a group stays follows from
// the group's own 64 words, which all threads work out alike; then the threads, a word each, mark
// what those who stay drop in the groups behind. kept receives the boxes that stay, *count of them.
__global__ void __launch_bounds__(kWalkBlock)
    walk_boxes(int64_t boxes, int64_t first, int64_t last, int64_t words,
               const Bits* __restrict__ bits, const int64_t* __restrict__ order, Bits* dropped,
               int64_t* __restrict__ kept, int64_t* count) {
  TESSERA_SHARED(Bits, diagonal, [kGroup]);
  int64_t found = *count;
  for (int64_t g = first; g < last; ++g) {
    const Bits* rows = bits + (g - first) * kGroup * words;
    const int64_t here = min(int64_t{kGroup}, boxes - g * kGroup);
    Bits alive = ~dropped[g] & (~Bits{0} >> (kGroup - here));
    const auto own = static_cast<int>(threadIdx.x);
    if (own < kGroup && ((alive >> own) & 1)) diagonal[own] = rows[own * words + g];
    __syncthreads();
    Bits stays = 0;
    while (alive != 0) {
      const int b = lowest_bit(alive);
      stays |= Bits{1} << b;
      alive &= ~(diagonal[b] | Bits{1} << b);
    }
    if (own < kGroup && ((stays >> own) & 1))
      kept[found + __popcll(stays & ((Bits{1} << own) - 1))] = order[g * kGroup + own];
    found += __popcll(stays);
    for (int64_t w = g + 1 + own; w < words; w += kWalkBlock) {
      Bits drops = dropped[w];
      for (Bits rest = stays; rest != 0;) {
        Bits part[4];
        TESSERA_UNROLL
        for (int u = 0; u < 4; ++u) {  // loads that do not wait for each other
          part[u] = rest != 0 ? rows[lowest_bit(rest) * words + w] : 0;
          rest &= rest - 1;
        }
        drops |= (part[0] | part[1]) | (part[2] | part[3]);
      }
      dropped[w] = drops;
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) *count = found;
}

template <class T>
SortedBoxes<T> parts_of(const Tensor& sides, const Tensor& group, int64_t n) {
  T* data = sides.data<T>();
  return {data, data + n, data + 2 * n, data + 3 * n, data + 4 * n, group.data<int64_t>()};
}

Bits* bits_of(const Tensor& t) {
  static_assert(sizeof(Bits) == sizeof(int64_t));
  return reinterpret_cast<Bits*>(t.data<int64_t>());
}

Tensor nms_cuda(const Tensor& boxes, const Tensor& order, const Tensor& classes, double threshold) {
  const int64_t n = order.numel();
  const Device device = boxes.device();
  const Tensor kept = empty({n}, DType::i64, device);
  if (n == 0) return kept;
  const int64_t words = (n + kGroup - 1) / kGroup;
  const int64_t groups =
      std::clamp<int64_t>(kStripWords / (words * kGroup), 1, words);  // a strip's
  const Tensor dropped = zeros({words + 1}, DType::i64, device);      // and the number kept
  const Tensor bits = empty({groups * kGroup, words}, DType::i64, device);
  int64_t* count = dropped.data<int64_t>() + words;
  dispatch_float(boxes.dtype(), "nms", [&]<class T>() {
    const Tensor sides = empty({5, n}, boxes.dtype(), device);
    const Tensor group = empty({n}, DType::i64, device);
    const SortedBoxes<T> sorted = parts_of<T>(sides, group, n);
    cuda::launch(sort_boxes<T>, {cuda::grid_for(n, kBlock, INT32_MAX), kBlock}, n, boxes.data<T>(),
                 order.data<int64_t>(), classes.defined() ? classes.data<int64_t>() : nullptr,
                 sorted);
    for (int64_t first = 0; first < words; first += groups) {
      const int64_t last = std::min(first + groups, words);
      const int64_t blocks = (last - first) * ((words + kWords - 1) / kWords);
      cuda::launch(compare_boxes<T>, {static_cast<unsigned>(blocks), kBlock}, n, first * kGroup,
                   words, sorted, math::round_down<T>(threshold), bits_of(dropped), bits_of(bits));
      cuda::launch(walk_boxes, {1, kWalkBlock}, n, first, last, words, bits_of(bits),
                   order.data<int64_t>(), bits_of(dropped), kept.data<int64_t>(), count);
    }
  });
  int64_t found = 0;
  cuda::copy_to_host(&found, count, sizeof found);
  return view::slice(kept, 0, 0, found);
}

TESSERA_KERNEL(nms, cuda, nms_cuda);

}  // namespace
}  // namespace tessera
