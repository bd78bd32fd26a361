#include "data/eval/reid_rerank.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "data/eval/similarity.h"
#include "io/npz.h"
#include "tensor/error.h"
#include "tests/data/reid_test_sets.h"

namespace tessera::data {
namespace {

using testing_sets::hash_set;
using testing_sets::hash_unit;
using testing_sets::HashCase;
using testing_sets::OwnedSet;

using Matrix = std::vector<std::vector<double>>;

/// Unit rows sin(0.9 i + 1.1 j) + 0.3 cos(2.3 i (j + 1)), j = 0..2, for i in [first, last).
OwnedSet wave_set(int first, int last) {
  OwnedSet set;
  set.dim = 3;
  for (int i = first; i < last; ++i) {
    double row[3], square = 0;
    for (int j = 0; j < 3; ++j) {
      row[j] = std::sin(0.9 * i + 1.1 * j) + 0.3 * std::cos(2.3 * i * (j + 1));
      square += row[j] * row[j];
    }
    for (const double v : row) set.features.push_back(static_cast<float>(v / std::sqrt(square)));
    set.labels.push_back(i);
    set.cameras.push_back(0);
  }
  return set;
}

void expect_rows(const std::vector<float>& got, const std::vector<std::vector<double>>& rows) {
  for (size_t i = 0; i < rows.size(); ++i)
    for (size_t j = 0; j < rows[i].size(); ++j)
      EXPECT_NEAR(got[i * rows[i].size() + j], rows[i][j], 2e-6) << i << "," << j;
}

TEST(KReciprocalTest, KnownDistances) {
  const OwnedSet query = wave_set(0, 3), gallery = wave_set(10, 19);
  expect_rows(rerank_k_reciprocal(query.view(), gallery.view(), {4, 2, 0.3}),
              {{1.0, .991762, .629440, .549571, .000023, .229510, .784028, .989801, .982541},
               {.898574, .984024, .772926, .670032, .119090, .126055, .693455, .875450, 1.0},
               {.397252, .689554, .980107, 1.0, .759897, .643968, .000023, .392313, .739153}});
  expect_rows(rerank_k_reciprocal(query.view(), gallery.view(), {5, 3, 0.3}),
              {{.946101, .917471, .673457, .453922, .000023, .150216, .700006, .935901, .902874}});
  expect_rows(rerank_k_reciprocal(query.view(), gallery.view(), {4, 1, 0.3}),
              {{1.0, .991762, .741507, .434280, .011787, .250197, .752536, .989801, .982541}});
}

TEST(GraphRerankTest, KnownScores) {
  const OwnedSet query = wave_set(0, 3), gallery = wave_set(10, 19);
  expect_rows(
      rerank_graph(query.view(), gallery.view(), {4, 2, 0.3}),
      {{-.273211, -.234163, .172677, .357080, .994936, .856886, -.075554, -.263383, -.223105},
       {-.186133, -.264836, -.025774, .140943, .972109, .956291, .086772, -.156952, -.279825},
       {.770578, .196841, -.266908, -.286693, -.046505, .118091, .994808, .797667, .101615}});
}

/// Similarities of all rows (float32, so that near ties order as in the library) and the orders by
/// a key of them.
Matrix similarities(const OwnedSet& query, const OwnedSet& gallery) {
  std::vector<float> all = query.features;
  all.insert(all.end(), gallery.features.begin(), gallery.features.end());
  const size_t n = query.labels.size() + gallery.labels.size();
  Matrix s(n, std::vector<double>(n));
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j)
      s[i][j] = inner_product(&all[i * static_cast<size_t>(query.dim)],
                              &all[j * static_cast<size_t>(query.dim)], query.dim);
  return s;
}

std::vector<size_t> ascending(const std::vector<double>& keys) {
  std::vector<size_t> order(keys.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return keys[a] < keys[b]; });
  return order;
}

/// Original distances: the order-deciding steps in float32, as the definition asks.
Matrix original_distances(const Matrix& s) {
  Matrix d = s;
  for (std::vector<double>& row : d) {
    float largest = 0;
    for (double& x : row) {
      const float root = static_cast<float>(2 - 2 * x);
      x = static_cast<float>(root * root);
      largest = std::max(largest, static_cast<float>(x));
    }
    for (double& x : row) x = static_cast<float>(x) / largest;
  }
  return d;
}

