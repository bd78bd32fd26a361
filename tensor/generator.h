#pragma once

#include <array>
#include <cstdint>

#include "tensor/macros.h"

namespace tessera {

/// Philox4x32-10: four 32-bit words as a pure function of a 128-bit counter and a 64-bit key, the
/// same on every device. Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
/// 2011.
struct Philox {
  struct Words {
    uint32_t v[4];
  };

  /// The ten rounds on a counter c and its key. Lane is uint64_t or a vector of it, a counter per
  /// lane: only the lower halves count, and hold the four words afterwards. multiply(lane, m) is
  /// the 64-bit product of a lane's lower half and m.
  template <class Lane, class Multiply>
  TESSERA_HD static void rounds(Lane (&c)[4], uint64_t key, const Multiply& multiply) {
    uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round) {
      const Lane p0 = multiply(c[0], 0xD2511F53u), p1 = multiply(c[2], 0xCD9E8D57u);
      c[0] = p1 >> 32 ^ c[1] ^ uint64_t { k0 };
      c[1] = p1;
      c[2] = p0 >> 32 ^ c[3] ^ uint64_t { k1 };
      c[3] = p0;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
  }
  struct Multiply {
    TESSERA_HD uint64_t operator()(uint64_t lane, uint32_t m) const {
      return uint64_t{static_cast<uint32_t>(lane)} * m;
    }
  };

  /// counter = (lo = block, hi = stream).
  TESSERA_HD static Words block(uint64_t key, uint64_t block, uint64_t stream) {
    uint64_t c[4] = {block, block >> 32, stream, stream >> 32};
    rounds(c, key, Multiply{});
    return {{static_cast<uint32_t>(c[0]), static_cast<uint32_t>(c[1]), static_cast<uint32_t>(c[2]),
             static_cast<uint32_t>(c[3])}};
  }

  /// 24 random bits to a float in [0, 1), exact.
  TESSERA_HD static float unit_float(uint32_t word) {
    return static_cast<float>(word >> 8) * (1.0f / 16777216.0f);
  }
  /// 53 random bits to a double in [0, 1), exact.
  TESSERA_HD static double unit_double(uint32_t high, uint32_t low) {
    const uint64_t bits = (uint64_t{high} << 32 | low) >> 11;
    return static_cast<double>(bits) * (1.0 / 9007199254740992.0);
  }
};

/// A stream of random numbers: a Philox key (the seed), a stream id and the next block to draw.
/// A copy continues the same sequence independently. Not thread-safe: give each thread or sample
/// its own `fork`.
class Generator {
 public:
  struct State {
    uint64_t seed = 0, stream = 0, block = 0;
    bool operator==(const State&) const = default;
  };

  explicit Generator(uint64_t seed = 0, uint64_t stream = 0) : state_{seed, stream, 0} {}

  /// A generator with the same seed whose stream is a hash of this stream and `id`. Depends
  /// on (seed, stream, id) only, not on how much has been drawn: sample `id` of an epoch gets the
  /// same numbers whichever worker handles it.
  Generator fork(uint64_t id) const;

  /// Uniform double in [0, 1). Like every scalar draw it consumes one block.
  double uniform();
  /// Uniform double in [lo, hi).
  double uniform(double lo, double hi) { return lo + (hi - lo) * uniform(); }
  /// Uniform integer in [0, n), without modulo bias. Throws ValueError for n <= 0.
  int64_t randint(int64_t n);
  /// Standard normal (Box-Muller on one block).
  double normal();
  /// True with probability p.
  bool bernoulli(double p) { return uniform() < p; }

  /// Reserves enough blocks for `count` 32-bit words and returns the first block: element i of a
  /// tensor op takes word i % 4 of block first + i / 4.
  uint64_t reserve(uint64_t count);

  State state() const { return state_; }
  void set_state(const State& state) { state_ = state; }
  void seed(uint64_t seed) { state_ = {seed, 0, 0}; }

 private:
  Philox::Words next() { return Philox::block(state_.seed, state_.block++, state_.stream); }
  State state_;
};

/// The calling thread's generator for ops that are given none; seeded with 0.
Generator& default_generator();
/// Re-seeds the calling thread's default generator.
void manual_seed(uint64_t seed);

}  // namespace tessera
