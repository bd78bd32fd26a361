#pragma once

#include <functional>

#include "ops/conv/conv2d.h"
#include "tensor/tensor.h"

namespace tessera::testing {

/// Calls fn(y, x, w) with the flat indices of every product y += x * w of a convolution, straight
/// from the definition: (N, H, W, C), (O, KH, KW, C / groups), (N, Ho, Wo, O).
void for_each_product(const Shape& x, const Shape& w, const Shape& y, const Conv2dOptions& options,
                      const std::function<void(size_t y, size_t x, size_t w)>& fn);

/// Ho, Wo by counting the windows that fit into the padded image.
Shape conv_output_shape(const Shape& x, const Shape& w, const Conv2dOptions& options);

/// f64 results by for_each_product.
Tensor reference_conv2d(const Tensor& x, const Tensor& w, const Tensor& bias,
                        const Conv2dOptions& options);
Tensor reference_input_grad(const Tensor& g, const Tensor& w, const Shape& input_shape,
                            const Conv2dOptions& options);
Tensor reference_weight_grad(const Tensor& g, const Tensor& x, const Shape& weight_shape,
                             const Conv2dOptions& options);

/// Multiplications and additions of one convolution.
int64_t conv_flops(const Shape& w, const Shape& y);

}  // namespace tessera::testing
