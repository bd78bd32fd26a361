#pragma once

#include <cstring>

#include "cuda/emulator/cuda_types.h"
#include "cuda/emulator/location.h"

/// Operations of a warp: each lane leaves its input and waits; the last one to come computes the
/// results of all.
namespace tessera::cuda::emulator {

/// Lanes that wait in one operation.
struct WarpGroup {
  unsigned mask = 0, arrived = 0;
  const void* key = nullptr;  // tells operations apart
  const void* in[32];
  void* out[32];
};

/// Returns when every lane of `mask` that has not left the kernel has called it with this mask and
/// key; the last one runs `resolve`. With `orders_memory` the lanes' accesses before are ordered
/// with those behind.
void warp_collective(unsigned mask, const void* key, const void* in, void* out,
                     void (*resolve)(WarpGroup&), bool orders_memory, Location where);

/// The calling thread's lane.
unsigned lane_id();
/// Lanes of this warp that have not left the kernel.
unsigned live_lanes();

/// Ends the launch with this error.
[[noreturn]] void fail(const char* what);

/// warp_collective with types: Op::resolve(arrived, in, out) where in[i], out[i] belong to lane i.
template <class Op, class In, class Out>
Out collective(unsigned mask, const In& in, Location where, bool orders_memory = false) {
  static const char key = 0;
  Out out;
  warp_collective(
      mask, &key, &in, &out,
      [](WarpGroup& group) TESSERA_EMULATOR_UNCHECKED {
        const In* inputs[32];
        Out* outputs[32];
        for (int i = 0; i < 32; ++i) {
          inputs[i] = static_cast<const In*>(group.in[i]);
          outputs[i] = static_cast<Out*>(group.out[i]);
        }
        Op::resolve(group.arrived, inputs, outputs);
      },
      orders_memory, where);
  return out;
}

enum class Shuffle { index, up, down, exclusive_or };

template <class T>
struct ShuffleInput {
  T value;
  int source, width;
};

/// The lane that lane `lane` reads from; itself where that lies outside of its part of the warp.
template <Shuffle kind>
constexpr int shuffle_source(int lane, int source, int width) {
  const int first = lane & ~(width - 1);
  if (kind == Shuffle::index) return first + (source & (width - 1));
  if (kind == Shuffle::up) return lane - source < first ? lane : lane - source;
  const int from = kind == Shuffle::down ? lane + source : lane ^ source;
  return from >= first + width ? lane : from;
}

template <class T, Shuffle kind>
struct ShuffleOp {
  TESSERA_EMULATOR_UNCHECKED static void resolve(unsigned arrived, const ShuffleInput<T>* const* in,
                                                 T* const* out) {
    for (int lane = 0; lane < 32; ++lane) {
      if (!(arrived >> lane & 1)) continue;
      const int from = shuffle_source<kind>(lane, in[lane]->source, in[lane]->width) & 31;
      if (arrived >> from & 1)
        *out[lane] = in[from]->value;
      else  // undefined on a GPU
        std::memset(static_cast<void*>(out[lane]), 0xFF, sizeof(T));
    }
  }
};

template <Shuffle kind, class T>
T shuffle(unsigned mask, const T& value, int source, int width, Location where) {
  if (width < 1 || width > 32 || (width & (width - 1)) != 0)
    fail("a shuffle's width must be a power of two up to 32");
  return collective<ShuffleOp<T, kind>, ShuffleInput<T>, T>(mask, {value, source, width}, where);
}

struct BallotOp {
  TESSERA_EMULATOR_UNCHECKED static void resolve(unsigned arrived, const int* const* in,
                                                 unsigned* const* out) {
    unsigned votes = 0;
    for (int lane = 0; lane < 32; ++lane)
      if ((arrived >> lane & 1) && *in[lane]) votes |= 1u << lane;
    for (int lane = 0; lane < 32; ++lane)
      if (arrived >> lane & 1) *out[lane] = votes;
  }
};

template <class T>
struct MatchOp {
  TESSERA_EMULATOR_UNCHECKED static void resolve(unsigned arrived, const T* const* in,
                                                 unsigned* const* out) {
    for (int lane = 0; lane < 32; ++lane) {
      if (!(arrived >> lane & 1)) continue;
      unsigned same = 0;
      for (int other = 0; other < 32; ++other)
        if ((arrived >> other & 1) && *in[other] == *in[lane]) same |= 1u << other;
      *out[lane] = same;
    }
  }
};

struct SyncOp {
  static void resolve(unsigned, const int* const*, int* const*) {}
};

}  // namespace tessera::cuda::emulator

#define TESSERA_EMULATOR_HERE \
  tessera::cuda::emulator::Location where = tessera::cuda::emulator::Location::current()

inline void __syncwarp(unsigned mask = 0xffffffffu, TESSERA_EMULATOR_HERE) {
  tessera::cuda::emulator::collective<tessera::cuda::emulator::SyncOp, int, int>(mask, 0, where,
                                                                                 true);
}

#define TESSERA_EMULATOR_SHUFFLE(NAME, KIND)                                          \
  template <class T>                                                                  \
  T NAME(unsigned mask, T value, int source, int width = 32, TESSERA_EMULATOR_HERE) { \
    return tessera::cuda::emulator::shuffle<tessera::cuda::emulator::Shuffle::KIND>(  \
        mask, value, source, width, where);                                           \
  }
TESSERA_EMULATOR_SHUFFLE(__shfl_sync, index)
TESSERA_EMULATOR_SHUFFLE(__shfl_up_sync, up)
TESSERA_EMULATOR_SHUFFLE(__shfl_down_sync, down)
TESSERA_EMULATOR_SHUFFLE(__shfl_xor_sync, exclusive_or)
#undef TESSERA_EMULATOR_SHUFFLE

inline unsigned __ballot_sync(unsigned mask, int predicate, TESSERA_EMULATOR_HERE) {
  return tessera::cuda::emulator::collective<tessera::cuda::emulator::BallotOp, int, unsigned>(
      mask, predicate, where);
}
inline int __any_sync(unsigned mask, int predicate, TESSERA_EMULATOR_HERE) {
  return __ballot_sync(mask, predicate, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate, TESSERA_EMULATOR_HERE) {
  return __ballot_sync(mask, !predicate, where) == 0;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, TESSERA_EMULATOR_HERE) {
  return tessera::cuda::emulator::collective<tessera::cuda::emulator::MatchOp<T>, T, unsigned>(
      mask, value, where);
}
#undef TESSERA_EMULATOR_HERE
