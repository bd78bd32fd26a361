#include "data/eval/sparse_rows.h"

#include <algorithm>
#include <utility>

#include "tensor/parallel.h"

namespace tessera::data {
namespace {

constexpr int64_t kRowsPerPart = 512;

// Rows made by one task, to be joined in order.
struct Part {
  std::vector<int64_t> length;
  std::vector<int32_t> col;
  std::vector<float> value;
};

}  // namespace

void RowAccumulator::take(std::vector<int32_t>& cols, std::vector<float>& values) {
  std::sort(touched_.begin(), touched_.end());
  for (const int32_t c : touched_) {
    values.push_back(std::exchange(sum_[static_cast<size_t>(c)], 0.0f));
    used_[static_cast<size_t>(c)] = 0;
  }
  cols.insert(cols.end(), touched_.begin(), touched_.end());
  touched_.clear();
}

SparseRows build_sparse_rows(int64_t rows, int64_t cols, const FillRow& fill) {
  const int64_t count = (rows + kRowsPerPart - 1) / kRowsPerPart;
  std::vector<Part> parts(static_cast<size_t>(count));
  parallel_for(0, count, 1, [&](int64_t first, int64_t last) {
    RowAccumulator scratch(cols);
    std::vector<int32_t> row_cols;
    std::vector<float> row_values;
    for (int64_t p = first; p < last; ++p) {
      Part& part = parts[static_cast<size_t>(p)];
      for (int64_t i = p * kRowsPerPart; i < std::min(rows, (p + 1) * kRowsPerPart); ++i) {
        row_cols.clear();
        row_values.clear();
        fill(i, scratch, row_cols, row_values);
        part.length.push_back(std::ssize(row_cols));
        part.col.insert(part.col.end(), row_cols.begin(), row_cols.end());
        part.value.insert(part.value.end(), row_values.begin(), row_values.end());
      }
    }
  });
  SparseRows out;
  out.cols = cols;
  size_t total = 0;
  for (const Part& part : parts) total += part.col.size();
  out.col.reserve(total);
  out.value.reserve(total);
  for (Part& part : parts) {
    for (const int64_t n : part.length) out.begin.push_back(out.begin.back() + n);
    out.col.insert(out.col.end(), part.col.begin(), part.col.end());
    out.value.insert(out.value.end(), part.value.begin(), part.value.end());
    part = {};  // so that the rows are not held twice
  }
  return out;
}

SparseRows transpose(const SparseRows& a, int64_t first, int64_t last) {
  SparseRows out;
  out.cols = last - first;
  out.begin.assign(static_cast<size_t>(a.cols + 1), 0);
  for (int64_t at = a.begin[first]; at < a.begin[last]; ++at) ++out.begin[a.col[at] + 1];
  for (int64_t c = 0; c < a.cols; ++c) out.begin[c + 1] += out.begin[c];
  out.col.resize(static_cast<size_t>(out.begin.back()));
  out.value.resize(out.col.size());
  std::vector<int64_t> next(out.begin.begin(), out.begin.end() - 1);
  for (int64_t i = first; i < last; ++i) {
    for (int64_t at = a.begin[i]; at < a.begin[i + 1]; ++at) {
      const int64_t to = next[a.col[at]]++;
      out.col[to] = static_cast<int32_t>(i - first);
      out.value[to] = a.value[at];
    }
  }
  return out;
}

SparseRows slice(const SparseRows& a, int64_t first, int64_t last) {
  SparseRows out;
  out.cols = a.cols;
  for (int64_t i = first; i < last; ++i) out.begin.push_back(a.begin[i + 1] - a.begin[first]);
  out.col.assign(a.col.begin() + a.begin[first], a.col.begin() + a.begin[last]);
  out.value.assign(a.value.begin() + a.begin[first], a.value.begin() + a.begin[last]);
  return out;
}

std::vector<int32_t> smallest(std::span<const float> keys, int64_t k) {
  // A heap of the k best so far with the worst on top; a later equal key never replaces it.
  const auto before = [&](int32_t a, int32_t b) {
    return keys[a] < keys[b] || (keys[a] == keys[b] && a < b);
  };
  std::vector<int32_t> heap(static_cast<size_t>(k));
  for (int64_t i = 0; i < k; ++i) heap[i] = static_cast<int32_t>(i);
  std::make_heap(heap.begin(), heap.end(), before);
  float worst = keys[heap.front()];
  for (int64_t i = k; i < std::ssize(keys); ++i) {
    if (!(keys[i] < worst)) continue;
    std::pop_heap(heap.begin(), heap.end(), before);
    heap.back() = static_cast<int32_t>(i);
    std::push_heap(heap.begin(), heap.end(), before);
    worst = keys[heap.front()];
  }
  std::sort_heap(heap.begin(), heap.end(), before);
  return heap;
}

}  // namespace tessera::data
