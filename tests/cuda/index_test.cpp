#include "cuda/index.h"

#include <gtest/gtest.h>

#include <random>

namespace tessera::cuda {
namespace {

void expect_divides(uint32_t n, const Divider& divider, uint32_t d) {
  ASSERT_EQ(divider.divide(n), n / d) << n << " / " << d;
  uint32_t rest = n;
  ASSERT_EQ(divider.split(rest), n / d) << n << " / " << d;
  ASSERT_EQ(rest, n % d) << n << " % " << d;
}

TEST(Divider, SmallNumbersAllOfThem) {
  for (uint32_t d = 1; d <= 600; ++d) {
    const Divider divider(d);
    for (uint32_t n = 0; n <= 4000; ++n) expect_divides(n, divider, d);
  }
}

// Where a rounding error would show first: around multiples of the divisor, up to the largest
// numerator.
TEST(Divider, AroundMultiples) {
  constexpr uint32_t kLargest = 0x7fffffff;
  std::mt19937 random(3);
  std::vector<uint32_t> divisors{1, 2, 3, kLargest, kLargest - 1, 1u << 30, (1u << 30) + 1};
  for (int bit = 1; bit < 31; ++bit)
    for (const uint32_t d : {(1u << bit) - 1, 1u << bit, (1u << bit) + 1}) divisors.push_back(d);
  for (int i = 0; i < 2000; ++i) divisors.push_back(static_cast<uint32_t>(random() % kLargest + 1));
  for (const uint32_t d : divisors) {
    const Divider divider(d);
    const uint32_t most = kLargest / d;
    const auto any = static_cast<uint32_t>(random() % (most + 1));
    for (const uint32_t q : {0u, 1u, 2u, most / 2, most - (most > 0), most, any})
      for (int off = -1; off <= 1; ++off) {
        const int64_t n = int64_t{q} * d + off;
        if (n >= 0 && n <= kLargest) expect_divides(static_cast<uint32_t>(n), divider, d);
      }
    expect_divides(kLargest, divider, d);
    for (int i = 0; i < 20; ++i)
      expect_divides(static_cast<uint32_t>(random()) & kLargest, divider, d);
  }
}

TEST(Divider, OneByDefault) { expect_divides(12345, Divider(), 1); }

}  // namespace
}  // namespace tessera::cuda
