#pragma once

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

}  // namespace tessera::cpu
