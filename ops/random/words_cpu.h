#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "ops/cpu/vector.h"
#include "ops/random/random.h"
#include "ops/random/random_math.h"
#include "tensor/parallel.h"

namespace tessera::cpu {

/// Several vectors side by side as one lane of Philox::rounds, so that they share its constants.
struct WideLane {
  static constexpr int kVectors = 4;
  static constexpr int64_t kLanes = kVectors * Vector<uint64_t>::kLanes;
  Vector<uint64_t>::Type v[kVectors];

  template <class F>
  static WideLane make(const F& f) {
    WideLane made;
    for (int i = 0; i < kVectors; ++i) made.v[i] = f(i);
    return made;
  }
  friend WideLane operator>>(const WideLane& a, int n) {
    return make([&](int i) { return a.v[i] >> n; });
  }
  friend WideLane operator^(const WideLane& a, const WideLane& b) {
    return make([&](int i) { return a.v[i] ^ b.v[i]; });
  }
  friend WideLane operator^(const WideLane& a, uint64_t b) {
    return make([&](int i) { return a.v[i] ^ b; });
  }
};

/// The words of several consecutive blocks in order: what Philox::block gives one at a time.
struct WordRun {
  static constexpr int64_t kBlocks = 64, kWords = 4 * kBlocks;
  alignas(64) std::array<uint32_t, kWords> v;

  void fill(const RandomDraw& draw, uint64_t first_block) {
    using Lanes = Vector<uint64_t>;
    using V = Lanes::Type;
    static_assert(std::endian::native == std::endian::little && kBlocks % WideLane::kLanes == 0);
    for (int64_t b = 0; b < kBlocks; b += WideLane::kLanes) {
      const WideLane block = WideLane::make([&](int i) {
        const uint64_t first = draw.block + first_block + static_cast<uint64_t>(b);
        return V{0, 1, 2, 3, 4, 5, 6, 7} + (first + static_cast<uint64_t>(i * Lanes::kLanes));
      });
      const WideLane stream = WideLane::make([&](int) { return V{} + draw.stream; });
      WideLane c[4] = {block, block >> 32, stream, stream >> 32};
      Philox::rounds(c, draw.seed, [](const WideLane& a, uint32_t m) {
        return WideLane::make([&](int i) { return MultiplyLower{}(a.v[i], m); });
      });
      for (int i = 0; i < WideLane::kVectors; ++i) {
        const V x = (c[0].v[i] & 0xFFFFFFFFu) | c[1].v[i] << 32;
        const V z = (c[2].v[i] & 0xFFFFFFFFu) | c[3].v[i] << 32;
        auto* to = reinterpret_cast<uint64_t*>(v.data() + 4 * (b + i * Lanes::kLanes));
        Lanes::store(to, __builtin_shufflevector(x, z, 0, 8, 1, 9, 2, 10, 3, 11));
        Lanes::store(to + Lanes::kLanes, __builtin_shufflevector(x, z, 4, 12, 5, 13, 6, 14, 7, 15));
      }
    }
  }
};

/// Calls body(words, first, count): `words` serve the elements first .. first + count - 1 of a draw
/// in which each element takes kPerElement words.
template <int kPerElement, class Body>
void for_each_word_run(const RandomDraw& draw, int64_t elements, Body&& body) {
  constexpr int64_t kRun = WordRun::kWords / kPerElement;
  parallel_for(0, (elements + kRun - 1) / kRun, 64, [&](int64_t begin, int64_t end) {
    WordRun words;
    for (int64_t r = begin; r < end; ++r) {
      words.fill(draw, static_cast<uint64_t>(r * WordRun::kBlocks));
      body(words.v.data(), r * kRun, std::min(kRun, elements - r * kRun));
    }
  });
}

using math::word_threshold;

}  // namespace tessera::cpu