std::set<size_t> reciprocal(const std::vector<std::vector<size_t>>& order, size_t i, size_t k) {
  std::set<size_t> out;
  const auto near = [&](size_t a, size_t b) {
    const auto end = order[a].begin() + static_cast<ptrdiff_t>(std::min(k + 1, order.size()));
    return std::find(order[a].begin(), end, b) != end;
  };
  for (size_t j = 0; j < order.size(); ++j)
    if (near(i, j) && near(j, i)) out.insert(j);
  return out;
}

/// k-reciprocal re-ranking with dense float64 matrices.
Matrix dense_k_reciprocal(const OwnedSet& query, const OwnedSet& gallery,
                          const KReciprocalOptions& o) {
  const Matrix d = original_distances(similarities(query, gallery));
  const size_t n = d.size(), nq = query.labels.size();
  const size_t half = static_cast<size_t>(std::nearbyint(static_cast<double>(o.k1) / 2));
  std::vector<std::vector<size_t>> order;
  for (const auto& row : d) order.push_back(ascending(row));
  Matrix v(n, std::vector<double>(n, 0));
  for (size_t i = 0; i < n; ++i) {
    const std::set<size_t> mutual = reciprocal(order, i, static_cast<size_t>(o.k1));
    std::set<size_t> expanded = mutual;
    for (const size_t c : mutual) {
      const std::set<size_t> theirs = reciprocal(order, c, half);
      double common = 0;
      for (const size_t j : theirs) common += mutual.count(j) ? 1 : 0;
      if (common > 2.0 / 3 * static_cast<double>(theirs.size()))
        expanded.insert(theirs.begin(), theirs.end());
    }
    double sum = 0;
    for (const size_t j : expanded) sum += v[i][j] = std::exp(-d[i][j]);
    for (double& x : v[i]) x /= sum;
  }
  const size_t k2 = std::min(static_cast<size_t>(o.k2), n);
  Matrix mean(n, std::vector<double>(n, 0));
  for (size_t i = 0; i < n; ++i)
    for (size_t t = 0; t < k2; ++t)
      for (size_t j = 0; j < n; ++j) mean[i][j] += v[order[i][t]][j] / static_cast<double>(k2);
  Matrix out(nq, std::vector<double>(n - nq));
  for (size_t i = 0; i < nq; ++i) {
    for (size_t j = nq; j < n; ++j) {
      double m = 0;
      for (size_t k = 0; k < n; ++k) m += std::min(mean[i][k], mean[j][k]);
      out[i][j - nq] = (1 - o.lambda) * (1 - m / (2 - m)) + o.lambda * d[i][j];
    }
  }
  return out;
}

/// Graph re-ranking with dense float64 matrices.
Matrix dense_graph(const OwnedSet& query, const OwnedSet& gallery, const GraphRerankOptions& o) {
  const Matrix s = similarities(query, gallery);
  const size_t n = s.size(), nq = query.labels.size();
  std::vector<std::vector<size_t>> order;
  Matrix a(n, std::vector<double>(n, 0));
  for (size_t i = 0; i < n; ++i) {
    std::vector<double> keys = s[i];
    for (double& x : keys) x = -x;
    order.push_back(ascending(keys));
    for (size_t t = 0; t < std::min(static_cast<size_t>(o.k1), n); ++t) a[i][order[i][t]] = 1;
  }
  for (int step = 0; step < (o.k2 == 1 ? 0 : 2); ++step) {
    Matrix next(n, std::vector<double>(n, 0));
    for (size_t i = 0; i < n; ++i) {
      double square = 0;
      for (size_t j = 0; j < n; ++j) {
        for (size_t t = 0; t < std::min(static_cast<size_t>(o.k2), n); ++t) {
          const size_t near = order[i][t];
          next[i][j] += s[i][near] * s[i][near] * (a[near][j] + a[j][near]);
        }
        square += next[i][j] * next[i][j];
      }
      for (double& x : next[i]) x /= std::sqrt(square);
    }
    a = next;
  }
  Matrix out(nq, std::vector<double>(n - nq, 0));
  for (size_t i = 0; i < nq; ++i) {
    for (size_t j = nq; j < n; ++j) {
      for (size_t k = 0; k < n; ++k) out[i][j - nq] += (1 - o.lambda) * a[i][k] * a[j][k];
      out[i][j - nq] += o.lambda * s[i][j];
    }
  }
  return out;
}

