#include "autograd/engine.h"

#include <algorithm>
#include <limits>
#include <unordered_map>

#include "autograd/apply.h"
#include "tensor/kernel_observer.h"
#include "tensor/view.h"

namespace tessera {
namespace {

constinit detail::AddHooks add_hooks{nullptr, nullptr};

// Identity on memory of its own, for a leaf's gradient that others can see.
struct Copy {
  static constexpr std::string_view name = "copy";
  Tensor forward(Ctx&, const Tensor& x) const { return view::clone(x); }
  Grads backward(const Ctx&, const Tensor& g) const { return {g}; }
};

// Nobody but the `handles` of the caller can see this tensor's memory.
bool is_exclusive(const Tensor& t, long handles = 1) {
  return t.impl_ptr().use_count() == handles && t.impl_ptr()->storage.use_count() == 1;
}

void accumulate(Tensor& sum, Tensor grad, bool create_graph) {
  if (!sum.defined()) {
    sum = std::move(grad);
  } else if (!create_graph && is_exclusive(sum) && sum.is_contiguous()) {
    add_hooks.add_(sum, grad);
  } else {
    sum = add_hooks.add(sum, grad);
  }
}

struct Entry {
  Node* node;
  Grads grads;  // by output slot
  bool leads_to_target = false;
  bool is_target = false;
};

struct Capture {
  size_t input;
  uint32_t slot;
};

// One walk over the graph, from outputs to targets. Nodes numbered below `lowest` cannot lead to a
// target and are left out.
class Run {
 public:
  Run(const Tensors& outputs, const Tensors& grad_outputs, GradOptions options, uint64_t lowest = 0)
      : options_(options) {
    options_.retain_graph |= options_.create_graph;
    TESSERA_CHECK(Error, !outputs.empty(), "grad: no outputs");
    TESSERA_CHECK(Error, grad_outputs.empty() || grad_outputs.size() == outputs.size(),
                  "grad: ", outputs.size(), " outputs but ", grad_outputs.size(), " grad_outputs");
    std::vector<Node*> stack;
    for (size_t i = 0; i < outputs.size(); ++i) {
      const Edge edge = gradient_edge(outputs[i]);
      TESSERA_CHECK(Error, edge.node, "grad: output ", i, " does not require a gradient");
      roots_.push_back(edge);
      root_grads_.push_back(
          start_gradient(outputs[i], grad_outputs.empty() ? Tensor() : grad_outputs[i]));
      if (visit(edge.node.get())) stack.push_back(edge.node.get());
    }
    while (!stack.empty()) {
      Node* node = stack.back();
      stack.pop_back();
      for (const Edge& edge : node->next)
        if (edge.node && edge.node->sequence() >= lowest && visit(edge.node.get()))
          stack.push_back(edge.node.get());
    }
    std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
      return a.node->sequence() > b.node->sequence();
    });
    for (size_t i = 0; i < entries_.size(); ++i) index_[entries_[i].node] = i;
  }

  /// Gradients of the tensors that `targets` lead to.
  Tensors capture(const std::vector<Edge>& targets) {
    std::unordered_map<Node*, std::vector<Capture>> captures;
    for (size_t i = 0; i < targets.size(); ++i) {
      captures[targets[i].node.get()].push_back({i, targets[i].slot});
      if (Entry* entry = entry_of(targets[i])) entry->is_target = true;
    }
    Tensors results(targets.size());
    walk([&](Node& node, const Grads& grads) {
      if (auto found = captures.find(&node); found != captures.end())
        for (const Capture& c : found->second) results[c.input] = grads[c.slot];
    });
    for (size_t i = 0; i < targets.size(); ++i)
      TESSERA_CHECK(Error, results[i].defined() || options_.allow_unused,
                    "grad: the outputs do not depend on input ", i, " of shape ",
                    targets[i].node->outputs[targets[i].slot].shape, " (allow_unused)");
    return results;
  }

  /// Adds to the leaves' grad().
  void accumulate_leaves() {
    for (Entry& entry : entries_) entry.is_target = dynamic_cast<LeafNode*>(entry.node) != nullptr;
    walk([&](Node& node, Grads& grads) {
      auto* leaf_node = dynamic_cast<LeafNode*>(&node);
      if (!leaf_node || !grads[0].defined()) return;
      Tensor leaf = leaf_node->leaf();
      if (leaf.defined()) add_to_leaf(leaf, std::move(grads[0]));
    });
  }

