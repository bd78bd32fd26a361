#include "ops/detect/box.h"

#include <algorithm>
#include <numbers>

#include "autograd/apply.h"
#include "autograd/engine.h"
#include "ops/detect/overlap.h"
#include "ops/index/concat.h"
#include "ops/index/view.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/extrema.h"
#include "ops/pointwise/trigonometric.h"
#include "tensor/parallel.h"
#include "tensor/view.h"

namespace tessera {

namespace {

void check_boxes(const Tensor& boxes, std::string_view op) {
  TESSERA_CHECK(ShapeError, boxes.rank() >= 1 && boxes.shape().back() == 4, op,
                ": boxes must be (..., 4), got ", boxes.shape());
  TESSERA_CHECK(DTypeError, boxes.dtype() == DType::f32 || boxes.dtype() == DType::f64, op,
                ": boxes must be f32 or f64, got ", boxes.dtype());
}

void check_pair(const Tensor& a, const Tensor& b, bool pairwise, std::string_view op) {
  check_boxes(a, op);
  check_boxes(b, op);
  TESSERA_CHECK(DTypeError, a.dtype() == b.dtype(), op, ": boxes are ", a.dtype(), " and ",
                b.dtype());
  TESSERA_CHECK(ShapeError, !pairwise || (a.rank() == 2 && b.rank() == 2), op,
                ": expects (A, 4) and (B, 4), got ", a.shape(), " and ", b.shape());
}

struct Sides {
  Tensor x1, y1, x2, y2;
};
Sides sides(const Tensor& boxes) {
  return {select(boxes, -1, 0), select(boxes, -1, 1), select(boxes, -1, 2), select(boxes, -1, 3)};
}

/// Overlap of boxes that broadcast against each other, and what the refined measures need of it.
struct Overlap {
  Sides a, b;
  Tensor whole, iou;  // union, intersection over it

  Overlap(const Tensor& boxes_a, const Tensor& boxes_b) : a(sides(boxes_a)), b(sides(boxes_b)) {
    const Tensor w = clamp_min(minimum(a.x2, b.x2) - maximum(a.x1, b.x1), 0);
    const Tensor h = clamp_min(minimum(a.y2, b.y2) - maximum(a.y1, b.y1), 0);
    const Tensor common = w * h;
    whole = (a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - common;
    iou = common / whole;
  }
  Tensor hull_w() const { return clamp_min(maximum(a.x2, b.x2) - minimum(a.x1, b.x1), 0); }
  Tensor hull_h() const { return clamp_min(maximum(a.y2, b.y2) - minimum(a.y1, b.y1), 0); }
};

Tensor generalized(const Overlap& o) {
  const Tensor hull = o.hull_w() * o.hull_h();
  return o.iou - (hull - o.whole) / hull;
}

Tensor distance(const Overlap& o, double eps) {
  const Tensor w = o.hull_w(), h = o.hull_h();
  const Tensor dx = ((o.a.x1 + o.a.x2) - (o.b.x1 + o.b.x2)) * 0.5;
  const Tensor dy = ((o.a.y1 + o.a.y2) - (o.b.y1 + o.b.y2)) * 0.5;
  return o.iou - (dx * dx + dy * dy) / (w * w + h * h + eps);
}

Tensor complete(const Overlap& o, double eps) {
  const auto angle = [](const Sides& s) { return atan((s.x2 - s.x1) / (s.y2 - s.y1)); };
  const Tensor turn = angle(o.a) - angle(o.b);
  const Tensor v = turn * turn * (4 / (std::numbers::pi * std::numbers::pi));
  const Tensor fixed = v.detach();
  const Tensor alpha = fixed / (fixed - o.iou.detach() + (1 + eps));
  return distance(o, eps) - alpha * v;
}

/// a against b as (A, 1, 4) and (1, B, 4).
Overlap every_pair(const Tensor& a, const Tensor& b, std::string_view op) {
  check_pair(a, b, true, op);
  return Overlap(unsqueeze(a, 1), unsqueeze(b, 0));
}
Overlap each_pair(const Tensor& a, const Tensor& b, std::string_view op) {
  check_pair(a, b, false, op);
  return Overlap(a, b);
}

struct BoxIou {
  static constexpr std::string_view name = "box_iou";

