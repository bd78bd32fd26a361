#include "tensor/allocator.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace tessera {
namespace {

TEST(CpuAllocator, ReusesAlignedBlocks) {
  Allocator& cpu = cpu_allocator();
  for (const auto& [first, second] :
       {std::pair<size_t, size_t>{3000, 2900}, {100000, 99000}, {5 << 20, 4 << 20}}) {
    cpu.trim();
    void* a = cpu.allocate(first);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(a) % 64, 0u);
    std::memset(a, 1, first);
    cpu.deallocate(a, first);
    const int64_t before = cpu.stats().system_allocations;
    void* b = cpu.allocate(second);
    EXPECT_EQ(a, b) << first;
    EXPECT_EQ(cpu.stats().system_allocations, before);
    cpu.deallocate(b, second);
  }
  EXPECT_EQ(cpu.allocate(0), nullptr);
  const int64_t live = cpu.stats().live;
  for (size_t huge : {SIZE_MAX, SIZE_MAX - 4096, (size_t{1} << 62) + 1})
    EXPECT_THROW(cpu.allocate(huge), OutOfMemoryError) << huge;
  EXPECT_EQ(cpu.stats().live, live);
}

// Activations of other sizes take the place of freed gradients.
TEST(CpuAllocator, JoinsAndCutsFreeBlocks) {
  Allocator& cpu = cpu_allocator();
  cpu.trim();
  const MemoryStats before = cpu.stats();
  { const Tensor a = empty({100000}), b = empty({70000}), c = empty({130000}); }
  const int64_t held = cpu.stats().cached;
  EXPECT_GE(held, 1200000);
  {
    const Tensor a = empty({250000}), b = empty({40000});
    EXPECT_EQ(cpu.stats().live - before.live + cpu.stats().cached, held);
  }
  EXPECT_EQ(cpu.stats().system_allocations - before.system_allocations, 3);
}

TEST(CpuAllocator, CountsLiveAndPeak) {
  Allocator& cpu = cpu_allocator();
  const int64_t live = cpu.stats().live;
  cpu.reset_peak();
  {
    const Tensor t = empty({1 << 20});
    EXPECT_GE(cpu.stats().live - live, 4 << 20);
  }
  EXPECT_EQ(cpu.stats().live, live);
  EXPECT_GE(cpu.stats().peak - live, 4 << 20);
  cpu.trim();
  EXPECT_EQ(cpu.stats().cached, 0);
}

// Blocks beside those that go back to the system keep their contents.
TEST(CpuAllocator, TrimLeavesNeighboursAlone) {
  Allocator& cpu = cpu_allocator();
  cpu.trim();
  std::vector<Tensor> kept;
  for (int i = 0; i < 20; ++i) {
    const Tensor gone = empty({(i + 1) * 10000});
    kept.push_back(full({9000 + i}, i));
  }
  cpu.trim();
  EXPECT_EQ(cpu.stats().cached, 0);
  const Tensor again = full({500000}, -1);
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(kept[static_cast<size_t>(i)].to_vector<float>(),
              std::vector<float>(static_cast<size_t>(9000 + i), static_cast<float>(i)));
}

// Where addresses are scarce (ulimit -v), no more are reserved than are needed.
TEST(CpuAllocatorDeathTest, LivesWithFewAddresses) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers need more addresses";
#else
  EXPECT_EXIT(
      {
        rlimit limit{};
        limit.rlim_cur = limit.rlim_max = rlim_t{3} << 30;
        if (setrlimit(RLIMIT_AS, &limit) != 0) std::exit(2);
        const Tensor a = empty({int64_t{300} << 20}, DType::u8);
        const Tensor b = empty({int64_t{1500} << 20}, DType::u8);
        const std::vector<char> other(size_t{100} << 20);
        std::exit(other.size() > 0 && a.numel() < b.numel() ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
#endif
}

#if defined(__SANITIZE_ADDRESS__)
TEST(CpuAllocatorDeathTest, AddressSanitizerSeesOverrunsAndUseAfterFree) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  for (const size_t bytes : {size_t{1000}, size_t{100004}}) {
    auto* p = static_cast<volatile char*>(cpu_allocator().allocate(bytes));
    EXPECT_DEATH(p[bytes] = 1, "use-after-poison|heap-buffer-overflow");
    cpu_allocator().deallocate(const_cast<char*>(p), bytes);
    EXPECT_DEATH(p[0] = 1, "use-after-poison");
  }
}
#endif

TEST(CpuAllocator, LimitThrowsWithFiguresAndTheProgramGoesOn) {
  Allocator& cpu = cpu_allocator();
  cpu.trim();
  cpu.set_limit(cpu.stats().live + (8 << 20));
  try {
    empty({64 << 20});
    ADD_FAILURE() << "the limit was not kept";
  } catch (const OutOfMemoryError& e) {
    const std::string text = e.what();
    for (const char* part : {"requested 268435456", "live", "cached", "peak", "limit"})
      EXPECT_NE(text.find(part), std::string::npos) << text;
  }
  EXPECT_NO_THROW(empty({1 << 20}));  // smaller work still fits
  cpu.set_limit(0);
}

TEST(CpuAllocator, TrimsItsCacheBeforeGivingUp) {
  Allocator& cpu = cpu_allocator();
  cpu.trim();
  { const Tensor t = empty({1 << 20}); }  // now cached
  cpu.set_limit(cpu.stats().live + cpu.stats().cached + (1 << 20));
  EXPECT_NO_THROW(empty({(1 << 20) + 100000}));  // larger: the cached block must go
  cpu.set_limit(0);
}

TEST(CpuAllocator, ThreadsShareIt) {
  std::vector<std::thread> threads;
  const int64_t live = cpu_allocator().stats().live;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      for (int i = 0; i < 200; ++i) {
        Tensor x = full({(i * 37 + t) % 5000 + 1}, t);
        ASSERT_EQ(x.to_vector<float>().back(), static_cast<float>(t));
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(cpu_allocator().stats().live, live);
}

}  // namespace
}  // namespace tessera
