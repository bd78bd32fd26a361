#include "ops/detect/nms.h"

#include <unordered_map>
#include <vector>

#include "ops/detect/overlap.h"
#include "ops/index/axis.h"
#include "ops/index/sort.h"
#include "tensor/view.h"

namespace tessera {

namespace {

/// Boxes by coordinate, so that one box is compared with many at once.
template <class T>
struct Columns {
  std::vector<T> x1, y1, x2, y2, area;
  explicit Columns(size_t n) : x1(n), y1(n), x2(n), y2(n), area(n) {}
};

/// Marks in `dropped` what greedy suppression drops of the boxes order[members...], in that order.
template <class T>
void suppress(const T* boxes, const int64_t* order, const std::vector<int64_t>& members,
              T threshold, std::vector<uint8_t>& dropped) {
  const size_t n = members.size();
  Columns<T> c(n);
  for (size_t i = 0; i < n; ++i) {
    const T* box = boxes + 4 * order[members[i]];
    c.x1[i] = box[0];
    c.y1[i] = box[1];
    c.x2[i] = box[2];
    c.y2[i] = box[3];
    c.area[i] = math::Corners<T>{box[0], box[1], box[2], box[3]}.area();
  }
  std::vector<uint8_t> gone(n, 0);
  for (size_t i = 0; i < n; ++i) {
    if (gone[i]) continue;
    const math::Corners<T> box{c.x1[i], c.y1[i], c.x2[i], c.y2[i]};
    const T area = c.area[i];
    const T *px1 = c.x1.data(), *py1 = c.y1.data(), *px2 = c.x2.data(), *py2 = c.y2.data();
    const T* parea = c.area.data();
    uint8_t* __restrict flag = gone.data();
    for (size_t j = i + 1; j < n; ++j) {
      const math::Corners<T> other{px1[j], py1[j], px2[j], py2[j]};
      flag[j] |=
          static_cast<uint8_t>(math::suppression_iou(box, area, other, parea[j]) > threshold);
    }
  }
  for (size_t i = 0; i < n; ++i) dropped[static_cast<size_t>(members[i])] = gone[i];
}

Tensor nms_cpu(const Tensor& boxes, const Tensor& order, const Tensor& classes, double threshold) {
  const int64_t n = order.numel();
  const int64_t* sorted = order.data<int64_t>();
  // Positions in `order` of each class, each list ascending.
  std::vector<std::vector<int64_t>> groups;
  std::unordered_map<int64_t, size_t> group_of;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t id = classes.defined() ? classes.data<int64_t>()[sorted[i]] : 0;
    const auto [it, added] = group_of.try_emplace(id, groups.size());
    if (added) groups.emplace_back();
    groups[it->second].push_back(i);
  }
  std::vector<uint8_t> dropped(static_cast<size_t>(n), 0);
  dispatch_float(boxes.dtype(), "nms", [&]<class T>() {
    for (const std::vector<int64_t>& members : groups)
      suppress(boxes.data<T>(), sorted, members, math::round_down<T>(threshold), dropped);
  });
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < n; ++i)
    if (!dropped[static_cast<size_t>(i)]) kept.push_back(sorted[i]);
  return from_vector(kept);
}

Tensor run_nms(const Tensor& boxes, const Tensor& scores, const Tensor& classes, double threshold,
               std::string_view op) {
  TESSERA_CHECK(
      ShapeError,
      boxes.rank() == 2 && boxes.shape()[1] == 4 && scores.shape() == Shape{boxes.size(0)}, op,
      ": expects boxes (N, 4) and scores (N), got ", boxes.shape(), " and ", scores.shape());
  TESSERA_CHECK(DTypeError, boxes.dtype() == scores.dtype(), op, ": boxes are ", boxes.dtype(),
                ", scores ", scores.dtype());
  const Tensor order = argsort(scores, 0, true);
  return kernel::nms(boxes.device(), view::contiguous(boxes.detach()), order, classes, threshold);
}

}  // namespace

namespace kernel {
constinit KernelSlot<Tensor(const Tensor&, const Tensor&, const Tensor&, double)> nms{"nms"};
}
TESSERA_KERNEL(nms, cpu, nms_cpu);

Tensor nms(const Tensor& boxes, const Tensor& scores, double iou_threshold) {
  return run_nms(boxes, scores, Tensor(), iou_threshold, "nms");
}

Tensor batched_nms(const Tensor& boxes, const Tensor& scores, const Tensor& classes,
                   double iou_threshold) {
  index::check_index_dtype(classes, "batched_nms");
  TESSERA_CHECK(ShapeError, classes.shape() == scores.shape(), "batched_nms: classes ",
                classes.shape(), " do not match scores ", scores.shape());
  return run_nms(boxes, scores, view::contiguous(classes.detach()), iou_threshold, "batched_nms");
}

}  // namespace tessera
