#include "data/eval/reid.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

#include "data/eval/similarity.h"
#include "tensor/error.h"
#include "tensor/parallel.h"

namespace tessera::data {
namespace {

constexpr int64_t kBlockFloats = int64_t{1} << 24;  // 64 MiB of scores

struct Query {
  int64_t label;
  int64_t camera;
  bool has_camera;
};

Query query_at(const RetrievalSet& set, int64_t i) {
  const bool has_camera = !set.cameras.empty();
  return {set.labels[i], has_camera ? set.cameras[i] : 0, has_camera};
}

bool is_junk(const Query& q, const RetrievalSet& gallery, int64_t j) {
  if (gallery.labels[j] == -1) return true;
  return q.has_camera && gallery.labels[j] == q.label && gallery.cameras[j] == q.camera;
}

void check_scores(std::span<const float> scores) {
  for (const float s : scores)
    TESSERA_CHECK(ValueError, !std::isnan(s), "evaluate: a score is NaN");
}

// The order of a ranking: score descending, then gallery index ascending.
bool before(float score, int64_t index, float other_score, int64_t other_index) {
  return score > other_score || (score == other_score && index < other_index);
}

// 0-based ranks of the good images. Only they are sorted; every other image that counts adds one to
// the ranks of the good images behind it.
std::vector<int64_t> good_ranks(std::span<const float> scores, const Query& q,
                                const RetrievalSet& gallery) {
  std::vector<int64_t> good;
  for (int64_t j = 0; j < gallery.rows(); ++j)
    if (gallery.labels[j] == q.label && !is_junk(q, gallery, j)) good.push_back(j);
  if (good.empty()) return {};
  std::sort(good.begin(), good.end(),
            [&](int64_t a, int64_t b) { return before(scores[a], a, scores[b], b); });
  std::vector<int64_t> ahead(good.size() + 1, 0);  // images between one good image and the next
  for (int64_t j = 0; j < gallery.rows(); ++j) {
    if (gallery.labels[j] == q.label || gallery.labels[j] == -1) continue;
    const auto behind = std::lower_bound(good.begin(), good.end(), j, [&](int64_t a, int64_t b) {
      return before(scores[a], a, scores[b], b);
    });
    ++ahead[static_cast<size_t>(behind - good.begin())];
  }
  std::vector<int64_t> ranks(good.size());
  int64_t others = 0;
  for (size_t i = 0; i < good.size(); ++i) {
    others += ahead[i];
    ranks[i] = others + static_cast<int64_t>(i);
  }
  return ranks;
}

struct QueryResult {
  int64_t first = -1;  // rank of the first good image, -1 if there is none
  double ap = 0, ap_rectangular = 0, inp = 0;
};

QueryResult evaluate_query(std::span<const float> scores, const Query& q,
                           const RetrievalSet& gallery) {
  check_scores(scores);
  const std::vector<int64_t> ranks = good_ranks(scores, q, gallery);
  if (ranks.empty()) return {};
  return {ranks.front(), average_precision(ranks), average_precision_rectangular(ranks),
          static_cast<double>(ranks.size()) / static_cast<double>(ranks.back() + 1)};
}

RetrievalMetrics summarise(std::span<const QueryResult> results, int64_t gallery_rows) {
  RetrievalMetrics m;
  const double count = static_cast<double>(results.size());
  std::vector<int64_t> found(static_cast<size_t>(gallery_rows), 0);
  for (const QueryResult& r : results) {
    m.ap.push_back(r.ap);
    m.mAP += r.ap / count;
    m.mAP_rectangular += r.ap_rectangular / count;
    m.mINP += r.inp / count;
    if (r.first < 0)
      ++m.queries_without_match;
    else
      ++found[static_cast<size_t>(r.first)];
  }
  std::partial_sum(found.begin(), found.end(), found.begin());
  for (const int64_t n : found) m.cmc.push_back(static_cast<double>(n) / count);
  const auto at = [&](int64_t r) {
    return m.cmc[static_cast<size_t>(std::min(r, gallery_rows - 1))];
  };
  m.rank1 = at(0);
  m.rank5 = at(4);
  m.rank10 = at(9);
  return m;
}

void check_pair(const RetrievalSet& query, const RetrievalSet& gallery, bool features_needed) {
  check_retrieval_set(query, "query", features_needed);
  check_retrieval_set(gallery, "gallery", features_needed);
  TESSERA_CHECK(ValueError, query.rows() > 0 && gallery.rows() > 0,
                "retrieval needs at least one query and one gallery image, got ", query.rows(),
                " and ", gallery.rows());
  TESSERA_CHECK(
      ShapeError, query.cameras.empty() == gallery.cameras.empty(),
      "retrieval: cameras must be given for both the queries and the gallery, or neither");
  TESSERA_CHECK(ShapeError, !features_needed || query.dim == gallery.dim, "retrieval: query dim ",
                query.dim, " differs from gallery dim ", gallery.dim);
}

ScoreRows inner_product_rows(const RetrievalSet& query, const RetrievalSet& gallery) {
  return [query, gallery](int64_t begin, int64_t end, std::span<float> scores) {
    const auto rows = query.features.subspan(static_cast<size_t>(begin * query.dim),
                                             static_cast<size_t>((end - begin) * query.dim));
    inner_products(rows, gallery.features, query.dim, scores);
  };
}

}  // namespace

double RetrievalMetrics::over_matched(double mean) const {
  const double all = static_cast<double>(ap.size());
  const double matched = all - static_cast<double>(queries_without_match);
  return matched > 0 ? mean * all / matched : 0;
}

void check_retrieval_set(const RetrievalSet& set, const char* name, bool features_needed) {
  TESSERA_CHECK(ShapeError, set.cameras.empty() || set.cameras.size() == set.labels.size(), name,
                ": ", set.labels.size(), " labels but ", set.cameras.size(), " cameras");
  if (!features_needed) return;
  TESSERA_CHECK(ShapeError,
                set.dim >= 1 && set.features.size() % static_cast<size_t>(set.dim) == 0 &&
                    std::ssize(set.features) / set.dim == set.rows(),
                name, ": ", set.features.size(), " features are not (", set.rows(), ", ", set.dim,
                ")");
  for (const float v : set.features)
    TESSERA_CHECK(ValueError, std::isfinite(v), name, ": a feature is not finite");
}

std::vector<float> join_features(const RetrievalSet& query, const RetrievalSet& gallery) {
  check_pair(query, gallery, true);
  TESSERA_CHECK(ValueError, query.rows() + gallery.rows() <= std::numeric_limits<int32_t>::max(),
                "re-ranking: ", query.rows() + gallery.rows(), " rows are too many to index");
  std::vector<float> all;
  all.reserve(query.features.size() + gallery.features.size());
  all.insert(all.end(), query.features.begin(), query.features.end());
  all.insert(all.end(), gallery.features.begin(), gallery.features.end());
  return all;
}

double average_precision(std::span<const int64_t> ranks) {
  double sum = 0;
  for (size_t i = 0; i < ranks.size(); ++i) {
    const double n = static_cast<double>(i), r = static_cast<double>(ranks[i]);
    sum += ((ranks[i] == 0 ? 1.0 : n / r) + (n + 1) / (r + 1)) / 2;
  }
  return ranks.empty() ? 0 : sum / static_cast<double>(ranks.size());
}

double average_precision_rectangular(std::span<const int64_t> ranks) {
  double sum = 0;
  for (size_t i = 0; i < ranks.size(); ++i)
    sum += static_cast<double>(i + 1) / static_cast<double>(ranks[i] + 1);
  return ranks.empty() ? 0 : sum / static_cast<double>(ranks.size());
}

RetrievalMetrics evaluate(const RetrievalSet& query, const RetrievalSet& gallery,
                          const ScoreRows& scores) {
  check_pair(query, gallery, false);
  const int64_t block = std::clamp<int64_t>(kBlockFloats / gallery.rows(), 1, query.rows());
  std::vector<float> buffer(static_cast<size_t>(block * gallery.rows()));
  std::vector<QueryResult> results(static_cast<size_t>(query.rows()));
  const size_t cols = static_cast<size_t>(gallery.rows());
  for (int64_t begin = 0; begin < query.rows(); begin += block) {
    const int64_t end = std::min(begin + block, query.rows());
    const std::span<float> rows(buffer.data(), static_cast<size_t>(end - begin) * cols);
    scores(begin, end, rows);
    parallel_for(begin, end, 4, [&](int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i)
        results[static_cast<size_t>(i)] = evaluate_query(
            rows.subspan(static_cast<size_t>(i - begin) * cols, cols), query_at(query, i), gallery);
    });
  }
  return summarise(results, gallery.rows());
}

