#pragma once

#include <algorithm>
#include <concepts>
#include <utility>

#include "autograd/ctx.h"

namespace tessera {

// An operator is a struct with
//   static constexpr std::string_view name;
//   Tensor  forward(Ctx&, const Tensor& x, ...) const;           one output, or
//   Tensors forward(Ctx&, const Tensor& x, ...) const;           several, or
//   ...     forward(Ctx&, const Tensors& inputs) const;          any number of inputs
//   Grads   backward(const Ctx&, const Tensor& g) const;         for one output, or
//   Grads   backward(const Ctx&, const Grads& g) const;          for several
// Attributes are plain members. Integer and bool outputs have no gradient. backward uses public
// operators only, so that it can be differentiated again.

namespace detail {

bool should_record(const Tensors& inputs, std::vector<bool>& needed);
/// Links outputs to `node`; an output that is an input is given a handle of its own first.
void record(const std::shared_ptr<Node>& node, const Tensors& inputs, Tensors& outputs);
std::vector<Edge> edges_of(const Tensors& inputs);

template <class Op>
class OpNode final : public Node {
 public:
  explicit OpNode(Op op) : op(std::move(op)) {}
  std::string_view name() const override { return Op::name; }
  Grads backward(const Grads& grads, const std::vector<bool>& needed) override {
    ctx.set_needed(needed);
    if constexpr (requires { op.backward(ctx, grads); }) {
      return op.backward(ctx, grads);
    } else {
      return op.backward(ctx, grads[0]);
    }
  }
  void release() override { ctx.release(); }

  Op op;
  Ctx ctx;
};

template <class Op, class Forward>
auto apply_with(Op op, const Tensors& inputs, Forward&& forward) {
  std::vector<bool> needed;
  const bool recording = should_record(inputs, needed);
  std::vector<Edge> edges;
  if (recording) edges = edges_of(inputs);  // before the node: inputs get smaller numbers
  Ctx ctx;
  ctx.begin(recording, std::move(needed));
  auto result = [&] {
    NoGradGuard inner_ops_are_not_recorded;
    return forward(op, ctx);
  }();
  if (!recording) return result;
  auto node = std::make_shared<OpNode<Op>>(std::move(op));
  node->next = std::move(edges);
  node->ctx = std::move(ctx);
  if constexpr (std::same_as<decltype(result), Tensor>) {
    Tensors outputs{std::move(result)};
    record(node, inputs, outputs);
    node->ctx.finish(node.get(), outputs);
    return std::move(outputs[0]);
  } else {
    record(node, inputs, result);
    node->ctx.finish(node.get(), result);
    return result;
  }
}

}  // namespace detail

/// Runs `op` on the inputs and, where a gradient is needed, records it.
template <class Op, std::same_as<Tensor>... Inputs>
auto apply(Op op, const Inputs&... inputs) {
  return detail::apply_with(std::move(op), Tensors{inputs...},
                            [&](const Op& o, Ctx& ctx) { return o.forward(ctx, inputs...); });
}
/// The same for an operator with a list of inputs. (Not an overload of apply: for a std::vector
/// argument-dependent lookup would prefer std::apply.)
template <class Op>
auto apply_list(Op op, const Tensors& inputs) {
  return detail::apply_with(std::move(op), inputs,
                            [&](const Op& o, Ctx& ctx) { return o.forward(ctx, inputs); });
}

}  // namespace tessera
