// The caching allocator's bookkeeping, on a device of the test's own.

#include "cuda/allocator.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "tensor/error.h"
#include "tests/cuda/allocator/fake_runtime.h"

namespace tessera::cuda::testing {
namespace {

constexpr size_t kMegabyte = size_t{1} << 20;

class CachingAllocator : public ::testing::Test {
 protected:
  void SetUp() override {
    fake_device().total = 1024 * kMegabyte;
    allocator_.trim();
    allocator_.reset_peak();
    allocator_.set_limit(0);
    EXPECT_EQ(fake_device().used, 0u);
    fake_device().allocations = 0;
  }
  void TearDown() override {
    allocator_.trim();
    EXPECT_EQ(fake_device().used, 0u) << "memory was lost";
    EXPECT_EQ(allocator_.stats().cached, 0);
  }
  Allocator& allocator_ = allocator_of(0);
};

TEST_F(CachingAllocator, SmallRequestsShareOneSegment) {
  std::vector<void*> blocks;
  for (int i = 0; i < 100; ++i) blocks.push_back(allocator_.allocate(10000));
  EXPECT_EQ(fake_device().allocations, 1);
  const MemoryStats stats = allocator_.stats();
  EXPECT_EQ(stats.live, 100 * 10240);  // in steps of 512
  EXPECT_EQ(stats.live + stats.cached, static_cast<int64_t>(fake_device().used));
  EXPECT_EQ(stats.peak, stats.live);
  for (void* block : blocks) allocator_.deallocate(block, 10000);
  EXPECT_EQ(allocator_.stats().live, 0);
  EXPECT_EQ(allocator_.stats().cached, static_cast<int64_t>(fake_device().used));
}

TEST_F(CachingAllocator, FreedBlocksAreJoinedAndUsedAgain) {
  void* a = allocator_.allocate(20 * kMegabyte);
  void* b = allocator_.allocate(20 * kMegabyte);
  void* c = allocator_.allocate(20 * kMegabyte);
  EXPECT_EQ(fake_device().allocations, 1);  // a segment of 64 MiB
  allocator_.deallocate(a, 20 * kMegabyte);
  allocator_.deallocate(b, 20 * kMegabyte);
  void* both = allocator_.allocate(38 * kMegabyte);
  EXPECT_EQ(both, a);
  EXPECT_EQ(fake_device().allocations, 1);
  allocator_.deallocate(both, 38 * kMegabyte);
  allocator_.deallocate(c, 20 * kMegabyte);
}

TEST_F(CachingAllocator, NoBytesNoBlock) {
  EXPECT_EQ(allocator_.allocate(0), nullptr);
  allocator_.deallocate(nullptr, 0);
}

TEST_F(CachingAllocator, LimitTrimsAndThenRefuses) {
  allocator_.set_limit(static_cast<int64_t>(100 * kMegabyte));
  void* a = allocator_.allocate(60 * kMegabyte);
  allocator_.deallocate(a, 60 * kMegabyte);  // its segment is cached
  void* b = allocator_.allocate(90 * kMegabyte);
  EXPECT_LE(fake_device().used, 100 * kMegabyte);
  EXPECT_GT(fake_device().synchronized, 0);  // before memory went back to the device
  try {
    allocator_.allocate(20 * kMegabyte);
    ADD_FAILURE() << "beyond the limit";
  } catch (const OutOfMemoryError& e) {
    const std::string text = e.what();
    for (const char* part : {"cuda:0: out of memory", "requested 20971520", "live 94371840",
                             "peak 94371840", "limit 104857600"})
      EXPECT_NE(text.find(part), std::string::npos) << text;
  }
  allocator_.deallocate(b, 90 * kMegabyte);
  void* c = allocator_.allocate(20 * kMegabyte);
  allocator_.deallocate(c, 20 * kMegabyte);
}

TEST_F(CachingAllocator, AFullDeviceTrimsAndThenRefuses) {
  fake_device().total = 130 * kMegabyte;
  void* a = allocator_.allocate(10 * kMegabyte);  // 64 MiB
  void* b = allocator_.allocate(60 * kMegabyte);  // another
  allocator_.deallocate(b, 60 * kMegabyte);
  // There is room for one more small segment, and none for this but where the cache was.
  void* c = allocator_.allocate(66 * kMegabyte);
  EXPECT_LE(fake_device().used, 130 * kMegabyte);
  EXPECT_THROW(allocator_.allocate(60 * kMegabyte), OutOfMemoryError);
  allocator_.deallocate(a, 10 * kMegabyte);
  allocator_.deallocate(c, 66 * kMegabyte);
}

// Blocks of all sizes: none overlaps another, and the figures add up throughout.
TEST_F(CachingAllocator, BlocksNeverOverlap) {
  struct Block {
    unsigned char* data;
    size_t bytes;
    unsigned char mark;
  };
  std::vector<Block> live;
  std::mt19937 random(11);
  const auto give_back = [&](size_t i) {
    const Block block = live[i];
    for (const size_t at : {size_t{0}, block.bytes / 2, block.bytes - 1})
      ASSERT_EQ(block.data[at], block.mark);
    allocator_.deallocate(block.data, block.bytes);
    live[i] = live.back();
    live.pop_back();
  };
  for (int round = 0; round < 4000; ++round) {
    if (live.size() > 40 || (!live.empty() && random() % 3 == 0)) {
      give_back(random() % live.size());
    } else {
      const size_t bytes =
          random() % 8 == 0 ? random() % (8 * kMegabyte) + 1 : random() % 60000 + 1;
      Block block{static_cast<unsigned char*>(allocator_.allocate(bytes)), bytes,
                  static_cast<unsigned char>(round)};
      EXPECT_EQ(reinterpret_cast<uintptr_t>(block.data) % 256, 0u);
      for (const size_t at : {size_t{0}, bytes / 2, bytes - 1}) block.data[at] = block.mark;
      live.push_back(block);
    }
    int64_t sum = 0;
    for (const Block& b : live) sum += static_cast<int64_t>((b.bytes + 511) / 512 * 512);
    const MemoryStats stats = allocator_.stats();
    ASSERT_EQ(stats.live, sum);
    ASSERT_EQ(stats.live + stats.cached, static_cast<int64_t>(fake_device().used));
  }
  while (!live.empty()) give_back(live.size() - 1);
}

}  // namespace
}  // namespace tessera::cuda::testing
