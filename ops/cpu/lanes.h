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

/// Writes past the caches, for results too large to be found there again: the line is not read
/// first. p is aligned to a whole vector; the lines are written in full. The thread calls
/// stream_fence() before others may read.
inline void stream_lanes(float* p, const PanelRegister& v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, v);
#else
  store_lanes(p, v);
#endif
}
inline void stream_fence() {
#if defined(__AVX512F__)
  _mm_sfence();
#endif
}
/// Bytes from which results are written that way: about what one core may expect of the last cache.
inline constexpr int64_t kStreamBytes = 16 << 20;

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
