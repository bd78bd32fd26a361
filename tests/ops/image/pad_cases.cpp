#include "ops/image/pad.h"

#include <algorithm>

#include "tests/ops/array.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

/// Input coordinate of padded coordinate i, or -1 for a constant.
int64_t source(int64_t i, int64_t size, PadMode mode) {
  if (mode == PadMode::replicate) return std::clamp<int64_t>(i, 0, size - 1);
  if (mode == PadMode::circular) return (i % size + size) % size;
  if (mode == PadMode::reflect) {
    if (i < 0) i = -i;
    return i < size ? i : 2 * size - 2 - i;
  }
  return i >= 0 && i < size ? i : -1;
}

Tensor pad64(const Tensor& x, const ImagePad& p, PadMode mode, double value) {
  const Array in(x);
  return Array::make(
             {x.size(0), x.size(1) + p.top + p.bottom, x.size(2) + p.left + p.right, x.size(3)},
             [&](const Dims& i) {
               const int64_t h = source(i[1] - p.top, x.size(1), mode);
               const int64_t w = source(i[2] - p.left, x.size(2), mode);
               return h < 0 || w < 0 ? value : in.at({i[0], h, w, i[3]});
             })
      .tensor();
}

}  // namespace

TESSERA_OP_CASES(pad) {
  const char* names[] = {"constant", "reflect", "replicate", "circular"};
  for (PadMode mode : {PadMode::constant, PadMode::reflect, PadMode::replicate, PadMode::circular})
    for (const ImagePad& p : {ImagePad{2, 1, 1, 2}, ImagePad{0, 0, 0, 0}, ImagePad{0, 3, 2, 0}})
      for (const Shape& shape : {Shape{2, 3, 4, 2}, Shape{1, 3, 4, 1}})
        cases.add(
            {.name = cat("pad_", names[static_cast<int>(mode)], "_", p.left, p.right, p.top,
                         p.bottom, shape),
             .inputs = {{.shape = shape}},
             .run = [=](const Tensors& in) { return Tensors{pad(in[0], p, mode, 0.5)}; },
             .reference = [=](const Tensors& in) { return Tensors{pad64(in[0], p, mode, 0.5)}; }});
  cases.add({.name = "pad_constant_axes",
             .inputs = {{.shape = {2, 3}}},
             .run =
                 [](const Tensors& in) {
                   return Tensors{pad_constant(in[0], {1, 0}, {0, 2}, -3)};
                 },
             .reference =
                 [](const Tensors& in) {
                   const Array x(in[0]);
                   return Tensors{Array::make({3, 5}, [&](const Dims& i) {
                                    return i[0] < 1 || i[1] >= 3 ? -3.0 : x.at({i[0] - 1, i[1]});
                                  }).tensor()};
                 }});
  cases.add({.name = "pad_constant_of_empty",
             .inputs = {{.shape = {0, 2}}},
             .run =
                 [](const Tensors& in) {
                   return Tensors{pad_constant(in[0], {1, 0}, {1, 0}, 4)};
                 },
             .reference =
                 [](const Tensors&) {
                   return Tensors{full({2, 2}, 4, DType::f64)};
                 }});
  const auto x = [] { return zeros({1, 3, 4, 1}); };
  cases.add_error<ShapeError>("pad_rank", [] { pad(zeros({3, 4}), {}); }, {"[3, 4]"});
  cases.add_error<ValueError>("pad_negative", [=] { pad(x(), {.top = -1}); }, {"negative", "-1"});
  cases.add_error<ShapeError>("pad_reflect_too_far",
                              [=] { pad(x(), {.top = 3}, PadMode::reflect); }, {"2", "3"});
  cases.add_error<ShapeError>("pad_circular_too_far",
                              [=] { pad(x(), {.right = 5}, PadMode::circular); }, {"4", "5"});
  cases.add_error<ShapeError>("pad_constant_count", [=] { pad_constant(x(), {1}, {1}); },
                              {"[1]", "[1, 3, 4, 1]"});
}
