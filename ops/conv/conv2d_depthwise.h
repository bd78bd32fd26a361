#pragma once

#include "ops/conv/conv2d_cpu.h"

namespace tessera::conv::depthwise {

/// Adds what output rows [first, last), counted over all images, contribute to the weight gradient:
/// sums is (KH KW, C). s.o == s.c. T is float or double.
template <class T>
void add_weight_grad(const ConvShape& s, const T* g, const T* x, int64_t first, int64_t last,
                     T* sums);

}  // namespace tessera::conv::depthwise
