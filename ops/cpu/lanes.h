#pragma once

#include "ops/cpu/panel_gemm.h"
#include "ops/cpu/vector.h"

namespace tessera::cpu {

/// Lane l of the result is v[index[l]], or 0 where bit l of `lanes` is off. `index` has kPanelLanes
/// entries below kPanelLanes.
inline PanelRegister permute_lanes(const PanelRegister& v, const uint8_t* index, uint32_t lanes) {
#if defined(__AVX512F__)
  const auto mask = static_cast<__mmask16>(lanes);
  const __m512i at =
      _mm512_maskz_cvtepu8_epi32(mask, _mm_loadu_si128(reinterpret_cast<const __m128i*>(index)));
  return _mm512_maskz_permutexvar_ps(mask, at, v);
#else
  PanelRegister r = {};
  for (int l = 0; l < kPanelLanes; ++l) r[l] = (lanes >> l & 1) != 0 ? v[index[l]] : 0.0f;
  return r;
#endif
}

/// Writes a vector past the caches, for results too large to be found there again: the line is not
/// read first. Lines are written in full and p is aligned to them. The thread calls stream_fence()
/// before others may read.
template <class V>
inline void stream_lanes(void* p, const V& v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) return _mm512_stream_si512(static_cast<__m512i*>(p), (__m512i)v);
#endif
  std::memcpy(p, &v, sizeof v);
}
inline void stream_fence() {
#if defined(__AVX512F__)
  _mm_sfence();
#endif
}
/// Results of so many bytes are written that way: half of a usual last cache.
inline constexpr int64_t kStreamBytes = 16 << 20;
/// Whether such an array of rows of `row_bytes` at `p` can be: whole aligned lines.
inline bool can_stream(const void* p, int64_t row_bytes, int64_t bytes) {
  return bytes >= kStreamBytes && row_bytes % 64 == 0 && reinterpret_cast<uintptr_t>(p) % 64 == 0;
}

/// The sum of all lanes, added in halves.
template <class T>
inline T sum_lanes(const typename Vector<T>::Type& v) {
  typedef T Half __attribute__((vector_size(32)));
  typedef T Quarter __attribute__((vector_size(16)));
  Half halves[2];
  std::memcpy(halves, &v, sizeof v);
  const Half half = halves[0] + halves[1];
  Quarter quarters[2];
  std::memcpy(quarters, &half, sizeof half);
  const Quarter q = quarters[0] + quarters[1];
  if constexpr (sizeof(T) == 4) return (q[0] + q[2]) + (q[1] + q[3]);
  return q[0] + q[1];
}

}  // namespace tessera::cpu
