#include "tensor/generator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "tensor/error.h"

namespace tessera {
namespace {

// Known answers of the reference implementation (Random123, kat_vectors: philox4x32 10).
TEST(Philox, KnownAnswers) {
  const Philox::Words zero = Philox::block(0, 0, 0);
  EXPECT_EQ(zero.v[0], 0x6627e8d5u);
  EXPECT_EQ(zero.v[1], 0xe169c58du);
  EXPECT_EQ(zero.v[2], 0xbc57ac4cu);
  EXPECT_EQ(zero.v[3], 0x9b00dbd8u);
  const Philox::Words ones = Philox::block(~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0});
  EXPECT_EQ(ones.v[0], 0x408f276du);
  EXPECT_EQ(ones.v[1], 0x41c83b0eu);
  EXPECT_EQ(ones.v[2], 0xa20bc7c6u);
  EXPECT_EQ(ones.v[3], 0x6d5451fdu);
}

TEST(Generator, SameSeedSameNumbersAndStateRestores) {
  Generator a(5), b(5);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(a.uniform(), b.uniform());
  const Generator::State state = a.state();
  const double next = a.normal();
  a.set_state(state);
  EXPECT_EQ(a.normal(), next);
}

TEST(Generator, ForksAreIndependentOfPosition) {
  Generator a(5);
  const double first = a.fork(3).uniform();
  a.uniform();
  EXPECT_EQ(a.fork(3).uniform(), first);
  std::set<double> values;
  for (uint64_t id = 0; id < 100; ++id) values.insert(a.fork(id).uniform());
  EXPECT_EQ(values.size(), 100u);
  EXPECT_NE(a.fork(1).fork(2).uniform(), a.fork(2).fork(1).uniform());
}

TEST(Generator, Statistics) {
  Generator g(1);
  double sum = 0, squares = 0;
  std::array<int, 5> counts{};
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    const double n = g.normal();
    sum += n;
    squares += n * n;
    ++counts[static_cast<size_t>(g.randint(5))];
  }
  EXPECT_NEAR(sum / kDraws, 0, 0.03);
  EXPECT_NEAR(squares / kDraws, 1, 0.04);
  for (int c : counts) EXPECT_NEAR(c, kDraws / 5, 250);
  EXPECT_THROW(g.randint(0), ValueError);
}

}  // namespace
}  // namespace tessera