RetrievalMetrics evaluate(const RetrievalSet& query, const RetrievalSet& gallery) {
  check_pair(query, gallery, true);
  return evaluate(query, gallery, inner_product_rows(query, gallery));
}

RetrievalMetrics evaluate(const RetrievalSet& query, const RetrievalSet& gallery,
                          std::span<const float> scores) {
  TESSERA_CHECK(ShapeError, std::ssize(scores) == query.rows() * gallery.rows(),
                "evaluate: ", scores.size(), " scores are not (", query.rows(), ", ",
                gallery.rows(), ")");
  return evaluate(query, gallery, [&](int64_t begin, int64_t, std::span<float> out) {
    const auto from = scores.subspan(static_cast<size_t>(begin * gallery.rows()), out.size());
    std::copy(from.begin(), from.end(), out.begin());
  });
}

std::vector<float> multi_query_features(const RetrievalSet& query, const RetrievalSet& multi) {
  if (multi.rows() == 0) return {query.features.begin(), query.features.end()};
  check_pair(query, multi, true);
  std::map<std::pair<int64_t, int64_t>, std::vector<int64_t>> groups;
  for (int64_t j = 0; j < multi.rows(); ++j) {
    const Query key = query_at(multi, j);
    groups[{key.label, key.camera}].push_back(j);
  }
  std::vector<float> out(query.features.begin(), query.features.end());
  for (int64_t i = 0; i < query.rows(); ++i) {
    const Query key = query_at(query, i);
    const auto group = groups.find({key.label, key.camera});
    if (group == groups.end()) continue;
    float* mean = out.data() + i * query.dim;
    std::fill(mean, mean + query.dim, 0.0f);
    for (const int64_t j : group->second)
      for (int64_t k = 0; k < query.dim; ++k) mean[k] += multi.features[j * query.dim + k];
    for (int64_t k = 0; k < query.dim; ++k) mean[k] /= static_cast<float>(group->second.size());
  }
  return out;
}

