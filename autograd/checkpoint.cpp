#include "autograd/checkpoint.h"

#include "autograd/apply.h"
#include "autograd/engine.h"
#include "tensor/generator.h"
#include "tensor/view.h"

namespace tessera {
namespace {

// Puts the default generator at `state` and back.
class GeneratorRewind {
 public:
  explicit GeneratorRewind(const Generator::State& state) : previous_(default_generator().state()) {
    default_generator().set_state(state);
  }
  ~GeneratorRewind() { default_generator().set_state(previous_); }
  GeneratorRewind(const GeneratorRewind&) = delete;
  GeneratorRewind& operator=(const GeneratorRewind&) = delete;

 private:
  Generator::State previous_;
};

struct Checkpoint {
  static constexpr std::string_view name = "checkpoint";
  std::function<Tensors(const Tensors&)> fn;
  size_t input_count;
  Generator::State generator;

  // all: the inputs, then the parameters fn captures.
  Tensors forward(Ctx& ctx, const Tensors& all) const {
    ctx.save(all);
    Tensors outputs =
        fn(Tensors(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(input_count)));
    // fn may return a tensor that it captured, which must not become this node's.
    for (Tensor& y : outputs)
      if (y.defined()) y = view::alias(y);
    return outputs;
  }

  Grads backward(const Ctx& ctx, const Grads& g) const {
    const bool differentiable = grad_enabled();
    GeneratorRewind rewind(generator);
    GradModeGuard enable(true);
    Tensors all, inputs;
    for (int i = 0; i < ctx.saved_count(); ++i) all.push_back(ctx.saved(i));
    Grads result(all.size());
    // fn reads its parameters itself, so only the inputs can be cut from the outer graph.
    for (size_t i = 0; i < input_count; ++i) {
      const bool attached = all[i].defined() && all[i].requires_grad();
      inputs.push_back(differentiable || !attached ? detail::cut(all[i])
                                                   : all[i].detach().set_requires_grad(true));
    }
    Tensors outputs, output_grads, targets;
    std::vector<size_t> where;
    const Tensors recomputed = fn(inputs);
    for (size_t i = 0; i < recomputed.size(); ++i) {
      if (!recomputed[i].defined() || !recomputed[i].requires_grad()) continue;
      outputs.push_back(recomputed[i]);
      output_grads.push_back(g[i]);
    }
    for (size_t i = 0; i < all.size(); ++i) {
      const Tensor& target = i < input_count ? inputs[i] : all[i];
      if (!ctx.needs_grad(static_cast<int>(i))) continue;
      targets.push_back(target);
      where.push_back(i);
    }
    if (outputs.empty() || targets.empty()) return result;
    // Retained, because what fn captured may belong to the outer graph.
    const Tensors found =
        grad(outputs, targets, output_grads,
             {.create_graph = differentiable, .retain_graph = true, .allow_unused = true});
    for (size_t k = 0; k < where.size(); ++k) result[where[k]] = found[k];
    return result;
  }
};

}  // namespace

Tensors checkpoint(std::function<Tensors(const Tensors&)> fn, const Tensors& inputs,
                   const Tensors& parameters) {
  for (const Tensor& p : parameters)
    TESSERA_CHECK(ValueError, p.is_leaf(), "checkpoint: a parameter of shape ", p.shape(),
                  " is not a leaf; pass what was computed as an input");
  Tensors all = inputs;
  all.insert(all.end(), parameters.begin(), parameters.end());
  const Generator::State start = default_generator().state();
  return apply_list(Checkpoint{std::move(fn), inputs.size(), start}, all);
}

}  // namespace tessera