 private:
  static Tensor start_gradient(const Tensor& output, const Tensor& given) {
    if (!given.defined()) {
      TESSERA_CHECK(ShapeError, output.numel() == 1, "grad: an output of shape ", output.shape(),
                    " needs a grad_output (only one-element outputs have a default)");
      return ones_like(output);
    }
    TESSERA_CHECK(ShapeError, given.shape() == output.shape(), "grad: grad_output is ",
                  given.shape(), " for an output of ", output.shape());
    TESSERA_CHECK(DTypeError, given.dtype() == output.dtype(), "grad: grad_output is ",
                  given.dtype(), " for an output of ", output.dtype());
    return given;
  }

  bool visit(Node* node) {
    if (!index_.emplace(node, entries_.size()).second) return false;
    entries_.push_back({node, Grads(node->outputs.size()), false, false});
    return true;
  }

  // Null where the edge leads out of this run.
  Entry* entry_of(const Edge& edge) {
    if (!edge.node) return nullptr;
    const auto found = index_.find(edge.node.get());
    return found == index_.end() ? nullptr : &entries_[found->second];
  }

  template <class OnGradient>
  void walk(OnGradient&& on_gradient) {
    for (size_t i = entries_.size(); i-- > 0;) {
      Entry& entry = entries_[i];
      for (const Edge& edge : entry.node->next)
        if (const Entry* next = entry_of(edge))
          entry.leads_to_target |= next->is_target || next->leads_to_target;
    }
    for (size_t i = 0; i < roots_.size(); ++i)
      accumulate(entry_of(roots_[i])->grads[roots_[i].slot], root_grads_[i], options_.create_graph);
    root_grads_.clear();
    const KernelSpan span("backward");
    GradModeGuard mode(options_.create_graph);
    for (Entry& entry : entries_) {
      if (!entry.is_target && !entry.leads_to_target) continue;
      const bool any = std::any_of(entry.grads.begin(), entry.grads.end(),
                                   [](const Tensor& g) { return g.defined(); });
      if (any) {
        run_hooks(entry);
        if (entry.is_target) on_gradient(*entry.node, entry.grads);
        if (entry.leads_to_target) step(entry);
      }
      Grads().swap(entry.grads);
    }
  }

  template <class What>
  static void check_gradient(const Tensor& grad, const Node::Output& expected, What&& what) {
    TESSERA_CHECK(ShapeError, grad.shape() == expected.shape, what(), " has shape ", grad.shape(),
                  ", the tensor has ", expected.shape);
    TESSERA_CHECK(DTypeError, grad.dtype() == expected.dtype, what(), " is ", grad.dtype(),
                  ", the tensor is ", expected.dtype);
  }

  static void run_hooks(Entry& entry) {
    // A hook may register further ones, which count from the next run on.
    for (size_t i = 0, count = entry.node->hooks.size(); i < count; ++i) {
      const auto [slot, hook] = entry.node->hooks[i];
      if (!entry.grads[slot].defined()) continue;
      Tensor replaced = hook(entry.grads[slot]);
      if (!replaced.defined()) continue;
      check_gradient(replaced, entry.node->outputs[slot], [&] {
        return cat("a hook on an output of ", entry.node->name(), ": the replaced gradient");
      });
      entry.grads[slot] = std::move(replaced);
    }
  }

  void step(Entry& entry) {
    Node& node = *entry.node;
    for (size_t slot = 0; slot < entry.grads.size(); ++slot) {
      const Node::Output& o = node.outputs[slot];
      if (!entry.grads[slot].defined() && is_floating(o.dtype))
        entry.grads[slot] = zeros(o.shape, o.dtype, o.device);
    }
    std::vector<bool> needed(node.next.size());
    for (size_t i = 0; i < needed.size(); ++i)
      if (const Entry* next = entry_of(node.next[i]))
        needed[i] = next->is_target || next->leads_to_target;
    Grads results = [&] {
      const KernelSpan span(node.name());
      return node.backward(entry.grads, needed);
    }();
    if (!options_.retain_graph) node.release();
    Grads().swap(entry.grads);
    TESSERA_CHECK(Error, results.size() == needed.size(), node.name(), ": backward returned ",
                  results.size(), " gradients for ", needed.size(), " inputs");
    for (size_t i = 0; i < needed.size(); ++i) {
      if (!needed[i] || !results[i].defined()) continue;
      const Edge& edge = node.next[i];
      check_gradient(results[i], edge.node->outputs[edge.slot],
                     [&] { return cat(node.name(), ": gradient of input ", i); });
      accumulate(entry_of(edge)->grads[edge.slot], std::move(results[i]), options_.create_graph);
    }
  }

