#include "tensor/free_ranges.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace tessera {
namespace {

class FreeRangesTest : public ::testing::Test {
 protected:
  std::vector<std::byte> memory{1000};
  std::byte* at(size_t offset) { return memory.data() + offset; }
  FreeRanges free;
};

TEST_F(FreeRangesTest, JoinsNeighboursOnBothSides) {
  free.add(at(0), 100);
  free.add(at(200), 100);
  EXPECT_EQ(free.take(101), nullptr);
  free.add(at(100), 100);
  EXPECT_EQ(free.take(300), at(0));
  EXPECT_EQ(free.take(1), nullptr);
}

TEST_F(FreeRangesTest, CutsTheSmallestThatFitsAndTheLowestAmongEquals) {
  free.add(at(0), 300);
  free.add(at(400), 50);
  free.add(at(500), 50);
  EXPECT_EQ(free.take(40), at(400));
  EXPECT_EQ(free.take(50), at(500));
  EXPECT_EQ(free.take(50), at(0));
  EXPECT_EQ(free.take(250), at(50));
  EXPECT_EQ(free.take(10), at(440));
  EXPECT_EQ(free.take(1), nullptr);
}

TEST_F(FreeRangesTest, GivesOutTheLowestUntilEmpty) {
  free.add(at(300), 7);
  free.add(at(0), 100);
  using Range = std::pair<std::byte*, size_t>;
  EXPECT_EQ(free.take_lowest(), (Range{at(0), 100}));
  EXPECT_EQ(free.take_lowest(), (Range{at(300), 7}));
  EXPECT_EQ(free.take_lowest(), (Range{nullptr, 0}));
  EXPECT_EQ(free.take(1), nullptr);
}

// Blocks taken and given at random never overlap, and all of it is one range again in the end.
TEST_F(FreeRangesTest, LosesAndDoublesNothing) {
  std::mt19937 random(1);
  free.add(at(0), memory.size());
  std::map<size_t, size_t> taken;  // offset, size
  for (int step = 0; step < 5000; ++step) {
    if (random() % 2 == 0) {
      const size_t size = random() % 60 + 1;
      std::byte* block = free.take(size);
      if (!block) continue;
      const auto offset = static_cast<size_t>(block - at(0));
      ASSERT_LE(offset + size, memory.size());
      const auto after = taken.lower_bound(offset);
      if (after != taken.end()) {
        ASSERT_LE(offset + size, after->first);
      }
      if (after != taken.begin()) {
        const auto before = std::prev(after);
        ASSERT_LE(before->first + before->second, offset);
      }
      taken.emplace(offset, size);
    } else if (!taken.empty()) {
      const auto it = std::next(taken.begin(), static_cast<long>(random() % taken.size()));
      free.add(at(it->first), it->second);
      taken.erase(it);
    }
  }
  for (const auto& [offset, size] : taken) free.add(at(offset), size);
  EXPECT_EQ(free.take(memory.size()), at(0));
}

}  // namespace
}  // namespace tessera
