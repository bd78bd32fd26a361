#pragma once

#include <cmath>

#include "ops/pointwise/comparison.h"
#include "tensor/macros.h"

/// What the enums of ops/pointwise/comparison.h mean, for the CPU loops and the CUDA kernels.
namespace tessera::math {

template <class T>
TESSERA_HD inline bool compares(Comparison op, T a, T b) {
  switch (op) {
    case Comparison::eq:
      return a == b;
    case Comparison::ne:
      return a != b;
    case Comparison::lt:
      return a < b;
    case Comparison::le:
      return a <= b;
    case Comparison::gt:
      return a > b;
    case Comparison::ge:
      break;
  }
  return a >= b;
}

// Without a branch: && and || would keep loops from being vectorised.
TESSERA_HD inline bool combines(Logic op, bool a, bool b) {
  switch (op) {
    case Logic::logical_and:
      return a & b;
    case Logic::logical_or:
      return a | b;
    case Logic::logical_xor:
      break;
  }
  return a != b;
}

template <class T>
TESSERA_HD inline bool belongs(FloatClass which, T v) {
  switch (which) {
    case FloatClass::nan:
      return v != v;
    case FloatClass::inf:
      return std::fabs(v) == static_cast<T>(INFINITY);
    case FloatClass::finite:
      break;
  }
  return std::fabs(v) < static_cast<T>(INFINITY);
}

}  // namespace tessera::math
