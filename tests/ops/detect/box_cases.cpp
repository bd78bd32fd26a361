#include "ops/detect/box.h"

#include <algorithm>
#include <cmath>

#include "ops/pointwise/arithmetic.h"
#include "tests/ops/array.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

struct Box {
  double x1, y1, x2, y2;
  double area() const { return (x2 - x1) * (y2 - y1); }
};

Box box_at(const Array& a, int64_t i) {
  return {a.at({i, 0}), a.at({i, 1}), a.at({i, 2}), a.at({i, 3})};
}

double iou(const Box& a, const Box& b) {
  const double w = std::max(0.0, std::min(a.x2, b.x2) - std::max(a.x1, b.x1));
  const double h = std::max(0.0, std::min(a.y2, b.y2) - std::max(a.y1, b.y1));
  return w * h / (a.area() + b.area() - w * h);
}

Box hull(const Box& a, const Box& b) {
  return {std::min(a.x1, b.x1), std::min(a.y1, b.y1), std::max(a.x2, b.x2), std::max(a.y2, b.y2)};
}

double generalized(const Box& a, const Box& b) {
  const double overlap = iou(a, b), all = a.area() + b.area();
  return overlap - (hull(a, b).area() - all / (1 + overlap)) / hull(a, b).area();
}

double distance(const Box& a, const Box& b) {
  const Box c = hull(a, b);
  const double dx = (a.x1 + a.x2 - b.x1 - b.x2) / 2, dy = (a.y1 + a.y2 - b.y1 - b.y2) / 2;
  return iou(a, b) -
         (dx * dx + dy * dy) / (std::pow(c.x2 - c.x1, 2) + std::pow(c.y2 - c.y1, 2) + 1e-7);
}

double complete(const Box& a, const Box& b) {
  const double turn =
      std::atan((a.x2 - a.x1) / (a.y2 - a.y1)) - std::atan((b.x2 - b.x1) / (b.y2 - b.y1));
  const double v = 4 / (M_PI * M_PI) * turn * turn;
  return distance(a, b) - v / (1 - iou(a, b) + v + 1e-7) * v;
}

/// Boxes with sides between 0.4 and 1.9 whose edges do not touch each other's.
OpInput random_boxes(const std::string& name, int64_t count) {
  OpInput in{.shape = {count, 4}};
  const std::vector<float> u = hash_uniform(name, 4 * count, 0, 1);
  for (size_t i = 0; i < u.size(); i += 4) {
    const double x = u[i], y = u[i + 1];
    for (double v : {x, y, x + 0.4 + 1.5 * u[i + 2], y + 0.4 + 1.5 * u[i + 3]})
      in.values.push_back(v);
  }
  if (count == 0) in.values.clear();
  return in;
}

using Overlap = double (*)(const Box&, const Box&);

void add_overlap(OpCaseList& cases, const std::string& name,
                 Tensor (*pairwise)(const Tensor&, const Tensor&),
                 Tensor (*paired)(const Tensor&, const Tensor&), Overlap overlap, int order) {
  for (const Shape& size : {Shape{3, 4}, Shape{1, 19}, Shape{2, 0}})
    cases.add({.name = cat(name, size),
               .inputs = {random_boxes(name + "/a", size[0]), random_boxes(name + "/b", size[1])},
               .run = [=](const Tensors& in) { return Tensors{pairwise(in[0], in[1])}; },
               .reference =
                   [=](const Tensors& in) {
                     const Array a(in[0]), b(in[1]);
                     return Tensors{Array::make(size, [&](const Dims& i) {
                                      return overlap(box_at(a, i[0]), box_at(b, i[1]));
                                    }).tensor()};
                   },
               .order = size[1] > 10 ? 0 : order,
               .f32_tolerance = 2});
  cases.add({.name = "paired_" + name,
             .inputs = {random_boxes(name + "/c", 5), random_boxes(name + "/d", 5)},
             .run = [=](const Tensors& in) { return Tensors{paired(in[0], in[1])}; },
             .reference =
                 [=](const Tensors& in) {
                   const Array a(in[0]), b(in[1]);
                   return Tensors{Array::make({5}, [&](const Dims& i) {
                                    return overlap(box_at(a, i[0]), box_at(b, i[0]));
                                  }).tensor()};
                 },
             .order = order,
             .f32_tolerance = 2});
}

