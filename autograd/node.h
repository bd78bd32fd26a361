#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace tessera {

/// One gradient per input of an operator; an undefined tensor stands for zero.
using Grads = std::vector<Tensor>;
/// Called with a gradient; may return a replacement of the same shape and dtype (ShapeError /
/// DTypeError otherwise), or an undefined tensor to keep it. It must not write to the gradient.
using GradHook = std::function<Tensor(const Tensor& grad)>;

/// Where the gradient of an operator's input goes: output `slot` of the step that produced it. A
/// null node needs none.
struct Edge {
  std::shared_ptr<Node> node;
  uint32_t slot = 0;
};

/// One step of the recorded graph. Steps are numbered when they are made, so an input always has a
/// smaller number than what uses it: descending numbers are a topological order.
class Node : public std::enable_shared_from_this<Node> {
 public:
  struct Output {
    Shape shape;
    DType dtype;
    Device device;
  };

  Node();
  virtual ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  virtual std::string_view name() const = 0;
  /// grads: one defined tensor per output. needed[i]: whether the gradient of input i is wanted
  /// now.
  virtual Grads backward(const Grads& grads, const std::vector<bool>& needed) = 0;
  /// Frees what was saved for backward; a later backward() throws.
  virtual void release() {}

  uint64_t sequence() const { return sequence_; }

  std::vector<Edge> next;                            // one per input
  std::vector<Output> outputs;                       // what each gradient must look like
  std::vector<std::pair<uint32_t, GradHook>> hooks;  // by output slot

 private:
  uint64_t sequence_;
};

/// The end of the graph at a leaf: backward() adds the arriving gradient to leaf.grad().
class LeafNode final : public Node {
 public:
  explicit LeafNode(const Tensor& leaf);
  std::string_view name() const override { return "leaf"; }
  Grads backward(const Grads&, const std::vector<bool>&) override { return {}; }
  /// Undefined when every handle on the leaf is gone.
  Tensor leaf() const { return Tensor(leaf_.lock()); }

 private:
  std::weak_ptr<TensorImpl> leaf_;
};

/// The edge that leads to `tensor`'s gradient; null when it needs none.
Edge gradient_edge(const Tensor& tensor);
/// Makes `tensor` output `slot` of `node`.
void set_producer(Tensor& tensor, std::shared_ptr<Node> node, uint32_t slot);

/// Calls `hook` with the complete gradient of `tensor` each time one is computed, before it is used
/// further; several hooks run in the order of their registration. The tensor must require a
/// gradient (Error otherwise).
void register_hook(const Tensor& tensor, GradHook hook);

/// Whether operators on this thread are recorded.
bool grad_enabled();
/// Whether an operator on these inputs would be recorded; undefined ones do not count. Where it
/// would not, a caller may use a faster function that has no derivative.
inline bool is_recorded(std::initializer_list<Tensor> inputs) {
  if (!grad_enabled()) return false;
  for (const Tensor& t : inputs)
    if (t.defined() && t.requires_grad()) return true;
  return false;
}

/// Sets grad_enabled() on this thread while it lives.
class GradModeGuard {
 public:
  explicit GradModeGuard(bool enabled);
  ~GradModeGuard();
  GradModeGuard(const GradModeGuard&) = delete;
  GradModeGuard& operator=(const GradModeGuard&) = delete;

 private:
  bool previous_;
};
/// Nothing is recorded while it lives: inference, optimizer steps, running statistics.
class NoGradGuard : public GradModeGuard {
 public:
  NoGradGuard() : GradModeGuard(false) {}
};

/// Throws Error when an in-place write to `tensor` would silently be left out of the graph:
/// recording is on and it requires a gradient. In-place functions call it first.
void check_inplace(const Tensor& tensor, std::string_view op);

}  // namespace tessera