  Tensor forward(Ctx& ctx, const Tensor& a, const Tensor& b) const {
    ctx.save({a, b});
    Tensor y = empty({a.size(0), b.size(0)}, a.dtype(), a.device());
    kernel::box_iou(a.device(), view::contiguous(a), view::contiguous(b), y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    return composite_vjp(
        [](const Tensors& in) { return Tensors{every_pair(in[0], in[1], "box_iou").iou}; },
        {ctx.saved(0), ctx.saved(1)}, {g}, {ctx.needs_grad(0), ctx.needs_grad(1)});
  }
};

template <class T>
void box_iou_typed(const T* a, const T* b, int64_t rows, int64_t columns, T* y) {
  // Coordinates of b side by side, so that one box of a meets many in a vector.
  std::vector<T> side(static_cast<size_t>(5 * columns));
  T *x1 = side.data(), *y1 = x1 + columns, *x2 = y1 + columns, *y2 = x2 + columns;
  T* area = y2 + columns;
  for (int64_t j = 0; j < columns; ++j) {
    x1[j] = b[4 * j];
    y1[j] = b[4 * j + 1];
    x2[j] = b[4 * j + 2];
    y2[j] = b[4 * j + 3];
    area[j] = math::Corners<T>{x1[j], y1[j], x2[j], y2[j]}.area();
  }
  parallel_for(0, rows, std::max<int64_t>(1, 8192 / columns), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const math::Corners<T> box{a[4 * i], a[4 * i + 1], a[4 * i + 2], a[4 * i + 3]};
      const T own = box.area();
      T* __restrict out = y + i * columns;
      for (int64_t j = 0; j < columns; ++j)
        out[j] = math::box_iou(box, own, {x1[j], y1[j], x2[j], y2[j]}, area[j]);
    }
  });
}

void box_iou_cpu(const Tensor& a, const Tensor& b, Tensor& y) {
  if (y.numel() == 0) return;
  dispatch_float(a.dtype(), "box_iou", [&]<class T>() {
    box_iou_typed(a.data<T>(), b.data<T>(), a.size(0), b.size(0), y.data<T>());
  });
}

}  // namespace

namespace kernel {
constinit KernelSlot<void(const Tensor&, const Tensor&, Tensor&)> box_iou{"box_iou"};
}
TESSERA_KERNEL(box_iou, cpu, box_iou_cpu);

Tensor box_area(const Tensor& boxes) {
  check_boxes(boxes, "box_area");
  const Sides s = sides(boxes);
  return (s.x2 - s.x1) * (s.y2 - s.y1);
}

Tensor box_iou(const Tensor& a, const Tensor& b) {
  check_pair(a, b, true, "box_iou");
  return apply(BoxIou{}, a, b);
}
Tensor generalized_box_iou(const Tensor& a, const Tensor& b) {
  return generalized(every_pair(a, b, "generalized_box_iou"));
}
Tensor distance_box_iou(const Tensor& a, const Tensor& b, double eps) {
  return distance(every_pair(a, b, "distance_box_iou"), eps);
}
Tensor complete_box_iou(const Tensor& a, const Tensor& b, double eps) {
  return complete(every_pair(a, b, "complete_box_iou"), eps);
}

Tensor paired_box_iou(const Tensor& a, const Tensor& b) {
  return each_pair(a, b, "paired_box_iou").iou;
}
Tensor paired_generalized_box_iou(const Tensor& a, const Tensor& b) {
  return generalized(each_pair(a, b, "paired_generalized_box_iou"));
}
Tensor paired_distance_box_iou(const Tensor& a, const Tensor& b, double eps) {
  return distance(each_pair(a, b, "paired_distance_box_iou"), eps);
}
Tensor paired_complete_box_iou(const Tensor& a, const Tensor& b, double eps) {
  return complete(each_pair(a, b, "paired_complete_box_iou"), eps);
}

Tensor clip_boxes(const Tensor& boxes, double height, double width) {
  check_boxes(boxes, "clip_boxes");
  const Sides s = sides(boxes);
  return stack({clamp(s.x1, 0, width), clamp(s.y1, 0, height), clamp(s.x2, 0, width),
                clamp(s.y2, 0, height)},
               -1);
}

Tensor cxcywh_to_xyxy(const Tensor& boxes) {
  check_boxes(boxes, "cxcywh_to_xyxy");
  const Tensors half = chunk(boxes, 2, -1);  // centres, sizes
  const Tensor reach = half[1] * 0.5;
  return concat({half[0] - reach, half[0] + reach}, -1);
}

Tensor xyxy_to_cxcywh(const Tensor& boxes) {
  check_boxes(boxes, "xyxy_to_cxcywh");
  const Tensors corner = chunk(boxes, 2, -1);
  return concat({(corner[0] + corner[1]) * 0.5, corner[1] - corner[0]}, -1);
}

Tensor xywh_to_xyxy(const Tensor& boxes) {
  check_boxes(boxes, "xywh_to_xyxy");
  const Tensors half = chunk(boxes, 2, -1);
  return concat({half[0], half[0] + half[1]}, -1);
}

Tensor xyxy_to_xywh(const Tensor& boxes) {
  check_boxes(boxes, "xyxy_to_xywh");
  const Tensors corner = chunk(boxes, 2, -1);
  return concat({corner[0], corner[1] - corner[0]}, -1);
}

}  // namespace tessera
