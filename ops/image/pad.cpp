#include "ops/image/pad.h"

#include <algorithm>
#include <vector>

#include "autograd/apply.h"
#include "ops/index/gather.h"
#include "ops/index/view.h"
#include "tensor/view.h"

namespace tessera {

namespace {

struct PadConstant {
  static constexpr std::string_view name = "pad_constant";
  Dims before;
  Shape inner, outer;  // x's shape and the result's
  double value;

  Tensor forward(Ctx&, const Tensor& x) const {
    Tensor y = full(outer, value, x.dtype(), x.device());
    Tensor middle = y;
    for (int i = 0; i < x.rank(); ++i)
      middle = view::slice(middle, i, before[i], before[i] + inner[i]);
    copy_(middle, x);
    return y;
  }
  Grads backward(const Ctx&, const Tensor& g) const {
    Tensor middle = g;
    for (int i = 0; i < inner.rank(); ++i)
      if (inner[i] != outer[i]) middle = slice(middle, i, before[i], before[i] + inner[i]);
    return {middle};
  }
};

/// Which input position each position of the padded axis copies.
Tensor source_positions(int64_t size, int64_t before, int64_t after, PadMode mode,
                        const Shape& shape, Device device) {
  const int64_t most = mode == PadMode::reflect    ? size - 1
                       : mode == PadMode::circular ? size
                       : size > 0                  ? std::max(before, after)
                                                   : 0;
  TESSERA_CHECK(ShapeError, before <= most && after <= most, "pad: at most ",
                std::max<int64_t>(most, 0), " pixels can be added to an axis of ", size,
                " in this mode, got ", before, " and ", after, " for ", shape);
  std::vector<int64_t> at;
  for (int64_t i = -before; i < size + after; ++i) {
    if (mode == PadMode::reflect)
      at.push_back(i < 0 ? -i : i < size ? i : 2 * (size - 1) - i);
    else if (mode == PadMode::replicate)
      at.push_back(std::clamp<int64_t>(i, 0, size - 1));
    else
      at.push_back(i < 0 ? i + size : i < size ? i : i - size);
  }
  return from_vector(at, {static_cast<int64_t>(at.size())}, device);
}

}  // namespace

Tensor pad_constant(const Tensor& x, const Dims& before, const Dims& after, double value) {
  TESSERA_CHECK(ShapeError, before.rank() == x.rank() && after.rank() == x.rank(),
                "pad_constant: before ", before, " and after ", after, " must have one entry per ",
                "axis of ", x.shape());
  PadConstant op{before, x.shape(), x.shape(), value};
  for (int i = 0; i < x.rank(); ++i) {
    TESSERA_CHECK(ValueError, before[i] >= 0 && after[i] >= 0, "pad_constant: negative pad in ",
                  before, " / ", after);
    op.outer[i] += before[i] + after[i];
  }
  return apply(std::move(op), x);
}

Tensor pad(const Tensor& x, const ImagePad& p, PadMode mode, double value) {
  TESSERA_CHECK(ShapeError, x.rank() == 4, "pad: expects images (N, H, W, C), got ", x.shape());
  TESSERA_CHECK(ValueError, p.left >= 0 && p.right >= 0 && p.top >= 0 && p.bottom >= 0,
                "pad: negative pad (left ", p.left, ", right ", p.right, ", top ", p.top,
                ", bottom ", p.bottom, "); slice() crops");
  if (mode == PadMode::constant)
    return pad_constant(x, {0, p.top, p.left, 0}, {0, p.bottom, p.right, 0}, value);
  Tensor y = x;
  if (p.top || p.bottom)
    y = index_select(y, 1,
                     source_positions(x.size(1), p.top, p.bottom, mode, x.shape(), x.device()));
  if (p.left || p.right)
    y = index_select(y, 2,
                     source_positions(x.size(2), p.left, p.right, mode, x.shape(), x.device()));
  return y;
}

}  // namespace tessera
