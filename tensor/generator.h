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

  /// counter = (lo = block, hi = stream).
  TESSERA_HD static Words block(uint64_t key, uint64_t block, uint64_t stream) {
    uint32_t c0 = static_cast<uint32_t>(block), c1 = static_cast<uint32_t>(block >> 32);
    uint32_t c2 = static_cast<uint32_t>(stream), c3 = static_cast<uint32_t>(stream >> 32);
    uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round) {
      const uint64_t p0 = uint64_t{0xD2511F53u} * c0, p1 = uint64_t{0xCD9E8D57u} * c2;
      c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
      c1 = static_cast<uint32_t>(p1);
      c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
      c3 = static_cast<uint32_t>(p0);
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
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
