#include "apps/common/interrupt.h"

#include <gtest/gtest.h>

#include <csignal>

#include "tensor/error.h"

namespace tessera::apps {
namespace {

TEST(InterruptGuard, FirstSignalSetsTheFlag) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    InterruptGuard guard;
    EXPECT_FALSE(guard.requested());
    EXPECT_EQ(guard.exit_code(), 0);
    std::raise(number);
    EXPECT_TRUE(guard.requested());
    EXPECT_EQ(guard.signal(), number);
    EXPECT_EQ(guard.exit_code(), 128 + number);
  }
}

TEST(InterruptGuard, SecondSignalKills) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(
      {
        InterruptGuard guard;
        std::raise(SIGINT);
        std::raise(SIGINT);
      },
      testing::KilledBySignal(SIGINT), "");
}

int g_seen = 0;

TEST(InterruptGuard, RestoresFormerHandlersAndLeavesIgnoredSignalsAlone) {
  const auto old_int = std::signal(SIGINT, [](int) { ++g_seen; });
  const auto old_term = std::signal(SIGTERM, SIG_IGN), old_hup = std::signal(SIGHUP, SIG_IGN);
  {
    InterruptGuard guard;
    std::raise(SIGTERM);  // stays ignored
    std::raise(SIGHUP);   // as under nohup
    EXPECT_FALSE(guard.requested());
    std::raise(SIGINT);
    EXPECT_TRUE(guard.requested());
    EXPECT_EQ(g_seen, 0);
  }
  std::raise(SIGINT);
  EXPECT_EQ(g_seen, 1);
  std::signal(SIGINT, old_int);
  std::signal(SIGTERM, old_term);
  std::signal(SIGHUP, old_hup);
  InterruptGuard next;
  EXPECT_FALSE(next.requested());  // the flag was cleared
}

TEST(InterruptGuard, OnlyOneLivesAtATime) {
  InterruptGuard guard;
  EXPECT_THROW(InterruptGuard{}, Error);
}

}  // namespace
}  // namespace tessera::apps
