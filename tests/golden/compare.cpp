#include "tests/golden/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <iomanip>
#include <sstream>

#include "tensor/view.h"

namespace tessera::golden {
namespace {

/// Axis 1 to the end, or the last axis to position 1.
Dims move_channels(int rank, bool to_end) {
  Dims axes;
  for (int i = 0; i < rank; ++i) axes.push_back(i);
  if (rank < 3) return axes;
  const int from = to_end ? 1 : rank - 1;
  axes.erase(from);
  axes.insert(to_end ? rank - 1 : 1, from);
  return axes;
}

std::string index_text(size_t flat, const std::vector<int64_t>& shape) {
  Dims index(shape);
  for (int i = index.rank() - 1; i >= 0; --i) {
    const auto size = static_cast<size_t>(shape[static_cast<size_t>(i)]);
    index[i] = static_cast<int64_t>(flat % size);
    flat /= size;
  }
  return to_string(index);
}

}  // namespace

Tensor from_torch(const std::vector<float>& values, const std::vector<int64_t>& shape,
                  Layout layout, DType dtype) {
  const Tensor t = view::to(from_vector(values, Shape(shape)), dtype);
  if (layout == Layout::plain) return view::to(t, test_device());
  return view::to(view::contiguous(view::permute(t, move_channels(t.rank(), true))), test_device());
}

Reference to_torch(const Tensor& tensor, Layout layout) {
  const Tensor plain = tensor.detach();
  const Tensor t =
      layout == Layout::plain ? plain : view::permute(plain, move_channels(plain.rank(), false));
  return {t.shape().vector(), view::contiguous(t).to_vector<double>()};
}

void expect_close(const std::string& title, const Reference& got, const Reference& want,
                  Tolerance tolerance) {
  if (got.shape != want.shape) {
    ADD_FAILURE() << title << ": shape " << Shape(got.shape) << ", expected " << Shape(want.shape);
    return;
  }
  double scale = 0, worst = -1;
  size_t at = 0;
  for (const double v : want.values) scale = std::max(scale, std::abs(v));
  for (size_t i = 0; i < want.values.size(); ++i) {
    const double error = std::abs(got.values[i] - want.values[i]);
    // Written so that NaN counts as the worst of all.
    if (!(error <= worst)) {
      worst = error;
      at = i;
      if (std::isnan(error)) break;
    }
  }
  const double allowed = tolerance.relative * scale + tolerance.absolute;
  if (want.values.empty() || worst <= allowed) return;
  ADD_FAILURE() << title << ": worst relative error " << worst / (scale > 0 ? scale : 1) << " at "
                << index_text(at, want.shape) << ": got " << std::setprecision(9) << got.values[at]
                << ", expected " << want.values[at] << " (allowed "
                << allowed / (scale > 0 ? scale : 1) << ")";
}

void expect_close(const std::string& title, double got, double want, Tolerance tolerance) {
  expect_close(title, Reference{{}, {got}}, Reference{{}, {want}}, tolerance);
}

}  // namespace tessera::golden
