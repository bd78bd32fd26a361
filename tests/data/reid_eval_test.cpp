#include "data/eval/reid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "data/eval/similarity.h"
#include "tensor/error.h"
#include "tensor/parallel.h"
#include "tests/data/reid_test_sets.h"

namespace tessera::data {
namespace {

using testing_sets::hash_set;
using testing_sets::hash_unit;
using testing_sets::OwnedSet;

using Ranks = std::vector<int64_t>;

/// The protocol written the obvious way: sort all, drop junk, look at the hits.
struct Obvious {
  std::vector<double> ap, rectangular, inp;
  std::vector<int64_t> first;
};
Obvious obvious(const std::vector<float>& scores, const OwnedSet& query, const OwnedSet& gallery) {
  Obvious out;
  const size_t cols = gallery.labels.size();
  for (size_t i = 0; i < query.labels.size(); ++i) {
    std::vector<size_t> order(cols);
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return scores[i * cols + a] > scores[i * cols + b];
    });
    double rank = 0, hits = 0, ap = 0, rectangular = 0, inp = 0;
    int64_t first = -1;
    for (const size_t j : order) {
      const bool same = gallery.labels[j] == query.labels[i];
      if (gallery.labels[j] == -1) continue;
      if (same && gallery.cameras[j] == query.cameras[i]) continue;
      if (same) {
        if (first < 0) first = static_cast<int64_t>(rank);
        const double before = rank == 0 ? 1 : hits / rank;
        hits += 1;
        ap += (before + hits / (rank + 1)) / 2;
        rectangular += hits / (rank + 1);
        inp = hits / (rank + 1);
      }
      rank += 1;
    }
    out.ap.push_back(hits > 0 ? ap / hits : 0);
    out.rectangular.push_back(hits > 0 ? rectangular / hits : 0);
    out.inp.push_back(inp);
    out.first.push_back(first);
  }
  return out;
}

double mean(const std::vector<double>& v) {
  return std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size());
}

TEST(AveragePrecisionTest, TrapezoidAndRectangularValues) {
  EXPECT_DOUBLE_EQ(average_precision(Ranks{0, 1, 2}), 1);
  EXPECT_NEAR(average_precision(Ranks{0, 2, 5}), 0.677778, 5e-7);
  EXPECT_NEAR(average_precision(Ranks{1, 2}), 0.416667, 5e-7);
  EXPECT_DOUBLE_EQ(average_precision_rectangular(Ranks{0, 1, 2}), 1);
  EXPECT_NEAR(average_precision_rectangular(Ranks{0, 2, 5}), 0.72222, 5e-6);
  EXPECT_NEAR(average_precision_rectangular(Ranks{1, 2}), 0.58333, 5e-6);
  EXPECT_EQ(average_precision(Ranks{}), 0);
  EXPECT_EQ(average_precision_rectangular(Ranks{}), 0);
}

TEST(ReidEvaluateTest, JunkLeavesTheRankingAndDistractorsStay) {
  const OwnedSet query{0, {}, {7}, {1}};
  // Best first: distractor, junk by label, same camera, wrong, good, good.
  const OwnedSet gallery{0, {}, {0, -1, 7, 3, 7, 7}, {2, 2, 1, 2, 2, 3}};
  const std::vector<float> scores{0.9f, 0.8f, 0.7f, 0.6f, 0.5f, 0.4f};
  const auto m = evaluate(query.view(), gallery.view(), scores);
  EXPECT_EQ(m.cmc, (std::vector<double>{0, 0, 1, 1, 1, 1}));
  EXPECT_DOUBLE_EQ(m.ap.at(0), average_precision(Ranks{2, 3}));
  EXPECT_DOUBLE_EQ(m.mAP_rectangular, average_precision_rectangular(Ranks{2, 3}));
  EXPECT_DOUBLE_EQ(m.mINP, 0.5);
  EXPECT_EQ(m.rank1, 0);
  EXPECT_EQ(m.rank5, 1);
  EXPECT_EQ(m.rank10, 1);  // the last entry of a short curve
  EXPECT_EQ(rank_gallery(scores, 7, 1, gallery.view(), 10), (Ranks{0, 3, 4, 5}));
  EXPECT_EQ(rank_gallery(scores, 7, 1, gallery.view(), 2), (Ranks{0, 3}));
}

