#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace tessera::data {

/// One side of a re-identification test (queries, gallery or multi-query images), not owned.
///   features  (rows, dim) float32, row-major; L2-normalised where scores shall be cosines
///   labels    (rows) identity; -1: junk, never counted; 0: distractor, always a wrong answer
///   cameras   (rows), or empty on both sides for a data set without cameras: then a gallery image
///             is junk by its label only
/// `features` may be empty, with dim 0, where only scores are ranked.
struct RetrievalSet {
  int64_t dim = 0;
  std::span<const float> features = {};
  std::span<const int64_t> labels = {};
  std::span<const int64_t> cameras = {};

  int64_t rows() const { return std::ssize(labels); }
};

/// Results over all queries. A query without a good gallery image scores 0 everywhere and stays in
/// the denominators, as in the Market-1501 evaluation; over_matched() leaves such queries out, as
/// later toolboxes do.
struct RetrievalMetrics {
  std::vector<double>
      cmc;  ///< (gallery rows): cmc[r] = share of queries with a good one in rank <= r
  double rank1 = 0, rank5 = 0,
         rank10 = 0;           ///< cmc at 0, 4, 9 (the last entry in smaller galleries)
  double mAP = 0;              ///< mean trapezoid AP: the Market-1501 protocol
  double mAP_rectangular = 0;  ///< mean of the usual AP, always >= mAP
  double mINP = 0;             ///< mean of good images / (1-based rank of the last good one)
  std::vector<double> ap;      ///< (queries) trapezoid AP
  int64_t queries_without_match = 0;

  /// A mean of this result (rank1, mAP, cmc[r], ...) over the queries with a match only; 0 if none.
  double over_matched(double mean) const;
};

/// Fills scores (end - begin, gallery rows), higher is better, for the queries [begin, end).
using ScoreRows = std::function<void(int64_t begin, int64_t end, std::span<float> scores)>;

/// Retrieval by inner product. For a query of identity q and camera k, the gallery images of
/// identity q and another camera are good; those of label -1, and of identity q and camera k, are
/// junk and leave the ranking. Order: score descending, equal scores by ascending gallery index.
/// Scores are computed for a block of queries at a time: 64 MiB at most, or one row if that is
/// more. Throws ShapeError (sizes), ValueError (no query, no gallery image, a feature or score that
/// is NaN). Source: Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015; mINP:
/// Ye et al., arXiv 2001.04193.
RetrievalMetrics evaluate(const RetrievalSet& query, const RetrievalSet& gallery);
/// The same for given scores (queries, gallery rows), higher is better.
RetrievalMetrics evaluate(const RetrievalSet& query, const RetrievalSet& gallery,
                          std::span<const float> scores);
/// The same for scores made block by block (re-ranked, or read from elsewhere).
RetrievalMetrics evaluate(const RetrievalSet& query, const RetrievalSet& gallery,
                          const ScoreRows& scores);

/// Query features (queries, dim) for multi-query retrieval: the mean, not renormalised, of the rows
/// of `multi` with the query's identity and camera; the query's own feature where there is none.
/// Evaluate with a RetrievalSet that has these features.
std::vector<float> multi_query_features(const RetrievalSet& query, const RetrievalSet& multi);

/// Gallery indices for a query of `label` and `camera`, best first, junk removed (see evaluate), at
/// most `top` of them. scores: (gallery rows). The camera is ignored if the gallery has none.
std::vector<int64_t> rank_gallery(std::span<const float> scores, int64_t label, int64_t camera,
                                  const RetrievalSet& gallery, int64_t top);
/// The same for query number `index` by inner product. ValueError if it is out of range.
std::vector<int64_t> rank_gallery(const RetrievalSet& query, int64_t index,
                                  const RetrievalSet& gallery, int64_t top);

/// Average precision of good images at the 0-based ranks r_0 < r_1 < ... (junk not counted); 0 for
/// none. Trapezoid: mean of (i / r_i + (i + 1) / (r_i + 1)) / 2, the first term being 1 where r_i
/// is 0. Rectangular: mean of (i + 1) / (r_i + 1).
double average_precision(std::span<const int64_t> good_ranks);
double average_precision_rectangular(std::span<const int64_t> good_ranks);

/// Throws ShapeError unless the sizes of `set` agree and ValueError for a feature that is not
/// finite. `name` ("query") begins the message. With features_needed, dim and features must be
/// present.
void check_retrieval_set(const RetrievalSet& set, const char* name, bool features_needed);

/// Features of the queries and the gallery one after the other, (queries + gallery rows, dim).
/// Throws as evaluate(); ValueError for more than 2^31 - 1 rows.
std::vector<float> join_features(const RetrievalSet& query, const RetrievalSet& gallery);

}  // namespace tessera::data
