#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <cstdint>

namespace tessera::cpu {

/// 64 bytes of T; the compiler splits them where registers are narrower. Type is for registers and
/// locals. Memory may lie anywhere and is read and written by load() and store(): a vector type
/// with less alignment loses that as an argument of a template.
template <class T>
struct Vector {
  static constexpr int64_t kLanes = 64 / static_cast<int64_t>(sizeof(T));
  typedef T Type __attribute__((vector_size(64)));
  typedef T InMemory __attribute__((vector_size(64), aligned(alignof(T)), may_alias));

  static Type load(const T* p) { return *reinterpret_cast<const InMemory*>(p); }
  static void store(T* p, const Type& v) { *reinterpret_cast<InMemory*>(p) = v; }
};

/// The same of a single element, for what is left over.
template <class T>
struct Scalar {
  static constexpr int64_t kLanes = 1;
  using Type = T;

  static T load(const T* p) { return *p; }
  static void store(T* p, T v) { *p = v; }
};

/// The 64-bit products of the lanes' lower halves and m. Compilers see a product of 64 bits in it
/// otherwise, which is several instructions.
struct MultiplyLower {
  using V = Vector<uint64_t>::Type;
  V operator()(const V& a, uint32_t m) const {
#if defined(__AVX512F__)
    return reinterpret_cast<V>(
        _mm512_maskz_mul_epu32(0xFF, reinterpret_cast<__m512i>(a), _mm512_set1_epi64(int64_t{m})));
#elif defined(__AVX2__)
    union Parts {
      V whole;
      __m256i part[2];
    } p{a};
    const __m256i by = _mm256_set1_epi64x(int64_t{m});
    p.part[0] = _mm256_mul_epu32(p.part[0], by);
    p.part[1] = _mm256_mul_epu32(p.part[1], by);
    return p.whole;
#else
    return (a & 0xFFFFFFFFu) * uint64_t{m};
#endif
  }
};

}  // namespace tessera::cpu
