#include "tensor/shape.h"

#include <algorithm>
#include <ostream>

namespace tessera {

void Dims::push_back(int64_t value) {
  TESSERA_CHECK(ShapeError, rank_ < kMaxRank, "a tensor has at most ", kMaxRank, " axes");
  values_[static_cast<size_t>(rank_++)] = value;
}

void Dims::insert(int axis, int64_t value) {
  push_back(0);
  for (int i = rank_ - 1; i > axis; --i) (*this)[i] = (*this)[i - 1];
  (*this)[axis] = value;
}

void Dims::erase(int axis) {
  for (int i = axis; i + 1 < rank_; ++i) (*this)[i] = (*this)[i + 1];
  --rank_;
}

bool Dims::operator==(const Dims& other) const {
  return std::equal(begin(), end(), other.begin(), other.end());
}

bool Dims::has_zero() const { return std::find(begin(), end(), 0) != end(); }

int64_t numel(const Shape& shape) {
  int64_t count = 1;
  bool overflow = false;
  for (int64_t size : shape) {
    TESSERA_CHECK(ShapeError, size >= 0, "shape ", to_string(shape), " has a negative size");
    overflow |= __builtin_mul_overflow(count, size, &count);
  }
  // A zero-sized axis makes the product 0 whatever the others multiply to.
  if (shape.has_zero()) return 0;
  TESSERA_CHECK(ShapeError, !overflow && count < int64_t{1} << 59, "shape ", to_string(shape),
                " has too many elements");
  return count;
}

Strides contiguous_strides(const Shape& shape) {
  Strides strides = shape;
  const bool none = shape.has_zero();  // nothing to step over, and the other sizes may overflow
  int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = step;
    if (!none) step *= shape[i];
  }
  return strides;
}

int normalize_axis(int64_t axis, int rank, std::string_view op) {
  TESSERA_CHECK(ValueError, axis >= -rank && axis < rank, op, ": axis ", axis,
                " is out of range for a tensor of ", rank, " axes");
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

Shape broadcast_shapes(const Shape& a, const Shape& b, std::string_view op) {
  const int rank = std::max(a.rank(), b.rank());
  Shape out = a.rank() == rank ? a : b;
  for (int i = 1; i <= rank; ++i) {
    const int64_t x = i <= a.rank() ? a[a.rank() - i] : 1;
    const int64_t y = i <= b.rank() ? b[b.rank() - i] : 1;
    TESSERA_CHECK(ShapeError, x == y || x == 1 || y == 1, op, ": shapes ", to_string(a), " and ",
                  to_string(b), " do not broadcast (axis ", rank - i, ": ", x, " against ", y, ")");
    out[rank - i] = x == 1 ? y : x;
  }
  return out;
}

std::string to_string(const Dims& dims) {
  std::string out = "[";
  for (int i = 0; i < dims.rank(); ++i) out += (i ? ", " : "") + std::to_string(dims[i]);
  return out + "]";
}

std::ostream& operator<<(std::ostream& out, const Dims& dims) { return out << to_string(dims); }

}  // namespace tessera
