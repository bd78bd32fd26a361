#pragma once

/// The words and types of CUDA's language that a C++ compiler does not know.

#define __global__
#define __device__
#undef __host__
#define __host__
#define __constant__
#define __launch_bounds__(...)
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) alignas(n)
// __shared__ is left undefined on purpose: kernels say TESSERA_SHARED or TESSERA_DYNAMIC_SHARED,
// and one that forgets to does not compile.

// Functions that the access checker must not look into.
#if defined(__SANITIZE_THREAD__)
#define TESSERA_EMULATOR_UNCHECKED __attribute__((no_sanitize("thread"), noinline))
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TESSERA_EMULATOR_UNCHECKED __attribute__((no_sanitize("thread"), noinline))
#endif
#endif
#ifndef TESSERA_EMULATOR_UNCHECKED
#define TESSERA_EMULATOR_UNCHECKED
#endif

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned size_x = 1, unsigned size_y = 1, unsigned size_z = 1)
      : x(size_x), y(size_y), z(size_z) {}
};

#define TESSERA_EMULATOR_VECTOR2(T, NAME) \
  struct alignas(2 * sizeof(T)) NAME {    \
    T x, y;                               \
  };                                      \
  constexpr NAME make_##NAME(T x, T y) { return {x, y}; }
#define TESSERA_EMULATOR_VECTOR4(T, NAME)                   \
  struct alignas(sizeof(T) > 4 ? 16 : 4 * sizeof(T)) NAME { \
    T x, y, z, w;                                           \
  };                                                        \
  constexpr NAME make_##NAME(T x, T y, T z, T w) { return {x, y, z, w}; }
TESSERA_EMULATOR_VECTOR2(float, float2)
TESSERA_EMULATOR_VECTOR2(double, double2)
TESSERA_EMULATOR_VECTOR2(int, int2)
TESSERA_EMULATOR_VECTOR2(unsigned, uint2)
TESSERA_EMULATOR_VECTOR2(long long, longlong2)
TESSERA_EMULATOR_VECTOR2(unsigned long long, ulonglong2)
TESSERA_EMULATOR_VECTOR4(float, float4)
TESSERA_EMULATOR_VECTOR4(int, int4)
TESSERA_EMULATOR_VECTOR4(unsigned, uint4)
TESSERA_EMULATOR_VECTOR4(unsigned char, uchar4)
#undef TESSERA_EMULATOR_VECTOR2
#undef TESSERA_EMULATOR_VECTOR4

struct float3 {
  float x, y, z;
};
constexpr float3 make_float3(float x, float y, float z) { return {x, y, z}; }