  // A leaf's gradient shares memory with nothing, so that it can be scaled or added to in place.
  void add_to_leaf(Tensor& leaf, Tensor grad) {
    Tensor old = leaf.grad();
    if (!old.defined()) {
      const bool keep = is_exclusive(grad) && grad.is_contiguous();
      leaf.set_grad(keep ? std::move(grad) : apply(Copy{}, grad));
    } else if (!options_.create_graph && is_exclusive(old, 2) && old.is_contiguous() &&
               !old.requires_grad()) {
      add_hooks.add_(old, grad);  // `old` and the leaf's own handle
    } else {
      leaf.set_grad(add_hooks.add(old, grad));
    }
  }

  GradOptions options_;
  std::vector<Edge> roots_;
  Grads root_grads_;
  std::vector<Entry> entries_;  // descending sequence
  std::unordered_map<Node*, size_t> index_;
};

// Identity that gives a tensor a place of its own in the graph.
struct Alias {
  static constexpr std::string_view name = "alias";
  Tensor forward(Ctx&, const Tensor& x) const { return view::alias(x); }
  Grads backward(const Ctx&, const Tensor& g) const { return {g}; }
};

}  // namespace

void detail::set_add_hooks(AddHooks hooks) { add_hooks = hooks; }

Tensor detail::cut(const Tensor& x) {
  if (!x.defined()) return x;
  return x.requires_grad() ? apply(Alias{}, x) : x.detach();
}

Tensors grad(const Tensors& outputs, const Tensors& inputs, const Tensors& grad_outputs,
             GradOptions options) {
  std::vector<Edge> targets;
  uint64_t lowest = std::numeric_limits<uint64_t>::max();
  for (size_t i = 0; i < inputs.size(); ++i) {
    targets.push_back(gradient_edge(inputs[i]));
    TESSERA_CHECK(Error, targets[i].node, "grad: input ", i, " does not require a gradient");
    lowest = std::min(lowest, targets[i].node->sequence());
  }
  return Run(outputs, grad_outputs, options, lowest).capture(targets);
}

void backward(const Tensor& output, const Tensor& grad_output, GradOptions options) {
  backward(Tensors{output}, grad_output.defined() ? Tensors{grad_output} : Tensors{}, options);
}

void backward(const Tensors& outputs, const Tensors& grad_outputs, GradOptions options) {
  Run(outputs, grad_outputs, options).accumulate_leaves();
}

Grads composite_vjp(const std::function<Tensors(const Tensors&)>& fn, const Tensors& inputs,
                    const Tensors& grad_outputs, const std::vector<bool>& wanted) {
  const bool differentiable = grad_enabled();
  GradModeGuard enable(true);
  Tensors cut(inputs.size()), targets;
  std::vector<size_t> where;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].defined()) continue;
    const bool want = (wanted.empty() || wanted[i]) && is_floating(inputs[i].dtype());
    cut[i] = detail::cut(inputs[i]);
    if (!want) continue;
    if (!cut[i].requires_grad()) cut[i].set_requires_grad(true);
    targets.push_back(cut[i]);
    where.push_back(i);
  }
  Grads result(inputs.size());
  if (targets.empty()) return result;
  const Tensors outputs = fn(cut);
  TESSERA_CHECK(Error, grad_outputs.empty() || grad_outputs.size() == outputs.size(),
                "composite_vjp: ", outputs.size(), " outputs but ", grad_outputs.size(),
                " grad_outputs");
  Tensors roots, root_grads;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].defined() || !outputs[i].requires_grad()) continue;
    roots.push_back(outputs[i]);
    root_grads.push_back(grad_outputs.empty() ? Tensor() : grad_outputs[i]);
  }
  if (roots.empty()) return result;
  const Tensors found =
      grad(roots, targets, root_grads, {.create_graph = differentiable, .allow_unused = true});
  for (size_t k = 0; k < where.size(); ++k) result[where[k]] = found[k];
  return result;
}

}  // namespace tessera