/// A map from one box to another of the same shape.
void add_map(OpCaseList& cases, const std::string& name, Tensor (*run)(const Tensor&),
             Box (*reference)(const Box&)) {
  cases.add({.name = name,
             .inputs = {random_boxes(name, 6)},
             .run = [=](const Tensors& in) { return Tensors{run(in[0])}; },
             .reference =
                 [=](const Tensors& in) {
                   const Array boxes(in[0]);
                   return Tensors{Array::make(boxes.shape, [&](const Dims& i) {
                                    const Box b = reference(box_at(boxes, i[0]));
                                    const double side[] = {b.x1, b.y1, b.x2, b.y2};
                                    return side[i[1]];
                                  }).tensor()};
                 }});
}

}  // namespace

TESSERA_OP_CASES(box) {
  add_overlap(cases, "box_iou", box_iou, paired_box_iou, iou, 2);
  add_overlap(cases, "generalized_box_iou", generalized_box_iou, paired_generalized_box_iou,
              generalized, 2);
  add_overlap(
      cases, "distance_box_iou",
      [](const Tensor& a, const Tensor& b) { return distance_box_iou(a, b); },
      [](const Tensor& a, const Tensor& b) { return paired_distance_box_iou(a, b); }, distance, 2);
  // Its gradient holds alpha fixed, so numeric differences of the whole do not apply; see box_test.
  add_overlap(
      cases, "complete_box_iou",
      [](const Tensor& a, const Tensor& b) { return complete_box_iou(a, b); },
      [](const Tensor& a, const Tensor& b) { return paired_complete_box_iou(a, b); }, complete, 0);
  add_map(cases, "cxcywh_to_xyxy", cxcywh_to_xyxy, [](const Box& b) {
    return Box{b.x1 - b.x2 / 2, b.y1 - b.y2 / 2, b.x1 + b.x2 / 2, b.y1 + b.y2 / 2};
  });
  add_map(cases, "xyxy_to_cxcywh", xyxy_to_cxcywh, [](const Box& b) {
    return Box{(b.x1 + b.x2) / 2, (b.y1 + b.y2) / 2, b.x2 - b.x1, b.y2 - b.y1};
  });
  add_map(cases, "xywh_to_xyxy", xywh_to_xyxy, [](const Box& b) {
    return Box{b.x1, b.y1, b.x1 + b.x2, b.y1 + b.y2};
  });
  add_map(cases, "xyxy_to_xywh", xyxy_to_xywh, [](const Box& b) {
    return Box{b.x1, b.y1, b.x2 - b.x1, b.y2 - b.y1};
  });
  add_map(
      cases, "clip_boxes", [](const Tensor& x) { return clip_boxes(x - 0.5, 0.7, 0.9); },
      [](const Box& b) {
        const auto clip = [](double v, double high) { return std::clamp(v - 0.5, 0.0, high); };
        return Box{clip(b.x1, 0.9), clip(b.y1, 0.7), clip(b.x2, 0.9), clip(b.y2, 0.7)};
      });
  cases.add({.name = "box_area",
             .inputs = {{.shape = {2, 3, 4}}},
             .run = [](const Tensors& in) { return Tensors{box_area(in[0])}; },
             .reference =
                 [](const Tensors& in) {
                   const Array b(in[0]);
                   return Tensors{Array::make({2, 3}, [&](const Dims& i) {
                                    const auto side = [&](int64_t k) {
                                      return b.at({i[0], i[1], k});
                                    };
                                    return (side(2) - side(0)) * (side(3) - side(1));
                                  }).tensor()};
                 }});
  cases.add_error<ShapeError>("box_iou_last_axis",
                              [] {
                                box_iou(zeros({2, 5}), zeros({2, 4}));
                              },
                              {"box_iou", "[2, 5]"});
  cases.add_error<ShapeError>("box_iou_rank",
                              [] {
                                generalized_box_iou(zeros({1, 2, 4}), zeros({2, 4}));
                              },
                              {"[1, 2, 4]", "(A, 4)"});
  cases.add_error<DTypeError>("box_iou_dtypes",
                              [] {
                                box_iou(zeros({1, 4}), zeros({1, 4}, DType::f64));
                              },
                              {"f32", "f64"});
  cases.add_error<DTypeError>("box_area_dtype",
                              [] {
                                box_area(zeros({1, 4}, DType::i64));
                              },
                              {"i64"});
  cases.add_error<ShapeError>("paired_box_iou_sizes",
                              [] {
                                paired_box_iou(zeros({2, 4}), zeros({3, 4}));
                              },
                              {"[2]", "[3]"});
}
