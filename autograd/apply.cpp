#include "autograd/apply.h"

#include "tensor/view.h"

namespace tessera::detail {

bool should_record(const Tensors& inputs, std::vector<bool>& needed) {
  if (!grad_enabled()) return false;
  bool any = false;
  needed.resize(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    needed[i] = inputs[i].defined() && inputs[i].requires_grad();
    any = any || needed[i];
  }
  return any;
}

std::vector<Edge> edges_of(const Tensors& inputs) {
  std::vector<Edge> edges;
  edges.reserve(inputs.size());
  for (const Tensor& input : inputs) edges.push_back(gradient_edge(input));
  return edges;
}

void record(const std::shared_ptr<Node>& node, const Tensors& inputs, Tensors& outputs) {
  for (size_t slot = 0; slot < outputs.size(); ++slot) {
    Tensor& y = outputs[slot];
    for (const Tensor& x : inputs) {
      if (y.defined() && x.impl_ptr() == y.impl_ptr()) {
        y = view::alias(y);
        break;
      }
    }
    if (!y.defined()) {
      node->outputs.push_back({Shape{}, DType::f32, kCpu});
      continue;
    }
    node->outputs.push_back({y.shape(), y.dtype(), y.device()});
    if (is_floating(y.dtype())) set_producer(y, node, static_cast<uint32_t>(slot));
  }
}

}  // namespace tessera::detail
