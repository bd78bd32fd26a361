#include "ops/index/flip.h"

#include "ops/index/index_cuda.cuh"

namespace tessera {
namespace {

using namespace index;

// dst[e] = src[offset of e], one thread per word of dst, which is contiguous. Neighbouring threads
// write neighbouring words; they read such too unless the last axis itself is reversed, when a warp
// still reads whole sectors. Bytes: each word read and written once.
template <class Word, class I>
__global__ void __launch_bounds__(kThreads)
    flip_words(I words, Offsets<1, I> from, const Word* __restrict__ src, Word* __restrict__ dst) {
  for (I e = first_element<I>(); e < words; e += grid_step<I>()) {
    int64_t offset[1];
    from.at(e, offset);
    dst[e] = src[offset[0]];
  }
}

void flip_cuda(const Tensor& x, const Dims& reversed, Tensor& y) {
  if (y.numel() == 0) return;
  // Reading backwards is a negative stride from the last element of the axis.
  Strides from = x.strides();
  int64_t last = 0;
  for (int i = 0; i < x.rank(); ++i) {
    if (!reversed[i]) continue;
    last += (x.shape()[i] - 1) * from[i];
    from[i] = -from[i];
  }
  const int64_t width = size_of(x.dtype());
  const char* src = static_cast<const char*>(x.raw_data()) + last * width;
  StridedLoop<1> loop(y.shape(), {from});
  int64_t bytes = width;
  if (loop.inner_stride(0) == 1) {
    uint64_t bits = address_bits(src) | address_bits(y.raw_data()) |
                    static_cast<uint64_t>(loop.inner() * width);
    for (int i = 0; i + 1 < loop.shape.rank(); ++i)
      bits |= static_cast<uint64_t>(loop.strides[0][i] * width);
    bytes = std::max(width, word_bytes(bits));
    const int64_t factor = bytes / width;
    loop.shape[loop.shape.rank() - 1] /= factor;
    for (int i = 0; i + 1 < loop.shape.rank(); ++i) loop.strides[0][i] /= factor;
  }
  const int64_t words = numel(loop.shape);
  dispatch_word(bytes, [&]<class Word>() {
    dispatch_counter(words, [&]<class I>() {
      cuda::launch(flip_words<Word, I>, {cuda::grid_for(words, kThreads), kThreads},
                   static_cast<I>(words), Offsets<1, I>(loop), reinterpret_cast<const Word*>(src),
                   static_cast<Word*>(y.raw_data()));
    });
  });
}

TESSERA_KERNEL(flip, cuda, flip_cuda);

}  // namespace
}  // namespace tessera
