#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <span>
#include <string>
#include <vector>

#include "tensor/error.h"

namespace tessera {

inline constexpr int kMaxRank = 8;

/// Up to eight integers held inline: the sizes of a tensor's axes, or its strides in elements.
class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<int64_t> values) : Dims(std::span(values.begin(), values.size())) {}
  explicit Dims(const std::vector<int64_t>& values) : Dims(std::span(values)) {}
  /// Throws ShapeError for more than eight values.
  explicit Dims(std::span<const int64_t> values) {
    for (int64_t v : values) push_back(v);
  }

  int rank() const { return rank_; }
  size_t size() const { return static_cast<size_t>(rank_); }
  bool empty() const { return rank_ == 0; }
  int64_t operator[](int axis) const { return values_[static_cast<size_t>(axis)]; }
  int64_t& operator[](int axis) { return values_[static_cast<size_t>(axis)]; }
  const int64_t* begin() const { return values_.data(); }
  const int64_t* end() const { return values_.data() + rank_; }
  int64_t* begin() { return values_.data(); }
  int64_t* end() { return values_.data() + rank_; }
  int64_t back() const { return values_[static_cast<size_t>(rank_ - 1)]; }
  void push_back(int64_t value);
  /// Inserts before `axis` (0..rank) / removes axis.
  void insert(int axis, int64_t value);
  void erase(int axis);
  std::vector<int64_t> vector() const { return {begin(), end()}; }
  bool has_zero() const;
  bool operator==(const Dims& other) const;

 private:
  std::array<int64_t, kMaxRank> values_{};
  int rank_ = 0;
};

/// Sizes of the axes, outermost first; rank 0 is a scalar. Sizes may be 0.
using Shape = Dims;
/// Steps between neighbours along each axis, in elements; 0 repeats, negatives do not occur.
using Strides = Dims;

/// Product of the sizes; 1 for a scalar. Throws ShapeError when a size is negative or the product
/// reaches 2^59: the bytes of any tensor fit into an int64_t.
int64_t numel(const Shape& shape);
/// Row-major strides.
Strides contiguous_strides(const Shape& shape);
/// `axis` in [-rank, rank) to [0, rank); throws ValueError naming `op` otherwise.
int normalize_axis(int64_t axis, int rank, std::string_view op);
/// NumPy's rule: right-aligned, sizes equal or 1. Throws ShapeError naming `op` and both shapes.
Shape broadcast_shapes(const Shape& a, const Shape& b, std::string_view op);
/// "[2, 3]".
std::string to_string(const Dims& dims);
std::ostream& operator<<(std::ostream& out, const Dims& dims);

}  // namespace tessera