TEST(ReidEvaluateTest, EqualScoresRankByGalleryIndex) {
  const OwnedSet query{0, {}, {1, 2}, {1, 1}};
  const OwnedSet gallery{0, {}, {2, 1, 2, 1}, {2, 2, 2, 2}};
  const auto m = evaluate(query.view(), gallery.view(), std::vector<float>(8, 0.5f));
  EXPECT_DOUBLE_EQ(m.ap.at(0), average_precision(Ranks{1, 3}));
  EXPECT_DOUBLE_EQ(m.ap.at(1), average_precision(Ranks{0, 2}));
  EXPECT_EQ(rank_gallery(std::vector<float>(4, 0.0f), 1, 1, gallery.view(), 4),
            (Ranks{0, 1, 2, 3}));
}

TEST(ReidEvaluateTest, QueriesWithoutMatchCountInTheDenominator) {
  const OwnedSet query{0, {}, {1, 2, 3, -1}, {1, 1, 1, 1}};
  // Identity 2 is seen by the query's own camera only, identity 3 never; -1 matches nothing.
  const OwnedSet gallery{0, {}, {1, 2, -1}, {2, 1, 2}};
  const auto m = evaluate(query.view(), gallery.view(), std::vector<float>(12, 0.0f));
  EXPECT_EQ(m.queries_without_match, 3);
  EXPECT_DOUBLE_EQ(m.rank1, 0.25);
  EXPECT_DOUBLE_EQ(m.mAP, 0.25);
  EXPECT_DOUBLE_EQ(m.over_matched(m.mAP), 1);
  EXPECT_DOUBLE_EQ(m.over_matched(m.rank1), 1);
  const OwnedSet none{0, {}, {9}, {1}};
  const auto nothing = evaluate(none.view(), gallery.view(), std::vector<float>(3, 0.0f));
  EXPECT_EQ(nothing.mAP, 0);
  EXPECT_EQ(nothing.over_matched(nothing.mAP), 0);
}

TEST(ReidEvaluateTest, WithoutCamerasOnlyTheLabelMakesJunk) {
  const OwnedSet query{0, {}, {1}, {}}, gallery{0, {}, {1, -1, 2}, {}};
  const std::vector<float> scores{0, 2, 1};
  EXPECT_DOUBLE_EQ(evaluate(query.view(), gallery.view(), scores).mAP, average_precision(Ranks{1}));
  EXPECT_EQ(rank_gallery(scores, 1, 99, gallery.view(), 5), (Ranks{2, 0}));
}

TEST(ReidEvaluateTest, EqualsTheObviousProtocolOnRandomSets) {
  for (int seed = 0; seed < 20; ++seed) {
    const testing_sets::HashCase c{"eval" + std::to_string(seed) + "/", 6, 15, 70, 4, 3, 1};
    const OwnedSet query = hash_set(c, "query"), gallery = hash_set(c, "gallery");
    // Few distinct scores, so that most are tied.
    std::vector<float> scores;
    for (const double u : hash_unit(c.prefix, c.queries * c.gallery))
      scores.push_back(static_cast<float>(std::floor(u * (seed % 2 ? 5 : 1000))));
    const Obvious expected = obvious(scores, query, gallery);
    const auto m = evaluate(query.view(), gallery.view(), scores);
    for (size_t i = 0; i < query.labels.size(); ++i) EXPECT_NEAR(m.ap[i], expected.ap[i], 1e-12);
    EXPECT_NEAR(m.mAP, mean(expected.ap), 1e-12);
    EXPECT_NEAR(m.mAP_rectangular, mean(expected.rectangular), 1e-12);
    EXPECT_NEAR(m.mINP, mean(expected.inp), 1e-12);
    for (int64_t r = 0; r < c.gallery; ++r) {
      const auto found = std::count_if(expected.first.begin(), expected.first.end(),
                                       [&](int64_t f) { return f >= 0 && f <= r; });
      EXPECT_NEAR(m.cmc[r], static_cast<double>(found) / static_cast<double>(c.queries), 1e-12);
    }
    EXPECT_GE(m.mAP_rectangular, m.mAP);
  }
}