const std::vector<HashCase> kCases{{"r0/", 8, 10, 60, 8, 3, 0.8},
                                   {"r1/", 5, 4, 40, 4, 2, 1.5},
                                   {"r2/", 20, 12, 90, 16, 4, 2.0},
                                   {"r3/", 3, 6, 30, 2, 2, 0.5},
                                   {"r4/", 12, 20, 120, 16, 4, 0.9}};

TEST(KReciprocalTest, EqualsTheDenseReferenceOnRandomSets) {
  for (const HashCase& c : kCases) {
    const OwnedSet query = hash_set(c, "query"), gallery = hash_set(c, "gallery");
    for (const KReciprocalOptions& o : std::vector<KReciprocalOptions>{{20, 6, 0.3},
                                                                       {7, 3, 0.1},
                                                                       {6, 1, 0.3},
                                                                       {5, 6, 0.5},
                                                                       {4, 2, 0},
                                                                       {1, 1, 1},
                                                                       {500, 9, 0.3}})
      expect_rows(rerank_k_reciprocal(query.view(), gallery.view(), o),
                  dense_k_reciprocal(query, gallery, o));
  }
}

TEST(GraphRerankTest, EqualsTheDenseReferenceOnRandomSets) {
  for (const HashCase& c : kCases) {
    const OwnedSet query = hash_set(c, "query"), gallery = hash_set(c, "gallery");
    for (const GraphRerankOptions& o : std::vector<GraphRerankOptions>{{26, 7, 0.3},
                                                                       {6, 3, 0.1},
                                                                       {6, 1, 0.3},
                                                                       {5, 5, 0.5},
                                                                       {4, 2, 0},
                                                                       {1, 1, 1},
                                                                       {500, 9, 0.3}}) {
      const auto got = rerank_graph(query.view(), gallery.view(), o);
      const Matrix expected = dense_graph(query, gallery, o);
      for (size_t i = 0; i < expected.size(); ++i)
        for (size_t j = 0; j < expected[i].size(); ++j)
          ASSERT_NEAR(got[i * expected[i].size() + j], expected[i][j],
                      4e-6 * std::max(1.0, std::fabs(expected[i][j])));
    }
  }
}

TEST(RerankTest, BlocksOfQueriesAndMetricsAgreeWithTheWholeMatrix) {
  const HashCase& c = kCases[4];
  const OwnedSet query = hash_set(c, "query"), gallery = hash_set(c, "gallery");
  std::vector<float> distances = rerank_k_reciprocal(query.view(), gallery.view());
  std::vector<float> scores = rerank_graph(query.view(), gallery.view());
  const KReciprocal k_reciprocal(query.view(), gallery.view());
  const GraphRerank graph(query.view(), gallery.view());
  std::vector<float> part(static_cast<size_t>(3 * c.gallery));
  k_reciprocal.distances(5, 8, part);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), distances.begin() + 5 * c.gallery));
  graph.scores(5, 8, part);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), scores.begin() + 5 * c.gallery));
  for (float& d : distances) d = -d;
  EXPECT_EQ(evaluate_k_reciprocal(query.view(), gallery.view()).ap,
            evaluate(query.view(), gallery.view(), distances).ap);
  EXPECT_EQ(evaluate_graph(query.view(), gallery.view()).ap,
            evaluate(query.view(), gallery.view(), scores).ap);
  EXPECT_THROW(k_reciprocal.distances(5, 7, part), ShapeError);
  EXPECT_THROW(k_reciprocal.distances(18, 21, part), ValueError);
  EXPECT_THROW(graph.scores(5, 7, part), ShapeError);
  EXPECT_THROW(graph.scores(-1, 2, part), ValueError);
}

TEST(RerankTest, EqualFeaturesAndTinySetsStayFinite) {
  const OwnedSet one{2, {1, 0}, {1}, {1}}, same{2, {1, 0, 1, 0, 1, 0}, {1, 1, 2}, {2, 2, 2}};
  for (const float d : rerank_k_reciprocal(one.view(), same.view())) EXPECT_NEAR(d, 0, 1e-6);
  constexpr int64_t kAll = std::numeric_limits<int64_t>::max();  // cut to the number of rows
  for (const float d : rerank_k_reciprocal(one.view(), same.view(), {kAll, kAll, 0.3}))
    EXPECT_NEAR(d, 0, 1e-6);
  for (const float s : rerank_graph(one.view(), same.view())) EXPECT_NEAR(s, 1, 1e-6);
  const OwnedSet zero{2, {0, 0}, {1}, {1}};
  for (const float s : rerank_graph(zero.view(), zero.view())) EXPECT_TRUE(std::isfinite(s));
}

