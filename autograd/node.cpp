#include "autograd/node.h"

#include <atomic>

namespace tessera {
namespace {
std::atomic<uint64_t> next_sequence{0};
thread_local bool recording = true;

AutogradMeta& meta_of(const Tensor& tensor) {
  TensorImpl& impl = *tensor.impl_ptr();
  if (!impl.meta) impl.meta = std::make_unique<AutogradMeta>();
  return *impl.meta;
}
}  // namespace

Node::Node() : sequence_(next_sequence.fetch_add(1, std::memory_order_relaxed)) {}

Node::~Node() {
  for (Edge& edge : next)
    if (edge.node) destroy_later(std::move(edge.node));
}

LeafNode::LeafNode(const Tensor& leaf) : leaf_(leaf.impl_ptr()) {
  outputs.push_back({leaf.shape(), leaf.dtype(), leaf.device()});
}

Edge gradient_edge(const Tensor& tensor) {
  if (!tensor.defined() || !tensor.requires_grad()) return {};
  AutogradMeta& meta = meta_of(tensor);
  if (!meta.node) meta.node = std::make_shared<LeafNode>(tensor);
  return {meta.node, meta.slot};
}

void set_producer(Tensor& tensor, std::shared_ptr<Node> node, uint32_t slot) {
  AutogradMeta& meta = meta_of(tensor);
  meta.node = std::move(node);
  meta.slot = slot;
}

void register_hook(const Tensor& tensor, GradHook hook) {
  const Edge edge = gradient_edge(tensor);
  TESSERA_CHECK(Error, edge.node, "register_hook: the tensor does not require a gradient");
  edge.node->hooks.emplace_back(edge.slot, std::move(hook));
}

bool grad_enabled() { return recording; }

GradModeGuard::GradModeGuard(bool enabled) : previous_(recording) { recording = enabled; }
GradModeGuard::~GradModeGuard() { recording = previous_; }

void check_inplace(const Tensor& tensor, std::string_view op) {
  TESSERA_CHECK(Error, !(grad_enabled() && tensor.requires_grad()), op,
                ": in-place on a tensor that requires a gradient is not recorded; use the "
                "out-of-place operator, or NoGradGuard to leave the write out of the graph");
}

}  // namespace tessera