TEST(ReidEvaluateTest, BlocksOfQueriesGiveTheSameAsEachQueryAlone) {
  // 20 M scores: more than one block.
  const testing_sets::HashCase c{"blocks/", 300, 1000, 20000, 2, 4, 0.1};
  const OwnedSet query = hash_set(c, "query"), gallery = hash_set(c, "gallery");
  int64_t calls = 0;
  const auto count = [&](int64_t begin, int64_t end, std::span<float> out) {
    ++calls;
    inner_products(std::span(query.features).subspan(begin * 2, (end - begin) * 2),
                   gallery.features, 2, out);
  };
  const auto all = evaluate(query.view(), gallery.view(), count);
  EXPECT_GE(calls, 2);
  EXPECT_EQ(evaluate(query.view(), gallery.view()).ap, all.ap);
  for (const int64_t i : {0, 500, 837, 838, 839, 840, 999}) {
    const OwnedSet one{2,
                       {query.features.begin() + 2 * i, query.features.begin() + 2 * i + 2},
                       {query.labels[i]},
                       {query.cameras[i]}};
    EXPECT_EQ(evaluate(one.view(), gallery.view()).mAP, all.ap[i]) << i;
  }
}

TEST(ReidEvaluateTest, RankGalleryAgreesWithTheMetrics) {
  const testing_sets::HashCase c{"rank/", 8, 20, 90, 8, 3, 1};
  const OwnedSet query = hash_set(c, "query"), gallery = hash_set(c, "gallery");
  const auto m = evaluate(query.view(), gallery.view());
  for (int64_t i = 0; i < c.queries; ++i) {
    const Ranks order = rank_gallery(query.view(), i, gallery.view(), c.gallery);
    Ranks good;
    for (size_t r = 0; r < order.size(); ++r)
      if (gallery.labels[order[r]] == query.labels[i]) good.push_back(static_cast<int64_t>(r));
    EXPECT_DOUBLE_EQ(average_precision(good), m.ap[i]);
    const Ranks ten = rank_gallery(query.view(), i, gallery.view(), 10);
    EXPECT_TRUE(std::equal(ten.begin(), ten.end(), order.begin()));
  }
}

TEST(ReidEvaluateTest, MultiQueryAveragesByIdentityAndCamera) {
  const OwnedSet query{2, {1, 0, 0, 1, 1, 1}, {1, 2, 3}, {1, 1, 1}};
  const OwnedSet multi{2, {2, 4, 4, 0, 9, 9, 8, 6}, {1, 1, 1, 2}, {1, 1, 2, 1}};
  EXPECT_EQ(multi_query_features(query.view(), multi.view()),
            (std::vector<float>{3, 2, 8, 6, 1, 1}));  // the last keeps its own feature
  EXPECT_EQ(multi_query_features(query.view(), RetrievalSet{}), query.features);
}

