#pragma once

#include <algorithm>
#include <array>
#include <cmath>

#include "ops/random/random.h"
#include "ops/random/random_math.h"
#include "tensor/parallel.h"

namespace tessera::cpu {

/// The words of several consecutive blocks in order: what Philox::block gives one at a time, here
/// side by side so that the rounds vectorise.
struct WordRun {
  // Enough that the compiler keeps the loops over blocks, which it vectorises, instead of
  // unrolling.
  static constexpr int kBlocks = 64;
  static constexpr int64_t kWords = 4 * kBlocks;
  std::array<uint32_t, kWords> v;

  void fill(const RandomDraw& draw, uint64_t first_block) {
    uint32_t c0[kBlocks], c1[kBlocks], c2[kBlocks], c3[kBlocks];
    for (int i = 0; i < kBlocks; ++i) {
      const uint64_t block = draw.block + first_block + static_cast<uint64_t>(i);
      c0[i] = static_cast<uint32_t>(block);
      c1[i] = static_cast<uint32_t>(block >> 32);
      c2[i] = static_cast<uint32_t>(draw.stream);
      c3[i] = static_cast<uint32_t>(draw.stream >> 32);
    }
    uint32_t k0 = static_cast<uint32_t>(draw.seed), k1 = static_cast<uint32_t>(draw.seed >> 32);
    for (int round = 0; round < 10; ++round) {
      for (int i = 0; i < kBlocks; ++i) {
        const uint64_t p0 = uint64_t{0xD2511F53u} * c0[i], p1 = uint64_t{0xCD9E8D57u} * c2[i];
        c0[i] = static_cast<uint32_t>(p1 >> 32) ^ c1[i] ^ k0;
        c1[i] = static_cast<uint32_t>(p1);
        c2[i] = static_cast<uint32_t>(p0 >> 32) ^ c3[i] ^ k1;
        c3[i] = static_cast<uint32_t>(p0);
      }
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    for (size_t i = 0; i < kBlocks; ++i) {
      v[4 * i] = c0[i];
      v[4 * i + 1] = c1[i];
      v[4 * i + 2] = c2[i];
      v[4 * i + 3] = c3[i];
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
