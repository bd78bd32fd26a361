#include "apps/common/ranking_sheet.h"

#include <gtest/gtest.h>

namespace tessera::apps {
namespace {

size_t coloured(const data::Image& image, const data::Color& color) {
  size_t n = 0;
  for (size_t i = 0; i < image.pixels.size(); i += 3) {
    n += image.pixels[i] == color.r && image.pixels[i + 1] == color.g &&
         image.pixels[i + 2] == color.b;
  }
  return n;
}

RankingRow row_of(size_t ranks, size_t correct) {
  RankingRow row;
  row.query = data::Image(64, 32, 3, 10);
  for (size_t i = 0; i < ranks; ++i)
    row.ranked.push_back({data::Image(64, 32, 3, 90), i < correct, ""});
  return row;
}

TEST(RankingSheet, FramesTellRightFromWrong) {
  const RankingSheetOptions small{.cell_height = 64, .cell_width = 32, .title = ""};
  const data::Image all_right = ranking_sheet({row_of(10, 10)}, small);
  const data::Image all_wrong = ranking_sheet({row_of(10, 0)}, small);
  const data::Image three = ranking_sheet({row_of(10, 3)}, small);
  EXPECT_EQ(coloured(all_right, data::colors::kRed), 0u);
  EXPECT_EQ(coloured(all_wrong, data::colors::kGreen), 0u);
  const size_t full = coloured(all_right, data::colors::kGreen);
  EXPECT_GT(full, 10u * 2 * (64 + 32) * 2 - 1);  // ten frames two pixels wide
  EXPECT_NEAR(static_cast<double>(coloured(three, data::colors::kGreen)),
              static_cast<double>(full) * 0.3, static_cast<double>(full) * 0.05);
  // The images themselves are all there: 10 ranks and the query.
  EXPECT_EQ(coloured(all_right, {90, 90, 90}), 10u * 64 * 32);
  EXPECT_EQ(coloured(all_right, {10, 10, 10}), 64u * 32);
}

TEST(RankingSheet, SizeFollowsRowsTopAndNotes) {
  const auto sheet = [](size_t rows, int top, bool notes) {
    std::vector<RankingRow> list(rows, row_of(12, 1));
    if (notes) list[0].note = "id 3";
    return ranking_sheet(list, {.cell_height = 64, .cell_width = 32, .top = top, .title = ""});
  };
  EXPECT_GT(sheet(2, 10, false).height, sheet(1, 10, false).height + 64);
  EXPECT_GT(sheet(1, 10, false).width, sheet(1, 5, false).width + 5 * 32);
  EXPECT_GT(sheet(1, 5, true).height, sheet(1, 5, false).height);
  // Only the first `top` ranks are drawn.
  EXPECT_EQ(coloured(sheet(1, 5, false), {90, 90, 90}), 5u * 64 * 32);
}

TEST(RankingSheet, KeepsProportionsAndShortRows) {
  RankingRow row = row_of(0, 0);
  row.ranked.push_back({data::Image(32, 32, 3, 90), true, ""});
  const data::Image sheet =
      ranking_sheet({row}, {.cell_height = 64, .cell_width = 32, .title = "One"});
  EXPECT_EQ(coloured(sheet, {90, 90, 90}), 32u * 32);
}

TEST(RankingSheet, Errors) {
  EXPECT_THROW(ranking_sheet({}), ValueError);
  EXPECT_THROW(ranking_sheet({RankingRow{}}), ValueError);
  EXPECT_THROW(ranking_sheet({row_of(1, 1)}, {.top = 0, .title = ""}), ValueError);
  RankingRow empty = row_of(1, 1);
  empty.ranked[0].image = {};
  EXPECT_THROW(ranking_sheet({empty}), ValueError);
}

}  // namespace
}  // namespace tessera::apps
