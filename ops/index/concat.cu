#include "ops/index/concat.h"

#include "ops/index/index_cuda.cuh"
#include "tensor/view.h"

namespace tessera {
namespace {

using namespace index;

constexpr int kPieces = 64;  // inputs of one launch: their table is a kernel argument
constexpr uint32_t kTile = 4 * kThreads;

// An input, seen as rows of `run` words that lie together in it and `step` words apart in y.
struct Piece {
  const void* from;
  int64_t start;         // of its first row in y, in words
  uint32_t words;        // in all
  uint32_t first_block;  // blocks of the launch before this piece
  cuda::Divider run;
};
struct Pieces {
  int count;
  Piece piece[kPieces];
};

// One block copies kTile neighbouring words of one input, four per thread, neighbouring threads
// neighbouring words. Tails are guarded. Bytes: each word read and written once.
template <class Word>
__global__ void __launch_bounds__(kThreads)
    concat_words(Pieces pieces, int64_t step, Word* __restrict__ y) {
  int low = 0, high = pieces.count;  // the last piece whose first block is not behind this one
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (pieces.piece[middle].first_block <= blockIdx.x)
      low = middle;
    else
      high = middle;
  }
  const Piece& p = pieces.piece[low];
  const Word* from = static_cast<const Word*>(p.from);
  const uint32_t first = (blockIdx.x - p.first_block) * kTile + threadIdx.x;
  TESSERA_UNROLL
  for (uint32_t k = 0; k < kTile; k += kThreads) {
    uint32_t within = first + k;
    if (within >= p.words) return;
    const Word word = from[within];
    const uint32_t row = p.run.split(within);
    y[p.start + int64_t{row} * step + within] = word;
  }
}

/// Contiguous inputs in order with where they begin along the axis.
struct Part {
  Tensor x;
  int64_t start;
};

void copy_parts(const std::vector<Part>& parts, int axis, Tensor& y) {
  const AxisView to = around(y.shape(), axis);
  const int64_t width = size_of(y.dtype()), row = to.inner * width;
  uint64_t bits = address_bits(y.raw_data()) | static_cast<uint64_t>(to.size * row);
  for (const Part& part : parts)
    bits |= address_bits(part.x.raw_data()) | static_cast<uint64_t>(part.start * row) |
            static_cast<uint64_t>(part.x.size(axis) * row);
  const int64_t bytes = word_bytes(bits);
  Pieces pieces{};
  uint32_t blocks = 0;
  const auto flush = [&] {
    if (pieces.count == 0) return;
    dispatch_word(bytes, [&]<class Word>() {
      cuda::launch(concat_words<Word>, {blocks, kThreads}, pieces, to.size * row / bytes,
                   static_cast<Word*>(y.raw_data()));
    });
    pieces = {};
    blocks = 0;
  };
  for (const Part& part : parts) {
    const auto words = static_cast<uint32_t>(part.x.numel() * width / bytes);
    pieces.piece[pieces.count++] = {part.x.raw_data(), part.start * row / bytes, words, blocks,
                                    cuda::Divider(part.x.size(axis) * row / bytes)};
    blocks += (words + kTile - 1) / kTile;
    if (pieces.count == kPieces) flush();
  }
  flush();
}

void concat_cuda(const Tensors& xs, int axis, Tensor& y) {
  std::vector<Part> parts;
  int64_t start = 0;
  for (const Tensor& x : xs) {
    const int64_t size = x.size(axis);
    // Views, and what 32 bits cannot count in bytes, go by the strided copy.
    if (x.is_contiguous() && x.nbytes() <= INT32_MAX) {
      if (x.numel() > 0) parts.push_back({x, start});
    } else {
      Tensor piece = view::slice(y, axis, start, start + size);
      copy_(piece, x);
    }
    start += size;
  }
  copy_parts(parts, axis, y);
}

TESSERA_KERNEL(concat, cuda, concat_cuda);

}  // namespace
}  // namespace tessera
