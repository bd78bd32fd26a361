#include "ops/cpu/reduce.h"

namespace tessera::cpu {

ReducePlan plan_reduction(const Tensor& x, const Shape& y_shape) {
  struct Group {
    bool reduced;
    int64_t size;
  };
  std::vector<Group> groups;
  Dims kept, reduced;
  for (int axis = 0; axis < x.rank(); ++axis) {
    const bool reduce = y_shape[axis] == 1 && x.shape()[axis] != 1;
    (reduce ? reduced : kept).push_back(axis);
    if (x.shape()[axis] == 1) continue;
    if (!groups.empty() && groups.back().reduced == reduce) {
      groups.back().size *= x.shape()[axis];
    } else {
      groups.push_back({reduce, x.shape()[axis]});
    }
  }
  int64_t reduced_groups = 0;
  for (const Group& g : groups) reduced_groups += g.reduced;

  ReducePlan plan;
  if (reduced_groups <= 1) {
    plan.x = view::contiguous(x);
    bool after = false;
    for (const Group& g : groups) {
      if (g.reduced) {
        plan.length = g.size;
        after = true;
      } else {
        (after ? plan.outputs : plan.batch) *= g.size;
      }
    }
    return plan;
  }
  Dims order = kept;
  for (int64_t axis : reduced) order.push_back(axis);
  plan.x = view::contiguous(view::permute(x, order));
  for (int64_t axis : kept) plan.batch *= x.shape()[static_cast<int>(axis)];
  for (int64_t axis : reduced) plan.length *= x.shape()[static_cast<int>(axis)];
  return plan;
}

}  // namespace tessera::cpu

namespace tessera {

ReducedShape reduced_shape(const Shape& x, const Dims& axes, std::string_view op) {
  unsigned mask = axes.empty() ? ~0u : 0u;
  for (int64_t a : axes) {
    const unsigned bit = 1u << normalize_axis(a, x.rank(), op);
    TESSERA_CHECK(ValueError, !(mask & bit), op, ": axis ", a, " is given twice in ", axes);
    mask |= bit;
  }
  ReducedShape out;
  for (int axis = 0; axis < x.rank(); ++axis) {
    const bool reduce = mask >> axis & 1u;
    out.kept.push_back(reduce ? 1 : x[axis]);
    if (reduce) {
      out.axes.push_back(axis);
      out.count *= x[axis];
    } else {
      out.dropped.push_back(x[axis]);
    }
  }
  return out;
}

}  // namespace tessera
