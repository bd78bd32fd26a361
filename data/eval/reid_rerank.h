#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/eval/reid.h"
#include "data/eval/sparse_rows.h"

namespace tessera::data {

/// k1: neighbours that may be reciprocal; k2: rows averaged by the local query expansion (1: none);
/// lambda: weight of the original distance. 1 <= k2 <= k1 + 1, k1 >= 1, 0 <= lambda <= 1.
struct KReciprocalOptions {
  int64_t k1 = 20;
  int64_t k2 = 6;
  double lambda = 0.3;
};

/// k-reciprocal re-ranking: Jaccard distances between sets of mutual neighbours, mixed with the
/// original distances. Exact, and in float32 as the dense form computes it, but sparse: the
/// constructor streams over blocks of the similarity matrix, N = queries + gallery rows, and keeps
/// the features (a copy), k1 + 1 neighbours per row and the non-zeros of the encoding V (about 20
/// to 200 per row). Memory beside the features: about N * (4 k1 + 16 nnz) bytes and blocks of 64
/// MiB; time N^2 dim multiply-adds.
///   1. D0 = (2 - 2 S)^2 with S all cosines, the square of the squared distance; D: each row of D0
///      divided by its maximum.
///   2. R(i, k) = {j in the k + 1 nearest of i, itself included : i in the k + 1 nearest of j};
///   R*(i) =
///      R(i, k1) and every R(c, h), c in R(i, k1), of which more than 2/3 lie in R(i, k1);
///      h = k1 / 2 rounded half to even.
///   3. V[i, j] = exp(-D[i, j]) on R*(i), rows normalised to sum 1, then averaged over the k2
///   nearest.
///   4. m = sum over k of min(V[i, k], V[j, k]); distance = (1 - lambda) (1 - m / (2 - m)) + lambda
///   D.
/// Neighbours at equal distance are taken by ascending index. k1 + 1 and k2 are cut to N.
/// Differences to the published code: none in the values; where all features are equal, D is 0
/// instead of NaN. Source: Zhong et al., Re-ranking Person Re-identification with k-reciprocal
/// Encoding, CVPR 2017.
class KReciprocal {
 public:
  /// The features must be L2-normalised. Throws ShapeError, ValueError (options, features that are
  /// not finite, no query or gallery image).
  KReciprocal(const RetrievalSet& query, const RetrievalSet& gallery,
              const KReciprocalOptions& options = {});

  int64_t queries() const { return queries_; }
  int64_t gallery() const { return rows_ - queries_; }

  /// Re-ranked distances of the queries [begin, end) to the whole gallery, lower is nearer:
  /// out (end - begin, gallery rows). Recomputes their inner products.
  void distances(int64_t begin, int64_t end, std::span<float> out) const;

 private:
  float original_distance(float similarity, int64_t row) const;
  void find_neighbours();
  std::vector<int32_t> reciprocal(int64_t i, int64_t k) const;
  std::vector<int32_t> expanded_reciprocal(int64_t i) const;
  SparseRows encode() const;
  SparseRows expand(const SparseRows& v) const;

  KReciprocalOptions options_;
  int64_t queries_ = 0, rows_ = 0, dim_ = 0, kept_ = 0;
  std::vector<float> features_;      // (rows, dim), queries first
  std::vector<int32_t> neighbours_;  // (rows, kept), nearest first
  std::vector<float> row_max_;       // (rows), maximum of D0
  SparseRows encoding_;              // (queries, rows): V of the queries
  SparseRows inverted_;              // (rows, gallery): V of the gallery, transposed
};

/// All distances (queries, gallery rows), lower is nearer.
std::vector<float> rerank_k_reciprocal(const RetrievalSet& query, const RetrievalSet& gallery,
                                       const KReciprocalOptions& options = {});
/// Metrics of the ranking by these distances, without the whole matrix in memory.
RetrievalMetrics evaluate_k_reciprocal(const RetrievalSet& query, const RetrievalSet& gallery,
                                       const KReciprocalOptions& options = {});

/// k1: neighbours that get an edge, the image itself included; k2: neighbours that propagate (1: no
/// propagation); lambda: weight of the original similarity. 1 <= k2 <= k1, 0 <= lambda <= 1.
struct GraphRerankOptions {
  int64_t k1 = 26;
  int64_t k2 = 7;
  double lambda = 0.3;
};

/// Re-ranking by propagation on the nearest-neighbour graph, with sparse rows.
///   1. A[i, j] = 1 for the k1 most similar j of i (I[i, t], similarity s[i, t], i itself
///   included).
///   2. Twice, if k2 != 1: A <- A + A'; A[i] <- sum over t < k2 of s[i, t]^2 A[I[i, t]]; rows
///      L2-normalised.
///   3. score = (1 - lambda) <A_q, A_g> + lambda <x_q, x_g>, higher is better.
/// Equal similarities are taken by ascending index; k1 and k2 are cut to N. Float32. Memory beside
/// the features (a copy): some hundreds to two thousand non-zeros of 8 bytes per row. Source: Zhang
/// et al., Understanding Image Retrieval Re-Ranking: A Graph Neural Network Perspective, arXiv
/// 2012.07620.
class GraphRerank {
 public:
  /// The features must be L2-normalised. Throws as KReciprocal.
  GraphRerank(const RetrievalSet& query, const RetrievalSet& gallery,
              const GraphRerankOptions& options = {});

  /// Scores of the queries [begin, end): out (end - begin, gallery rows).
  void scores(int64_t begin, int64_t end, std::span<float> out) const;

 private:
  GraphRerankOptions options_;
  int64_t queries_ = 0, rows_ = 0, dim_ = 0;
  std::vector<float> features_;  // (rows, dim), queries first
  SparseRows query_rows_;        // (queries, rows): A of the queries
  SparseRows inverted_;          // (rows, gallery): A of the gallery, transposed
};

/// All scores (queries, gallery rows), higher is better.
std::vector<float> rerank_graph(const RetrievalSet& query, const RetrievalSet& gallery,
                                const GraphRerankOptions& options = {});
/// Metrics of the ranking by these scores, without the whole matrix in memory.
RetrievalMetrics evaluate_graph(const RetrievalSet& query, const RetrievalSet& gallery,
                                const GraphRerankOptions& options = {});

/// k >= 1 neighbours, the image itself included; alpha >= 0: exponent of their similarity.
struct QueryExpansionOptions {
  int64_t k = 5;
  double alpha = 3;
};

/// Average query expansion: the features of all rows, queries first, (queries + gallery rows, dim),
/// each replaced by (1 / k) sum over its k nearest j of max(cos, 0)^alpha * feature j, not
/// renormalised. Neighbours are sought among queries and gallery by cosine (the features need not
/// be normalised; a zero vector has cosine 0 to all). k is cut to the number of rows. Source: Chum
/// et al., Total Recall, ICCV 2007; the weights: Radenovic et al., arXiv 1711.02512.
std::vector<float> expand_queries(const RetrievalSet& query, const RetrievalSet& gallery,
                                  const QueryExpansionOptions& options = {});

}  // namespace tessera::data
