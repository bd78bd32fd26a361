#include "nn/optim/optimizer.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <unordered_set>

#include "autograd/node.h"
#include "ops/optim/update.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/extrema.h"
#include "ops/reduce/sum.h"
#include "tensor/kernel_observer.h"
#include "tensor/view.h"

namespace tessera::nn {
namespace {

// "<index>.<buffer>" taken apart; the index is `count` when it is not a number below it.
std::pair<size_t, std::string> split_name(const std::string& name, size_t count) {
  const size_t dot = name.find('.');
  size_t index = count;
  if (dot == std::string::npos) return {count, ""};
  const auto [end, error] = std::from_chars(name.data(), name.data() + dot, index);
  const bool good = error == std::errc() && end == name.data() + dot && index < count;
  return {good ? index : count, name.substr(dot + 1)};
}

}  // namespace

Optimizer::Optimizer(std::vector<ParameterGroup> groups, double lr, double weight_decay) {
  std::unordered_set<const TensorImpl*> seen;
  for (ParameterGroup& g : groups) {
    Group group{std::move(g.parameters), g.lr.value_or(lr), g.lr.value_or(lr),
                g.weight_decay.value_or(weight_decay)};
    TESSERA_CHECK(ValueError, group.lr >= 0 && group.weight_decay >= 0, "optimizer: learning rate ",
                  group.lr, " and weight decay ", group.weight_decay, " must not be negative");
    for (const Tensor& p : group.parameters) {
      TESSERA_CHECK(ValueError, p.is_leaf(), "optimizer: a tensor of shape ", p.shape(),
                    " is not a leaf and never gets a gradient");
      TESSERA_CHECK(ValueError, seen.insert(p.impl_ptr().get()).second,
                    "optimizer: a parameter of shape ", p.shape(), " appears twice");
    }
    groups_.push_back(std::move(group));
  }
  state_.resize(seen.size());
  steps_.resize(seen.size());
}

void Optimizer::step() {
  const KernelSpan span("optimizer");
  NoGradGuard no_grad;
  size_t next = 0;
  for (const Group& group : groups_) {
    Tensors parameters, grads;
    std::vector<size_t> index;
    for (const Tensor& p : group.parameters) {
      const size_t i = next++;
      const Tensor g = p.grad();
      if (!g.defined()) continue;
      parameters.push_back(p);
      grads.push_back(g.detach());
      index.push_back(i);
      ++steps_[i];
    }
    if (!parameters.empty()) step_group(group, parameters, grads, index);
  }
}

void Optimizer::zero_grad() {
  for (Group& group : groups_)
    for (Tensor& p : group.parameters) p.set_grad(Tensor());
}

Tensors Optimizer::state_of(const std::string& name, const Tensors& parameters,
                            const std::vector<size_t>& index, std::vector<bool>* fresh) {
  Tensors out;
  for (size_t k = 0; k < parameters.size(); ++k) {
    Tensor& slot = state_[index[k]][name];
    if (fresh) fresh->push_back(!slot.defined());
    if (!slot.defined()) slot = zeros_like(parameters[k]);
    out.push_back(slot);
  }
  return out;
}

OptimizerState Optimizer::state() const {
  OptimizerState out;
  std::vector<double> lr, initial;
  for (const Group& g : groups_) {
    lr.push_back(g.lr);
    initial.push_back(g.initial_lr);
  }
  out.push_back({"lr", from_vector(lr)});
  out.push_back({"initial_lr", from_vector(initial)});
  out.push_back({"step", from_vector(steps_)});
  for (size_t i = 0; i < state_.size(); ++i)
    for (const auto& [name, tensor] : state_[i]) out.push_back({cat(i, ".", name), tensor});
  return out;
}

void Optimizer::load_state(const OptimizerState& state) {
  Tensors flat;
  for (const Group& g : groups_) flat.insert(flat.end(), g.parameters.begin(), g.parameters.end());
  const std::vector<std::string> names = state_names();
  std::vector<double> lr, initial;
  std::vector<int64_t> steps;
  std::vector<std::map<std::string, Tensor>> restored(flat.size());
  std::string problems;
  for (const StateEntry& e : state) {
    if (e.name == "lr") {
      lr = e.tensor.to_vector<double>();
    } else if (e.name == "initial_lr") {
      initial = e.tensor.to_vector<double>();
    } else if (e.name == "step") {
      steps = e.tensor.to_vector<int64_t>();
    } else if (const auto [i, buffer] = split_name(e.name, flat.size());
               i == flat.size() || std::find(names.begin(), names.end(), buffer) == names.end()) {
      problems += cat("\nunexpected ", e.name);
    } else if (e.tensor.shape() != flat[i].shape() || !is_floating(e.tensor.dtype())) {
      problems += cat("\nmismatched ", e.name, ": state ", e.tensor.dtype(), e.tensor.shape(),
                      ", parameter ", flat[i].dtype(), flat[i].shape());
    } else {
      restored[i][buffer] =
          view::clone(view::to(view::to(e.tensor, flat[i].dtype()), flat[i].device()));
    }
  }
  if (lr.size() != groups_.size() || initial.size() != groups_.size() ||
      steps.size() != flat.size())
    problems += cat("\nthe state has ", lr.size(), " groups and ", steps.size(),
                    " parameters, the optimizer ", groups_.size(), " and ", flat.size());
  for (size_t i = 0; i < std::min(steps.size(), flat.size()); ++i) {
    if (steps[i] < 0) problems += cat("\nparameter ", i, " has made ", steps[i], " steps");
    for (const std::string& name : names)
      if (steps[i] > 0 && !restored[i].contains(name)) problems += cat("\nmissing ", i, ".", name);
  }
  TESSERA_CHECK(ValueError, problems.empty(), "the state does not fit the optimizer:", problems);
  for (size_t g = 0; g < groups_.size(); ++g) {
    groups_[g].lr = lr[g];
    groups_[g].initial_lr = initial[g];
  }
  steps_ = std::move(steps);
  state_ = std::move(restored);
}

Sgd::Sgd(std::vector<ParameterGroup> groups, Options options)
    : Optimizer(std::move(groups), options.lr, options.weight_decay), options_(options) {
  TESSERA_CHECK(ValueError, options.momentum >= 0, "sgd: momentum must not be negative, got ",
                options.momentum);
  TESSERA_CHECK(ValueError, !options.nesterov || (options.momentum > 0 && options.dampening == 0),
                "sgd: nesterov needs momentum > 0 and no dampening");
}

std::vector<std::string> Sgd::state_names() const {
  if (options_.momentum == 0) return {};
  return {"momentum"};
}

void Sgd::step_group(const Group& group, const Tensors& parameters, const Tensors& grads,
                     const std::vector<size_t>& index) {
  SgdUpdate update{group.lr,           options_.momentum, options_.dampening,
                   group.weight_decay, options_.nesterov, false};
  if (options_.momentum == 0) return sgd_update_(parameters, grads, {}, update);
  std::vector<bool> fresh;
  const Tensors velocities = state_of("momentum", parameters, index, &fresh);
  for (bool first : {true, false}) {
    Tensors p, g, v;
    for (size_t k = 0; k < parameters.size(); ++k) {
      if (fresh[k] != first) continue;
      p.push_back(parameters[k]);
      g.push_back(grads[k]);
      v.push_back(velocities[k]);
    }
    update.first = first;
    sgd_update_(p, g, v, update);
  }
}

Adam::Adam(std::vector<ParameterGroup> groups, Options options)
    : Optimizer(std::move(groups), options.lr, options.weight_decay), options_(options) {
  TESSERA_CHECK(ValueError,
                options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1,
                "adam: betas must be in [0, 1), got ", options.beta1, " and ", options.beta2);
}

std::vector<std::string> Adam::state_names() const {
  if (options_.amsgrad) return {"m", "v", "v_max"};
  return {"m", "v"};
}

void Adam::step_group(const Group& group, const Tensors& parameters, const Tensors& grads,
                      const std::vector<size_t>& index) {
  const Tensors m = state_of("m", parameters, index), v = state_of("v", parameters, index);
  const Tensors v_max = options_.amsgrad ? state_of("v_max", parameters, index) : Tensors{};
  // Parameters that joined later have their own step count; each count is one pass.
  std::vector<int64_t> counts;
  for (size_t i : index) counts.push_back(step_count(i));
  std::vector<int64_t> distinct = counts;
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  for (int64_t step : distinct) {
    Tensors p, g, first, second, top;
    for (size_t k = 0; k < parameters.size(); ++k) {
      if (counts[k] != step) continue;
      p.push_back(parameters[k]);
      g.push_back(grads[k]);
      first.push_back(m[k]);
      second.push_back(v[k]);
      if (options_.amsgrad) top.push_back(v_max[k]);
    }
    adam_update_(p, g, first, second, top,
                 {group.lr, options_.beta1, options_.beta2, options_.eps, group.weight_decay, step,
                  options_.decoupled});
  }
}

RmsProp::RmsProp(std::vector<ParameterGroup> groups, Options options)
    : Optimizer(std::move(groups), options.lr, options.weight_decay), options_(options) {
  TESSERA_CHECK(ValueError, options.alpha >= 0 && options.alpha <= 1,
                "rmsprop: alpha must be in [0, 1], got ", options.alpha);
}

std::vector<std::string> RmsProp::state_names() const {
  std::vector<std::string> names{"square"};
  if (options_.centered) names.push_back("mean");
  if (options_.momentum > 0) names.push_back("momentum");
  return names;
}

void RmsProp::step_group(const Group& group, const Tensors& parameters, const Tensors& grads,
                         const std::vector<size_t>& index) {
  const Tensors s = state_of("square", parameters, index);
  const Tensors a = options_.centered ? state_of("mean", parameters, index) : Tensors{};
  const Tensors b = options_.momentum > 0 ? state_of("momentum", parameters, index) : Tensors{};
  rmsprop_update_(parameters, grads, s, a, b,
                  {group.lr, options_.alpha, options_.eps, group.weight_decay, options_.momentum});
}

double clip_grad_norm_(const Tensors& parameters, double max_norm) {
  TESSERA_CHECK(ValueError, max_norm >= 0, "clip_grad_norm_: max_norm must not be negative, got ",
                max_norm);
  NoGradGuard no_grad;
  double squares = 0;
  for (const Tensor& p : parameters)
    if (const Tensor g = p.grad(); g.defined()) {
      const Tensor d = g.detach();
      squares += sum(d * d).item();
    }
  const double norm = std::sqrt(squares);
  const double scale = max_norm / (norm + 1e-6);
  if (std::isfinite(norm) && scale < 1)
    for (const Tensor& p : parameters)
      if (Tensor g = p.grad(); g.defined()) affine_(g, scale, 0);
  return norm;
}

void clip_grad_value_(const Tensors& parameters, double limit) {
  TESSERA_CHECK(ValueError, limit >= 0, "clip_grad_value_: limit must not be negative, got ",
                limit);
  NoGradGuard no_grad;
  for (const Tensor& p : parameters) {
    Tensor g = p.grad();
    if (!g.defined()) continue;
    copy_(g, clamp(g.detach(), -limit, limit));
  }
}

}  // namespace tessera::nn
