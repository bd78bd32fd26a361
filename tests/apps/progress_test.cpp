#include "apps/common/progress.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace tessera::apps {
namespace {

/// A progress display with a clock and a screen of its own.
struct Bench {
  double now = 100;
  int width = 80;
  std::vector<std::string> writes;

  Progress::Options options(ProgressMode mode, int64_t total) {
    return {.label = "epoch 1/3",
            .unit = "images",
            .total = total,
            .mode = mode,
            .write = [this](std::string_view text) { writes.emplace_back(text); },
            .clock = [this] { return now; },
            .width = [this] { return width; }};
  }
};

ProgressState half_way() {
  return {.label = "train",
          .unit = "images",
          .note = "loss 0.93",
          .done = 50,
          .total = 100,
          .seconds = 25,
          .rate = 2};
}

TEST(ProgressBarLine, ShowsEverythingWhenThereIsRoom) {
  const std::string line = progress_bar_line(half_way(), 100);
  for (const char* part :
       {"train", "50 %", "50/100", "2.0 images/s", "25 s left", "loss 0.93", "[#"}) {
    EXPECT_NE(line.find(part), std::string::npos) << part << " in: " << line;
  }
  const auto hashes = std::count(line.begin(), line.end(), '#');
  const auto dots = std::count(line.begin() + static_cast<long>(line.find('[')),
                               line.begin() + static_cast<long>(line.find(']')), '.');
  EXPECT_NEAR(static_cast<double>(hashes), static_cast<double>(dots), 1);
}

TEST(ProgressBarLine, FitsAnyWidth) {
  for (int width = 1; width < 140; ++width) {
    EXPECT_LE(progress_bar_line(half_way(), width).size(), static_cast<size_t>(width));
  }
  const std::string narrow = progress_bar_line(half_way(), 32);
  EXPECT_NE(narrow.find("50 %"), std::string::npos) << narrow;
  EXPECT_EQ(narrow.find("loss"), std::string::npos) << narrow;
}

TEST(ProgressBarLine, UnknownTotalAndBounds) {
  ProgressState state = half_way();
  state.total = 0;
  const std::string line = progress_bar_line(state, 100);
  EXPECT_EQ(line.find('%'), std::string::npos);
  EXPECT_NE(line.find("50 images"), std::string::npos);
  state.total = 40;  // more done than announced
  EXPECT_NE(progress_bar_line(state, 100).find("100 %"), std::string::npos);
  state = half_way();
  state.done = 999, state.total = 1000;
  EXPECT_NE(progress_bar_line(state, 100).find("99 %"), std::string::npos);
}

TEST(Progress, BarIsRedrawnAtMostTenTimesASecondAndRemoved) {
  Bench bench;
  {
    Progress progress(bench.options(ProgressMode::kBar, 1000));
    for (int i = 1; i <= 1000; ++i) {
      bench.now += 0.002;  // two seconds in all
      progress.update(i);
    }
    EXPECT_LE(bench.writes.size(), 21u);
    EXPECT_GE(bench.writes.size(), 15u);
    for (const std::string& text : bench.writes) {
      EXPECT_EQ(text.rfind("\r\x1b[K", 0), 0u);
      EXPECT_EQ(text.find('\n'), std::string::npos);
      EXPECT_LE(text.size() - 4, 79u);
    }
    EXPECT_NE(bench.writes.back().find("500 images/s"), std::string::npos) << bench.writes.back();
  }
  EXPECT_EQ(bench.writes.back(), "\r\x1b[K");
}

TEST(Progress, BarFollowsTheTerminalsWidth) {
  Bench bench;
  Progress progress(bench.options(ProgressMode::kBar, 10));
  progress.update(1);
  bench.width = 30, bench.now += 1;
  progress.update(2);
  EXPECT_LE(bench.writes.back().size() - 4, 29u);
}

TEST(Progress, PrintedLinesStandAboveTheBar) {
  Bench bench;
  Progress progress(bench.options(ProgressMode::kBar, 10));
  progress.update(1);
  bench.writes.clear();
  progress.print("hello");
  ASSERT_EQ(bench.writes.size(), 3u);  // remove, print, draw again
  EXPECT_EQ(bench.writes[0], "\r\x1b[K");
  EXPECT_EQ(bench.writes[1], "hello\n");
  EXPECT_NE(bench.writes[2].find("1/10"), std::string::npos);
}

TEST(Progress, LogLinesAreRareAndClosedByATotal) {
  Bench bench;
  {
    Progress progress(bench.options(ProgressMode::kLines, 3600));
    for (int i = 1; i <= 3600; ++i) {
      bench.now += 1;  // an hour
      progress.update(i, "loss 1");
    }
  }
  EXPECT_GE(bench.writes.size(), 15u);
  EXPECT_LE(bench.writes.size(), 60u);
  for (const std::string& text : bench.writes) {
    EXPECT_EQ(text.back(), '\n');
    EXPECT_EQ(text.find('\x1b'), std::string::npos);
  }
  EXPECT_NE(bench.writes.front().find("1.0 images/s"), std::string::npos);
  EXPECT_NE(bench.writes.back().find("3600/3600 images (100 %)"), std::string::npos);
  EXPECT_NE(bench.writes.back().find("in 1 h 00 min"), std::string::npos) << bench.writes.back();
}

TEST(Progress, AnAbandonedLoopClosesNoLog) {
  Bench bench;
  {
    Progress progress(bench.options(ProgressMode::kLines, 100));
    progress.update(3);
  }
  EXPECT_TRUE(bench.writes.empty());
}

TEST(Progress, QuietWritesNothing) {
  Bench bench;
  {
    Progress progress(bench.options(ProgressMode::kQuiet, 10));
    for (int i = 1; i <= 10; ++i) {
      bench.now += 60;
      progress.advance();
    }
    progress.finish();
  }
  EXPECT_TRUE(bench.writes.empty());
}

TEST(Progress, RateFollowsAChangeOfSpeed) {
  Bench bench;
  Progress progress(bench.options(ProgressMode::kBar, 100000));
  int64_t done = 0;
  for (int i = 0; i < 60; ++i) bench.now += 1, progress.update(done += 10);
  for (int i = 0; i < 60; ++i) bench.now += 1, progress.update(done += 100);
  EXPECT_NE(bench.writes.back().find(" 100.0 images/s"), std::string::npos) << bench.writes.back();
}

}  // namespace
}  // namespace tessera::apps