TEST(RerankTest, RefusesBadOptions) {
  const OwnedSet query = wave_set(0, 3), gallery = wave_set(10, 19);
  for (const KReciprocalOptions& o : std::vector<KReciprocalOptions>{
           {0, 1, 0.3}, {4, 0, 0.3}, {4, 6, 0.3}, {4, 2, -0.1}, {4, 2, 1.1}})
    EXPECT_THROW(rerank_k_reciprocal(query.view(), gallery.view(), o), ValueError);
  for (const GraphRerankOptions& o :
       std::vector<GraphRerankOptions>{{0, 0, 0.3}, {4, 0, 0.3}, {4, 5, 0.3}, {4, 2, std::nan("")}})
    EXPECT_THROW(rerank_graph(query.view(), gallery.view(), o), ValueError);
  EXPECT_THROW(rerank_graph(RetrievalSet{.dim = 3}, gallery.view()), ValueError);
  EXPECT_THROW(expand_queries(query.view(), gallery.view(), {0, 3}), ValueError);
}

TEST(QueryExpansionTest, WeightsTheNearestByTheirSimilarity) {
  // Lengths differ: neighbours are found by cosine, the averaged vectors keep their length.
  const OwnedSet query{2, {2, 0}, {1}, {1}}, gallery{2, {3, 4, -5, 0, 0, 0}, {1, 2, 3}, {2, 2, 2}};
  const auto out = expand_queries(query.view(), gallery.view(), {2, 3});
  const double w = 0.6 * 0.6 * 0.6;
  const std::vector<double> expected{(2 + 3 * w) / 2,
                                     4 * w / 2,  // (2, 0) and (3, 4)
                                     (3 + 2 * w) / 2,
                                     4.0 / 2,  // (3, 4) and (2, 0)
                                     -5.0 / 2,
                                     0,  // nothing else is similar
                                     0,
                                     0};
  ASSERT_EQ(out.size(), expected.size());
  for (size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], expected[i], 1e-6) << i;
  EXPECT_EQ(expand_queries(query.view(), gallery.view(), {1, 0}).at(0), 2);
}

TEST(SparseRowsTest, SmallestTakesEqualKeysInOrder) {
  const std::vector<float> keys{3, 1, 2, 1, 1, 0, 2};
  EXPECT_EQ(smallest(keys, 1), (std::vector<int32_t>{5}));
  EXPECT_EQ(smallest(keys, 3), (std::vector<int32_t>{5, 1, 3}));
  EXPECT_EQ(smallest(keys, 7), (std::vector<int32_t>{5, 1, 3, 4, 2, 6, 0}));
}

TEST(SparseRowsTest, ManyRowsKeepTheirOrderAndTranspose) {
  // Row i holds i at column i % 7 and 1 at column 3; more rows than one part.
  const SparseRows a = build_sparse_rows(
      1500, 7,
      [](int64_t i, RowAccumulator& sum, std::vector<int32_t>& cols, std::vector<float>& v) {
        sum.add(static_cast<int32_t>(i % 7), static_cast<float>(i));
        sum.add(3, 1);
        sum.take(cols, v);
      });
  const SparseRows t = transpose(a, 700, 1500), part = slice(a, 700, 1500);
  ASSERT_EQ(a.rows(), 1500);
  ASSERT_EQ(t.rows(), 7);
  ASSERT_EQ(t.cols_of(3).size(), 800u);
  for (int64_t i = 700; i < 1500; ++i) {
    const size_t expected = i % 7 == 3 ? 1 : 2;
    ASSERT_EQ(a.cols_of(i).size(), expected);
    ASSERT_TRUE(std::is_sorted(a.cols_of(i).begin(), a.cols_of(i).end()));
    ASSERT_EQ(a.values_of(i)[i % 7 > 3 ? 1 : 0], static_cast<float>(i) + (i % 7 == 3 ? 1 : 0));
    ASSERT_EQ(t.cols_of(3)[i - 700], i - 700);
    ASSERT_EQ(part.values_of(i - 700)[0], a.values_of(i)[0]);
  }
}

