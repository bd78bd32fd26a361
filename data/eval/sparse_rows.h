#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace tessera::data {

/// A float32 matrix of sparse rows (compressed row storage), columns ascending inside a row.
struct SparseRows {
  int64_t cols = 0;
  std::vector<int64_t> begin{0};  ///< (rows + 1): where each row starts in `col` and `value`
  std::vector<int32_t> col;
  std::vector<float> value;

  int64_t rows() const { return std::ssize(begin) - 1; }
  std::span<const int32_t> cols_of(int64_t row) const {
    return {col.data() + begin[row], col.data() + begin[row + 1]};
  }
  std::span<const float> values_of(int64_t row) const {
    return {value.data() + begin[row], value.data() + begin[row + 1]};
  }
};

/// Collects one row at a time: add() in any order of columns, contributions to one column summed in
/// the order they come. Holds `cols` floats and flags.
class RowAccumulator {
 public:
  explicit RowAccumulator(int64_t cols)
      : sum_(static_cast<size_t>(cols), 0.0f), used_(static_cast<size_t>(cols), 0) {}

  void add(int32_t col, float value) {
    if (!used_[static_cast<size_t>(col)]) {
      used_[static_cast<size_t>(col)] = 1;
      touched_.push_back(col);
    }
    sum_[static_cast<size_t>(col)] += value;
  }
  /// The columns used, ascending, and their sums; clears the accumulator.
  void take(std::vector<int32_t>& cols, std::vector<float>& values);

 private:
  std::vector<float> sum_;
  std::vector<uint8_t> used_;
  std::vector<int32_t> touched_;
};

/// Builds a matrix from rows made in parallel: fill(row, accumulator, cols, values) leaves the
/// row's columns (ascending) and values in the two empty vectors; it may use the accumulator, which
/// has `cols` columns, and must leave it cleared.
using FillRow = std::function<void(int64_t row, RowAccumulator& scratch, std::vector<int32_t>& cols,
                                   std::vector<float>& values)>;
SparseRows build_sparse_rows(int64_t rows, int64_t cols, const FillRow& fill);

/// Rows [first, last) transposed: (cols, last - first), row indices counted from `first`.
SparseRows transpose(const SparseRows& a, int64_t first, int64_t last);

/// Rows [first, last) alone.
SparseRows slice(const SparseRows& a, int64_t first, int64_t last);

/// The `k` smallest keys, ascending, equal keys by ascending index: their indices. 1 <= k <= size.
std::vector<int32_t> smallest(std::span<const float> keys, int64_t k);

}  // namespace tessera::data
