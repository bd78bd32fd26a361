#pragma once

#include <functional>
#include <memory>

#include "nn/module.h"
#include "tensor/tensor.h"

namespace tessera::nn {

/// A network's forward pass for inputs of one shape, made ready once: the kernel calls that one
/// pass makes, to be repeated without the layers around them, with memory laid out ahead.
/// Activations share one block, each holding its place only as long as something still reads it.
///
/// A plan is for networks whose kernel calls do not depend on the values that flow through them:
/// classification, feature extraction, the convolutional parts of detectors. It keeps the weights
/// alive; change them and make a new plan. One thread at a time may run it.
class InferencePlan {
 public:
  using Forward = std::function<Tensor(const Tensor&)>;

  /// Calls `forward` on inputs of example's shape and dtype, without recording gradients. Throws
  /// Error where a result does not follow from kernel calls alone (checked on two inputs: the plan
  /// must give the bits that `forward` gives), and what `forward` throws.
  InferencePlan(const Forward& forward, const Tensor& example);
  ~InferencePlan();
  InferencePlan(InferencePlan&&) noexcept;
  InferencePlan& operator=(InferencePlan&&) noexcept;

  /// What `forward` returned for this x, as a tensor of its own. Throws ShapeError, DTypeError or
  /// DeviceError unless x is like the example. After the first call, activations allocate nothing.
  Tensor operator()(const Tensor& x);

  int64_t kernel_calls() const;
  /// Bytes of the block that the activations share, and what they would take without sharing.
  int64_t activation_bytes() const;
  int64_t unshared_activation_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The plan of a network's evaluation pass. Switches the network to evaluation mode, where layers
/// fold batch norm, sums and activations into convolutions (nn/layers/conv_norm.h).
InferencePlan optimize_for_inference(Module& network, const Tensor& example);

}  // namespace tessera::nn
