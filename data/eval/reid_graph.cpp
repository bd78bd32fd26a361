#include <algorithm>
#include <cmath>

#include "data/eval/reid_rerank.h"
#include "data/eval/similarity.h"
#include "tensor/error.h"
#include "tensor/parallel.h"

namespace tessera::data {
namespace {

// The most similar rows of every row, best first: indices and similarities, (rows, kept).
struct Neighbours {
  int64_t kept = 0;
  std::vector<int32_t> index;
  std::vector<float> similarity;
};

Neighbours most_similar(std::span<const float> features, int64_t dim, int64_t k) {
  const int64_t rows = std::ssize(features) / dim;
  Neighbours out;
  out.kept = std::min(k, rows);
  out.index.resize(static_cast<size_t>(rows * out.kept));
  out.similarity.resize(out.index.size());
  for_each_similarity_row(features, dim, [&](int64_t i, std::span<float> row) {
    for (float& s : row) s = -s;
    const std::vector<int32_t> best = smallest(row, out.kept);
    for (int64_t t = 0; t < out.kept; ++t) {
      out.index[i * out.kept + t] = best[t];
      out.similarity[i * out.kept + t] = -row[best[t]];
    }
  });
  return out;
}

SparseRows adjacency(const Neighbours& near, int64_t rows) {
  return build_sparse_rows(
      rows, rows,
      [&](int64_t i, RowAccumulator&, std::vector<int32_t>& cols, std::vector<float>& values) {
        cols.assign(near.index.begin() + i * near.kept, near.index.begin() + (i + 1) * near.kept);
        std::sort(cols.begin(), cols.end());
        values.assign(cols.size(), 1.0f);
      });
}

// A <- A + A', then row i <- the k2 nearest rows weighted by similarity squared, L2-normalised. The
// symmetric sum is never stored: each of its rows is one row of A and one of A'.
SparseRows propagate(const SparseRows& a, const Neighbours& near, int64_t k2) {
  const SparseRows across = transpose(a, 0, a.rows());
  return build_sparse_rows(
      a.rows(), a.cols,
      [&](int64_t i, RowAccumulator& sum, std::vector<int32_t>& cols, std::vector<float>& values) {
        for (int64_t t = 0; t < std::min(k2, near.kept); ++t) {
          const float s = near.similarity[i * near.kept + t];
          const int64_t j = near.index[i * near.kept + t];
          for (const SparseRows* part : {&a, &across}) {
            const auto from = part->cols_of(j);
            const auto value = part->values_of(j);
            for (size_t n = 0; n < from.size(); ++n) sum.add(from[n], s * s * value[n]);
          }
        }
        sum.take(cols, values);
        double square = 0;
        for (const float v : values) square += static_cast<double>(v) * v;
        const float norm = static_cast<float>(std::sqrt(square));
        if (norm > 0)
          for (float& v : values) v /= norm;
      });
}

}  // namespace

GraphRerank::GraphRerank(const RetrievalSet& query, const RetrievalSet& gallery,
                         const GraphRerankOptions& options)
    : options_(options),
      queries_(query.rows()),
      rows_(query.rows() + gallery.rows()),
      dim_(query.dim) {
  TESSERA_CHECK(ValueError, options.k2 >= 1 && options.k2 <= options.k1,
                "graph re-ranking: expected 1 <= k2 <= k1, got k1 ", options.k1, ", k2 ",
                options.k2);
  TESSERA_CHECK(ValueError, options.lambda >= 0 && options.lambda <= 1,
                "graph re-ranking: lambda must be in [0, 1], got ", options.lambda);
  features_ = join_features(query, gallery);
  const Neighbours near = most_similar(features_, dim_, options.k1);
  SparseRows a = adjacency(near, rows_);
  if (options.k2 != 1)
    for (int step = 0; step < 2; ++step) a = propagate(a, near, options.k2);
  query_rows_ = slice(a, 0, queries_);
  inverted_ = transpose(a, queries_, rows_);
}

void GraphRerank::scores(int64_t begin, int64_t end, std::span<float> out) const {
  const int64_t gallery = rows_ - queries_;
  TESSERA_CHECK(ValueError, begin >= 0 && begin <= end && end <= queries_,
                "graph re-ranking: queries [", begin, ", ", end, ") of ", queries_);
  TESSERA_CHECK(ShapeError, std::ssize(out) == (end - begin) * gallery,
                "graph re-ranking: ", out.size(), " values are not (", end - begin, ", ", gallery,
                ")");
  const std::span<const float> all(features_);
  inner_products(all.subspan(begin * dim_, (end - begin) * dim_), all.subspan(queries_ * dim_),
                 dim_, out);
  const float graph_weight = static_cast<float>(1.0 - options_.lambda);
  const float original_weight = static_cast<float>(options_.lambda);
  parallel_for(begin, end, 1, [&](int64_t b, int64_t e) {
    std::vector<float> product(static_cast<size_t>(gallery));
    for (int64_t i = b; i < e; ++i) {
      std::fill(product.begin(), product.end(), 0.0f);
      const auto cols = query_rows_.cols_of(i);
      const auto values = query_rows_.values_of(i);
      for (size_t n = 0; n < cols.size(); ++n) {
        const auto images = inverted_.cols_of(cols[n]);
        const auto theirs = inverted_.values_of(cols[n]);
        for (size_t m = 0; m < images.size(); ++m) product[images[m]] += values[n] * theirs[m];
      }
      const std::span<float> row = out.subspan((i - begin) * gallery, gallery);
      for (int64_t j = 0; j < gallery; ++j)
        row[j] = graph_weight * product[j] + original_weight * row[j];
    }
  });
}

std::vector<float> rerank_graph(const RetrievalSet& query, const RetrievalSet& gallery,
                                const GraphRerankOptions& options) {
  const GraphRerank reranker(query, gallery, options);
  std::vector<float> out(static_cast<size_t>(query.rows() * gallery.rows()));
  reranker.scores(0, query.rows(), out);
  return out;
}

RetrievalMetrics evaluate_graph(const RetrievalSet& query, const RetrievalSet& gallery,
                                const GraphRerankOptions& options) {
  const GraphRerank reranker(query, gallery, options);
  return evaluate(query, gallery, [&](int64_t begin, int64_t end, std::span<float> out) {
    reranker.scores(begin, end, out);
  });
}

std::vector<float> expand_queries(const RetrievalSet& query, const RetrievalSet& gallery,
                                  const QueryExpansionOptions& options) {
  TESSERA_CHECK(ValueError, options.k >= 1 && options.alpha >= 0,
                "query expansion: expected k >= 1 and alpha >= 0, got k ", options.k, ", alpha ",
                options.alpha);
  const std::vector<float> features = join_features(query, gallery);
  const int64_t dim = query.dim, rows = std::ssize(features) / dim;
  std::vector<float> unit = features;
  for (int64_t i = 0; i < rows; ++i) {
    double square = 0;
    for (int64_t k = 0; k < dim; ++k) square += std::pow(double{features[i * dim + k]}, 2);
    const double scale = square > 0 ? 1 / std::sqrt(square) : 0;
    for (int64_t k = 0; k < dim; ++k)
      unit[i * dim + k] = static_cast<float>(features[i * dim + k] * scale);
  }
  const Neighbours near = most_similar(unit, dim, options.k);
  std::vector<float> out(features.size(), 0.0f);
  parallel_for(0, rows, 64, [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) {
      for (int64_t t = 0; t < near.kept; ++t) {
        const double s = std::max(0.0f, near.similarity[i * near.kept + t]);
        const float weight = static_cast<float>(std::pow(s, options.alpha)) / near.kept;
        const float* from = features.data() + near.index[i * near.kept + t] * dim;
        for (int64_t k = 0; k < dim; ++k) out[i * dim + k] += weight * from[k];
      }
    }
  });
  return out;
}

}  // namespace tessera::data