std::vector<int64_t> rank_gallery(std::span<const float> scores, int64_t label, int64_t camera,
                                  const RetrievalSet& gallery, int64_t top) {
  check_retrieval_set(gallery, "gallery", false);
  TESSERA_CHECK(ShapeError, std::ssize(scores) == gallery.rows(), "rank_gallery: ", scores.size(),
                " scores for ", gallery.rows(), " gallery images");
  check_scores(scores);
  const Query q{label, camera, !gallery.cameras.empty()};
  std::vector<int64_t> order;
  for (int64_t j = 0; j < gallery.rows(); ++j)
    if (!is_junk(q, gallery, j)) order.push_back(j);
  const int64_t count = std::clamp<int64_t>(top, 0, std::ssize(order));
  std::partial_sort(order.begin(), order.begin() + count, order.end(),
                    [&](int64_t a, int64_t b) { return before(scores[a], a, scores[b], b); });
  order.resize(static_cast<size_t>(count));
  return order;
}

std::vector<int64_t> rank_gallery(const RetrievalSet& query, int64_t index,
                                  const RetrievalSet& gallery, int64_t top) {
  check_pair(query, gallery, true);
  TESSERA_CHECK(ValueError, index >= 0 && index < query.rows(), "rank_gallery: query ", index,
                " of ", query.rows());
  std::vector<float> scores(static_cast<size_t>(gallery.rows()));
  inner_product_rows(query, gallery)(index, index + 1, scores);
  const Query q = query_at(query, index);
  return rank_gallery(scores, q.label, q.camera, gallery, top);
}

}  // namespace tessera::data
