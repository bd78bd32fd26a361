#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

/// Writing past the caches, for results that are larger than they: an ordinary store first fetches
/// the line that it overwrites, and pushes out of the caches what could have stayed there.
namespace tessera {

/// Whether a result of so many bytes had better be streamed: above 5/8 of the last cache its first
/// lines are gone before anybody can read them (measured with chains of kernels that each read what
/// the one before wrote: even at half of that cache, a tenth faster at 3/4 of it).
bool worth_streaming(int64_t bytes);

constexpr int64_t kStreamLine = 64;

/// Copies `bytes`, a multiple of kStreamLine, to memory aligned to it, past the caches. The writes
/// become visible to other threads in order only after stream_fence().
inline void stream_copy(void* to, const void* from, int64_t bytes) {
  auto* t = static_cast<std::byte*>(to);
  const auto* f = static_cast<const std::byte*>(from);
#if defined(__AVX512F__)
  for (int64_t i = 0; i < bytes; i += 64)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(t + i), _mm512_loadu_si512(f + i));
#elif defined(__AVX__)
  for (int64_t i = 0; i < bytes; i += 32)
    _mm256_stream_si256(reinterpret_cast<__m256i*>(t + i),
                        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(f + i)));
#elif defined(__SSE2__)
  for (int64_t i = 0; i < bytes; i += 16)
    _mm_stream_si128(reinterpret_cast<__m128i*>(t + i),
                     _mm_loadu_si128(reinterpret_cast<const __m128i*>(f + i)));
#else
  std::memcpy(t, f, static_cast<size_t>(bytes));
#endif
}

inline void stream_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

/// Elements from p to where a line begins.
template <class T>
int64_t elements_to_line(const T* p) {
  return static_cast<int64_t>(-reinterpret_cast<uintptr_t>(p) % kStreamLine / sizeof(T));
}

/// Writes count elements to `to` past the caches. fill(p, first, n) makes the elements
/// first ... first + n - 1 at p: in a buffer or, where they do not fill lines, in their place.
template <class T, class Fill>
void stream_pieces(T* to, int64_t count, const Fill& fill) {
  constexpr int64_t kSize = sizeof(T), kPiece = 4096 / kSize, kLine = kStreamLine / kSize;
  const int64_t head = std::min(elements_to_line(to), count);
  if (head > 0) fill(to, 0, head);
  const int64_t end = head + (count - head) / kLine * kLine;
  alignas(kStreamLine) T piece[kPiece];
  for (int64_t first = head; first < end; first += kPiece) {
    const int64_t n = end - first < kPiece ? end - first : kPiece;
    fill(piece, first, n);
    stream_copy(to + first, piece, n * kSize);
  }
  if (end < count) fill(to + end, end, count - end);
}

}  // namespace tessera
