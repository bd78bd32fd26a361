// Products and sums round separately, as in the published float32 computation: near ties then fall
// the same way.
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#include <algorithm>
#include <cmath>

#include "data/eval/reid_rerank.h"
#include "data/eval/similarity.h"
#include "tensor/error.h"
#include "tensor/parallel.h"

namespace tessera::data {

KReciprocal::KReciprocal(const RetrievalSet& query, const RetrievalSet& gallery,
                         const KReciprocalOptions& options)
    : options_(options),
      queries_(query.rows()),
      rows_(query.rows() + gallery.rows()),
      dim_(query.dim) {
  TESSERA_CHECK(ValueError, options.k1 >= 1 && options.k2 >= 1 && options.k2 - 1 <= options.k1,
                "k-reciprocal re-ranking: expected k1 >= 1 and 1 <= k2 <= k1 + 1, got k1 ",
                options.k1, ", k2 ", options.k2);
  TESSERA_CHECK(ValueError, options.lambda >= 0 && options.lambda <= 1,
                "k-reciprocal re-ranking: lambda must be in [0, 1], got ", options.lambda);
  features_ = join_features(query, gallery);
  kept_ = std::min(options.k1, rows_ - 1) + 1;
  find_neighbours();
  SparseRows v = encode();
  if (options_.k2 != 1) v = expand(v);
  encoding_ = slice(v, 0, queries_);
  inverted_ = transpose(v, queries_, rows_);
}

float KReciprocal::original_distance(float similarity, int64_t row) const {
  const float d = 2.0f - 2.0f * similarity;
  return row_max_[row] > 0 ? d * d / row_max_[row] : 0.0f;
}

void KReciprocal::find_neighbours() {
  neighbours_.resize(static_cast<size_t>(rows_ * kept_));
  row_max_.resize(static_cast<size_t>(rows_));
  for_each_similarity_row(features_, dim_, [&](int64_t i, std::span<float> row) {
    float largest = 0;
    for (const float s : row) {
      const float d = 2.0f - 2.0f * s;
      largest = std::max(largest, d * d);
    }
    row_max_[i] = largest;
    for (float& s : row) s = original_distance(s, i);
    const std::vector<int32_t> nearest = smallest(row, kept_);
    std::copy(nearest.begin(), nearest.end(), neighbours_.begin() + i * kept_);
  });
}

// R(i, k), nearest first.
std::vector<int32_t> KReciprocal::reciprocal(int64_t i, int64_t k) const {
  const int64_t count = std::min(k, kept_ - 1) + 1;
  std::vector<int32_t> mutual;
  for (int64_t t = 0; t < count; ++t) {
    const int32_t j = neighbours_[i * kept_ + t];
    const auto back = neighbours_.begin() + j * kept_;
    if (std::find(back, back + count, static_cast<int32_t>(i)) != back + count) mutual.push_back(j);
  }
  return mutual;
}

// R*(i), ascending.
std::vector<int32_t> KReciprocal::expanded_reciprocal(int64_t i) const {
  // Half of k1, halves to even.
  const int64_t half = options_.k1 / 2 + (options_.k1 % 4 == 3 ? 1 : 0);
  const std::vector<int32_t> mutual = reciprocal(i, options_.k1);
  std::vector<int32_t> out = mutual;
  for (const int32_t candidate : mutual) {
    const std::vector<int32_t> theirs = reciprocal(candidate, half);
    const int64_t common = std::count_if(theirs.begin(), theirs.end(), [&](int32_t j) {
      return std::find(mutual.begin(), mutual.end(), j) != mutual.end();
    });
    if (3 * common > 2 * std::ssize(theirs)) out.insert(out.end(), theirs.begin(), theirs.end());
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

SparseRows KReciprocal::encode() const {
  return build_sparse_rows(
      rows_, rows_,
      [&](int64_t i, RowAccumulator&, std::vector<int32_t>& cols, std::vector<float>& values) {
        cols = expanded_reciprocal(i);
        const float* self = features_.data() + i * dim_;
        double sum = 0;
        for (const int32_t j : cols) {
          const float s = inner_product(self, features_.data() + j * dim_, dim_);
          values.push_back(std::exp(-original_distance(s, i)));
          sum += values.back();
        }
        for (float& v : values) v /= static_cast<float>(sum);
      });
}

SparseRows KReciprocal::expand(const SparseRows& v) const {
  const int64_t count = std::min(options_.k2, kept_);
  return build_sparse_rows(
      rows_, rows_,
      [&](int64_t i, RowAccumulator& mean, std::vector<int32_t>& cols, std::vector<float>& values) {
        for (int64_t t = 0; t < count; ++t) {
          const int64_t j = neighbours_[i * kept_ + t];
          const auto from = v.cols_of(j);
          const auto weight = v.values_of(j);
          for (size_t n = 0; n < from.size(); ++n) mean.add(from[n], weight[n]);
        }
        mean.take(cols, values);
        for (float& x : values) x /= static_cast<float>(count);
      });
}

void KReciprocal::distances(int64_t begin, int64_t end, std::span<float> out) const {
  TESSERA_CHECK(ValueError, begin >= 0 && begin <= end && end <= queries_,
                "k-reciprocal re-ranking: queries [", begin, ", ", end, ") of ", queries_);
  TESSERA_CHECK(ShapeError, std::ssize(out) == (end - begin) * gallery(),
                "k-reciprocal re-ranking: ", out.size(), " values are not (", end - begin, ", ",
                gallery(), ")");
  const std::span<const float> all(features_);
  inner_products(all.subspan(begin * dim_, (end - begin) * dim_), all.subspan(queries_ * dim_),
                 dim_, out);
  const float jaccard_weight = static_cast<float>(1.0 - options_.lambda);
  const float original_weight = static_cast<float>(options_.lambda);
  parallel_for(begin, end, 1, [&](int64_t b, int64_t e) {
    std::vector<float> overlap(static_cast<size_t>(gallery()));
    for (int64_t i = b; i < e; ++i) {
      std::fill(overlap.begin(), overlap.end(), 0.0f);
      const auto cols = encoding_.cols_of(i);
      const auto values = encoding_.values_of(i);
      for (size_t n = 0; n < cols.size(); ++n) {
        const auto images = inverted_.cols_of(cols[n]);
        const auto theirs = inverted_.values_of(cols[n]);
        for (size_t m = 0; m < images.size(); ++m)
          overlap[images[m]] += std::min(values[n], theirs[m]);
      }
      const std::span<float> row = out.subspan((i - begin) * gallery(), gallery());
      for (int64_t j = 0; j < gallery(); ++j) {
        const float jaccard = 1.0f - overlap[j] / (2.0f - overlap[j]);
        row[j] = jaccard * jaccard_weight + original_distance(row[j], i) * original_weight;
      }
    }
  });
}

std::vector<float> rerank_k_reciprocal(const RetrievalSet& query, const RetrievalSet& gallery,
                                       const KReciprocalOptions& options) {
  const KReciprocal reranker(query, gallery, options);
  std::vector<float> out(static_cast<size_t>(query.rows() * gallery.rows()));
  reranker.distances(0, query.rows(), out);
  return out;
}

RetrievalMetrics evaluate_k_reciprocal(const RetrievalSet& query, const RetrievalSet& gallery,
                                       const KReciprocalOptions& options) {
  const KReciprocal reranker(query, gallery, options);
  return evaluate(query, gallery, [&](int64_t begin, int64_t end, std::span<float> out) {
    reranker.distances(begin, end, out);
    for (float& d : out) d = -d;
  });
}

}  // namespace tessera::data
