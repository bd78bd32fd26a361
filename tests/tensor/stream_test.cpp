// Writing past the caches: every element once, whatever the alignment, and nothing beside them.

#include "tensor/stream.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "tensor/view.h"

namespace tessera {
namespace {

template <class T>
void expect_pieces_cover() {
  constexpr int64_t kLine = kStreamLine / static_cast<int64_t>(sizeof(T));
  for (int64_t offset = 0; offset <= kLine; ++offset) {
    for (int64_t count : {int64_t{0}, int64_t{1}, kLine - 1, kLine, kLine + 1, 3 * kLine + 2,
                          4096 / static_cast<int64_t>(sizeof(T)) + kLine + 1, int64_t{9999}}) {
      std::vector<T> memory(static_cast<size_t>(offset + count + kLine), T(77));
      int64_t made = 0;
      stream_pieces(memory.data() + offset, count, [&](T* p, int64_t first, int64_t n) {
        EXPECT_EQ(first, made);
        for (int64_t i = 0; i < n; ++i) p[i] = static_cast<T>((first + i) % 61);
        made += n;
      });
      stream_fence();
      EXPECT_EQ(made, count);
      for (int64_t i = 0; i < static_cast<int64_t>(memory.size()); ++i) {
        const bool inside = i >= offset && i < offset + count;
        ASSERT_EQ(memory[static_cast<size_t>(i)],
                  inside ? static_cast<T>((i - offset) % 61) : T(77))
            << "offset " << offset << ", count " << count << ", element " << i;
      }
    }
  }
}

TEST(Stream, PiecesCoverTheRange) {
  expect_pieces_cover<float>();
  expect_pieces_cover<double>();
  expect_pieces_cover<uint8_t>();
  expect_pieces_cover<int16_t>();
}

// The least number of bytes that is streamed; tensors as large as on a server are not worth a test.
int64_t least_streamed() {
  int64_t bytes = int64_t{1} << 20;
  while (!worth_streaming(bytes) && bytes < (int64_t{256} << 20)) bytes += int64_t{1} << 20;
  return bytes;
}

TEST(Stream, LargeCopies) {
  const int64_t n = least_streamed() / 4 + 1000;
  if (!worth_streaming(4 * n)) GTEST_SKIP() << "the last cache is too large";
  std::vector<float> values(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) values[static_cast<size_t>(i)] = static_cast<float>(i % 10007);
  const Tensor x = from_vector(values);
  EXPECT_EQ(view::clone(x).to_vector<float>(), values);
  // Into a view that begins and ends inside lines.
  Tensor around = full({n + 6}, -1, DType::f32);
  Tensor inner = view::slice(around, 0, 3, n + 3);
  copy_(inner, x);
  EXPECT_EQ(inner.to_vector<float>(), values);
  const float* p = around.data<float>();
  for (int64_t i : {int64_t{0}, int64_t{1}, int64_t{2}, n + 3, n + 4, n + 5}) EXPECT_EQ(p[i], -1);
  // Between dtypes.
  EXPECT_EQ(view::to(view::to(x, DType::f64), DType::f32).to_vector<float>(), values);
}

}  // namespace
}  // namespace tessera
