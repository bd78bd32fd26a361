#pragma once

#include <functional>
#include <string>

#include "tensor/tensor.h"

namespace tessera {

struct GradcheckOptions {
  double step = 1e-6;
  double atol = 1e-6;
  double rtol = 1e-4;
};

/// Result of a comparison of analytic with numeric gradients. `message` names the worst element:
/// which input, which index, both values.
struct GradcheckResult {
  bool ok = true;
  double worst_error = 0;  // |analytic - numeric| / (atol + rtol * |numeric|); passes up to 1
  std::string message;
  explicit operator bool() const { return ok; }
};

using TensorFunction = std::function<Tensors(const Tensors&)>;

/// Compares the gradient of sum(fn(inputs) * g), g a fixed pseudo-random weight per output element,
/// with central differences in every element of every f64 input that requires a gradient. Throws
/// DTypeError when such an input is not f64. Cost: 2 calls of fn per element.
GradcheckResult gradcheck(const TensorFunction& fn, const Tensors& inputs,
                          GradcheckOptions options = {});
/// The same for the gradient function itself (with respect to the inputs and to g): second order.
GradcheckResult gradgradcheck(const TensorFunction& fn, const Tensors& inputs,
                              GradcheckOptions options = {});

}  // namespace tessera
