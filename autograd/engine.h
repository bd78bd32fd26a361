#pragma once

#include "autograd/node.h"

namespace tessera {

struct GradOptions {
  /// Record the gradient computation itself, for higher orders. Implies retain_graph.
  bool create_graph = false;
  /// Keep what the graph saved, so that it can be walked again.
  bool retain_graph = false;
  /// Return an undefined tensor for an input that the outputs do not depend on (Error otherwise).
  bool allow_unused = false;
};

/// d(sum of outputs * grad_outputs) / d(inputs), one tensor per input, without touching any
/// .grad(). Walks only the paths that lead to `inputs`. grad_outputs may be empty, or hold
/// undefined tensors, for outputs with one element (taken as 1). Throws ShapeError / DTypeError for
/// a mismatch, Error for inputs or outputs that require no gradient.
Tensors grad(const Tensors& outputs, const Tensors& inputs, const Tensors& grad_outputs = {},
             GradOptions options = {});

/// Adds the gradient of `output` with respect to every leaf it depends on to that leaf's grad().
/// `grad_output` may be left out for an output with one element. A leaf's gradient has memory of
/// its own; a handle that was taken from grad() before keeps its values. With create_graph the
/// gradient refers to the graph and the graph to the leaf, which live on until the gradient is
/// replaced: prefer grad() for higher orders.
void backward(const Tensor& output, const Tensor& grad_output = {}, GradOptions options = {});
void backward(const Tensors& outputs, const Tensors& grad_outputs = {}, GradOptions options = {});

/// d(sum of fn(inputs) * grad_outputs) / d(inputs) where fn is built of public operators: the
/// backward of a fused operator whose second order runs its composite reference. Inputs are cut
/// from each other first, so an input that was computed from another counts as independent. The
/// result is differentiable again in the inputs and in grad_outputs where grad_enabled(); there is
/// one of them per output (Error otherwise). wanted[i] selects inputs (empty: all); the others, and
/// inputs that fn ignores, are undefined in the result. An output that depends on no wanted input
/// adds nothing.
Grads composite_vjp(const std::function<Tensors(const Tensors&)>& fn, const Tensors& inputs,
                    const Tensors& grad_outputs, const std::vector<bool>& wanted = {});

namespace detail {
/// How the engine adds two gradients. `ops` supplies them when it is loaded, because the sum must
/// be differentiable itself.
struct AddHooks {
  Tensor (*add)(const Tensor& a, const Tensor& b);
  void (*add_)(Tensor& a, const Tensor& b);  // a += b
};
void set_add_hooks(AddHooks hooks);
/// x with a place of its own in the graph (recorded while grad_enabled()), so that derivatives with
/// respect to it are partial ones.
Tensor cut(const Tensor& x);
}  // namespace detail

}  // namespace tessera
