#pragma once

#include "tensor/strided_loop.h"
#include "tensor/view.h"

namespace tessera::cpu {

/// A reduction seen as rows x columns: either each row of `length` contiguous elements gives one
/// output (inner), or `length` rows of `outputs` contiguous elements are combined (outer).
struct ReducePlan {
  Tensor x;             // contiguous, 2-D (batch, ...) as below
  int64_t batch = 1;    // independent problems
  int64_t length = 1;   // elements that are combined
  int64_t outputs = 1;  // contiguous outputs per problem; > 1 means outer
};

/// Brings x (rank r) and the set of reduced axes into ReducePlan form: x viewed, or copied when the
/// reduced axes are scattered, as (batch, length, outputs), row-major. The outputs, row-major over
/// the kept axes, are (batch, outputs).
ReducePlan plan_reduction(const Tensor& x, const Shape& y_shape);

}  // namespace tessera::cpu
