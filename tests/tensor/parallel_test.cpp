#include "tensor/parallel.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tensor/tensor.h"

namespace tessera {
namespace {

class ThreadCount : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override { set_num_threads(GetParam()); }
  void TearDown() override { set_num_threads(0); }
};

TEST_P(ThreadCount, CoversEveryIndexOnce) {
  for (int64_t n : {0, 1, 2, 7, 1000}) {
    std::vector<std::atomic<int>> hits(static_cast<size_t>(n));
    parallel_for(0, n, 1, [&](int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i) ++hits[static_cast<size_t>(i)];
    });
    for (const auto& h : hits) EXPECT_EQ(h.load(), 1);
  }
}

TEST_P(ThreadCount, NestedLoopsRunSerially) {
  std::atomic<int> total{0};
  parallel_for(0, 8, 1, [&](int64_t b, int64_t e) {
    EXPECT_TRUE(in_parallel_region() || GetParam() == 1);
    for (int64_t i = b; i < e; ++i) {
      const auto self = std::this_thread::get_id();
      parallel_for(0, 10, 1, [&](int64_t b2, int64_t e2) {
        EXPECT_TRUE(GetParam() == 1 || std::this_thread::get_id() == self);
        total += static_cast<int>(e2 - b2);
      });
    }
  });
  EXPECT_EQ(total.load(), 80);
}

TEST_P(ThreadCount, RethrowsTheException) {
  EXPECT_THROW(parallel_for(0, 100, 1,
                            [](int64_t b, int64_t) {
                              if (b == 0) throw std::runtime_error("part");
                            }),
               std::runtime_error);
  std::atomic<int> after{0};  // the pool still works
  parallel_for(0, 100, 1, [&](int64_t b, int64_t e) { after += static_cast<int>(e - b); });
  EXPECT_EQ(after.load(), 100);
}

INSTANTIATE_TEST_SUITE_P(Parallel, ThreadCount, ::testing::Values(1, 2, 3, 8));

// The child of a fork has no worker threads, and must not wait for any.
TEST(Parallel, AForkedChildGoesOnAlone) {
  set_num_threads(3);
  std::atomic<int64_t> sum{0};
  const auto count = [&](int64_t b, int64_t e) { sum += e - b; };
  parallel_for(0, 64, 1, count);
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);  // a signal instead of a hang
    sum = 0;
    parallel_for(0, 64, 1, count);
    const Tensor t = ones({1});
    ::_exit(sum == 64 && num_threads() == 1 && t.item() == 1 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  sum = 0;
  parallel_for(0, 64, 1, count);
  EXPECT_EQ(sum.load(), 64);
  EXPECT_EQ(num_threads(), 3);
  set_num_threads(0);
}

TEST(Parallel, GuardMakesItSerial) {
  set_num_threads(4);
  SerialGuard guard;
  int calls = 0;
  parallel_for(0, 1000, 1, [&](int64_t, int64_t) { ++calls; });
  EXPECT_EQ(calls, 1);
  set_num_threads(0);
}

TEST(Parallel, SeveralCallersAtOnce) {
  set_num_threads(3);
  std::vector<std::thread> callers;
  std::atomic<int64_t> sum{0};
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round)
        parallel_for(0, 64, 1, [&](int64_t b, int64_t e) { sum += e - b; });
    });
  for (std::thread& t : callers) t.join();
  EXPECT_EQ(sum.load(), 4 * 50 * 64);
  set_num_threads(0);
}

}  // namespace
}  // namespace tessera