TEST(ReidEvaluateTest, RefusesInconsistentInput) {
  const OwnedSet query{2, {1, 0}, {1}, {1}}, gallery{2, {1, 0, 0, 1}, {1, 2}, {2, 2}};
  const OwnedSet wide{3, {1, 0, 0}, {1}, {1}}, short_features{2, {1}, {1}, {1}};
  const OwnedSet no_camera{2, {1, 0}, {1}, {}}, bad_camera{2, {1, 0}, {1}, {1, 2}};
  const OwnedSet nan{2, {1, std::numeric_limits<float>::quiet_NaN()}, {1}, {1}};
  EXPECT_THROW(evaluate(wide.view(), gallery.view()), ShapeError);
  EXPECT_THROW(evaluate(short_features.view(), gallery.view()), ShapeError);
  EXPECT_THROW(evaluate(no_camera.view(), gallery.view()), ShapeError);
  EXPECT_THROW(evaluate(bad_camera.view(), gallery.view()), ShapeError);
  EXPECT_THROW(evaluate(nan.view(), gallery.view()), ValueError);
  EXPECT_THROW(evaluate(RetrievalSet{.dim = 2}, gallery.view()), ValueError);
  EXPECT_THROW(evaluate(query.view(), RetrievalSet{.dim = 2}), ValueError);
  EXPECT_THROW(evaluate(query.view(), gallery.view(), std::vector<float>(3)), ShapeError);
  EXPECT_THROW(evaluate(query.view(), gallery.view(), std::vector<float>(2, std::nanf(""))),
               ValueError);
  EXPECT_THROW(rank_gallery(query.view(), 1, gallery.view(), 5), ValueError);
  EXPECT_THROW(rank_gallery(std::vector<float>(3), 1, 1, gallery.view(), 5), ShapeError);
}

TEST(InnerProductsTest, EverySizeHasTheBitsOfOneSequentialSum) {
  for (const int64_t dim : {1, 2, 7, 64}) {
    for (const int64_t rows : {1, 3, 4, 9}) {
      for (const int64_t cols : {1, 5, 15, 16, 17, 50}) {
        std::vector<float> a, b, out(static_cast<size_t>(rows * cols)), turned(out.size());
        for (const double u : hash_unit(cat("a", dim, rows), rows * dim))
          a.push_back(float(u - 0.5));
        for (const double u : hash_unit(cat("b", dim, cols), cols * dim))
          b.push_back(float(u - 0.5));
        inner_products(a, b, dim, out);
        inner_products(b, a, dim, turned);
        for (int64_t i = 0; i < rows; ++i) {
          for (int64_t j = 0; j < cols; ++j) {
            double exact = 0;
            for (int64_t k = 0; k < dim; ++k) exact += double{a[i * dim + k]} * b[j * dim + k];
            EXPECT_NEAR(out[i * cols + j], exact, 1e-7 * static_cast<double>(dim));
            volatile float sum = 0;  // no contraction, no reordering
            for (int64_t k = 0; k < dim; ++k) {
              volatile float product = a[i * dim + k] * b[j * dim + k];
              sum = sum + product;
            }
            EXPECT_EQ(out[i * cols + j], sum);
            EXPECT_EQ(out[i * cols + j], turned[j * rows + i]);
            EXPECT_EQ(out[i * cols + j], inner_product(&a[i * dim], &b[j * dim], dim));
          }
        }
      }
    }
  }
  std::vector<float> out(4);
  EXPECT_THROW(inner_products(std::vector<float>(4), std::vector<float>(4), 3, out), ShapeError);
  EXPECT_THROW(inner_products(std::vector<float>(4), std::vector<float>(4), 0, out), ShapeError);
}

TEST(InnerProductsTest, SimilarityRowsCoverTheWholeMatrix) {
  const testing_sets::HashCase c{"rows/", 5, 4500, 1, 3, 2, 1};  // 20 M values: more than one block
  const OwnedSet set = hash_set(c, "query");
  std::vector<double> sums(4500, 0);
  for_each_similarity_row(set.features, 3, [&](int64_t i, std::span<float> row) {
    ASSERT_EQ(row.size(), 4500u);
    sums[i] = row[4499];
  });
  for (int64_t i = 0; i < 4500; ++i)
    ASSERT_EQ(sums[i], inner_product(&set.features[i * 3], &set.features[4499 * 3], 3));
}

}  // namespace
}  // namespace tessera::data
