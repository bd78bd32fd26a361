#include "tensor/generator.h"

#include <cmath>
#include <numbers>

#include "tensor/error.h"

namespace tessera {

Generator Generator::fork(uint64_t id) const {
  const Philox::Words w = Philox::block(state_.seed, id, ~state_.stream);
  return Generator(state_.seed, uint64_t{w.v[0]} << 32 | w.v[1]);
}

double Generator::uniform() {
  const Philox::Words w = next();
  return Philox::unit_double(w.v[0], w.v[1]);
}

int64_t Generator::randint(int64_t n) {
  TESSERA_CHECK(ValueError, n > 0, "randint: n must be positive, got ", n);
  const uint64_t range = static_cast<uint64_t>(n);
  const uint64_t limit = UINT64_MAX - UINT64_MAX % range;  // a multiple of range
  while (true) {
    const Philox::Words w = next();
    const uint64_t bits = uint64_t{w.v[0]} << 32 | w.v[1];
    if (bits < limit) return static_cast<int64_t>(bits % range);
  }
}

double Generator::normal() {
  const Philox::Words w = next();
  const double u = 1.0 - Philox::unit_double(w.v[0], w.v[1]);  // (0, 1]
  const double v = Philox::unit_double(w.v[2], w.v[3]);
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

uint64_t Generator::reserve(uint64_t count) {
  const uint64_t first = state_.block;
  state_.block += (count + 3) / 4;
  return first;
}

Generator& default_generator() {
  thread_local Generator generator(0);
  return generator;
}

void manual_seed(uint64_t seed) { default_generator().seed(seed); }

}  // namespace tessera