/// Expected figures of a generated case; they come from the published re-ranking code.
struct Figures {
  double rank1, rank5, rank10, mAP;
};
void expect_figures(const RetrievalMetrics& m, const Figures& f, double tolerance) {
  EXPECT_NEAR(m.rank1, f.rank1, tolerance);
  EXPECT_NEAR(m.rank5, f.rank5, tolerance);
  EXPECT_NEAR(m.rank10, f.rank10, tolerance);
  EXPECT_NEAR(m.mAP, f.mAP, tolerance);
}
void expect_case(const OwnedSet& query, const OwnedSet& gallery, const Figures& plain,
                 const Figures& multi, const Figures& reranked, const KReciprocalOptions& o) {
  expect_figures(evaluate(query.view(), gallery.view()), plain, 1e-6);
  OwnedSet averaged = query;
  averaged.features = multi_query_features(query.view(), query.view());
  expect_figures(evaluate(averaged.view(), gallery.view()), multi, 1e-6);
  expect_figures(evaluate_k_reciprocal(query.view(), gallery.view(), o), reranked, 1e-6);
}

TEST(ReidGoldenTest, GeneratedSetsGiveThePublishedCodesFigures) {
  const HashCase small{"small/", 12, 20, 120, 16, 4, 0.9};
  expect_case(hash_set(small, "query"), hash_set(small, "gallery"), {0.9, 1, 1, 0.851819262011681},
              {0.9, 1, 1, 0.8719581509005699}, {0.95, 1, 1, 0.960855461403062}, {20, 6, 0.3});
  const HashCase medium{"medium/", 60, 100, 900, 64, 6, 2.2};
  expect_case(hash_set(medium, "query"), hash_set(medium, "gallery"),
              {0.26, 0.6, 0.81, 0.1415105587219007}, {0.36, 0.63, 0.82, 0.17404786175991457},
              {0.24, 0.62, 0.72, 0.16085945558896458}, {20, 6, 0.3});
}

/// Every case of $TESSERA_GOLDEN_DIR/reid/meta.json.
TEST(ReidGoldenTest, StoredResults) {
  const char* root = std::getenv("TESSERA_GOLDEN_DIR");
  if (!root) GTEST_SKIP() << "TESSERA_GOLDEN_DIR is not set";
  const std::filesystem::path folder = std::filesystem::path(root) / "reid";
  std::ifstream file(folder / "meta.json");
  ASSERT_TRUE(file) << folder;
  const nlohmann::json meta = nlohmann::json::parse(file);
  ASSERT_FALSE(meta.empty());
  for (const auto& [name, info] : meta.items()) {
    SCOPED_TRACE(name);
    const auto arrays = io::read_npz(folder / (name + ".npz"));
    const auto side = [&, &info = info](const std::string& which) {
      return OwnedSet{info.at("dim"), arrays.at(which).as<float>(),
                      arrays.at(which + "_label").as<int64_t>(),
                      arrays.at(which + "_cam").as<int64_t>()};
    };
    const auto figures = [&, &info = info](const char* kind) {
      const auto& f = info.at(kind);
      return Figures{f.at("rank1"), f.at("rank5"), f.at("rank10"), f.at("mAP")};
    };
    const OwnedSet query = side("query"), gallery = side("gallery");
    const HashCase made{info.at("prefix"),  info.at("ids"), info.at("queries"),
                        info.at("gallery"), info.at("dim"), info.at("cameras"),
                        info.at("spread")};
    EXPECT_EQ(hash_set(made, "query").labels, query.labels);
    EXPECT_EQ(hash_set(made, "gallery").cameras, gallery.cameras);
    const KReciprocalOptions options{info.at("k1"), info.at("k2"), info.at("lambda")};
    expect_case(query, gallery, figures("plain"), figures("multi_query"), figures("reranked"),
                options);
    const auto similarity = arrays.at("similarity").as<float>();
    std::vector<float> scores(similarity.size());
    inner_products(query.features, gallery.features, query.dim, scores);
    for (size_t i = 0; i < scores.size(); ++i) ASSERT_NEAR(scores[i], similarity[i], 5e-7);
    const auto expected = arrays.at("reranked").as<float>();
    const auto distances = rerank_k_reciprocal(query.view(), gallery.view(), options);
    ASSERT_EQ(distances.size(), expected.size());
    for (size_t i = 0; i < distances.size(); ++i) ASSERT_NEAR(distances[i], expected[i], 1e-5);
  }
}

}  // namespace
}  // namespace tessera::data
