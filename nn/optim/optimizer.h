#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "nn/module.h"

namespace tessera::nn {

/// Parameters that share settings. Values not given are the optimizer's defaults; `lr` is what a
/// schedule changes.
struct ParameterGroup {
  Tensors parameters;
  std::optional<double> lr{};
  std::optional<double> weight_decay{};
};

/// The state of an optimizer by name, for checkpoints; see Optimizer::state().
using OptimizerState = std::vector<StateEntry>;

/// Base of all optimizers. step() skips parameters without a gradient (including their decay), as
/// torch does.
class Optimizer {
 public:
  struct Group {
    Tensors parameters;
    double lr;
    double initial_lr;  // what the schedule scales
    double weight_decay;
  };

  /// Throws ValueError for a parameter that appears twice or is no leaf, or a negative lr or decay.
  Optimizer(std::vector<ParameterGroup> groups, double lr, double weight_decay);
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Updates the parameters from their grad(), in place, unrecorded.
  void step();
  /// Forgets the gradients of all parameters.
  void zero_grad();

  std::vector<Group>& groups() { return groups_; }
  const std::vector<Group>& groups() const { return groups_; }

  /// All state tensors (live) with the names "<index>.<buffer>", index counting parameters over all
  /// groups, plus "step" (i64) and "lr" / "initial_lr" (f64, one per group).
  OptimizerState state() const;
  /// Restores what state() gave. Throws ValueError listing every entry that does not belong to
  /// these parameters or to this kind of optimizer, and every one that is missing; then nothing is
  /// changed.
  void load_state(const OptimizerState& state);

 protected:
  /// Names of the state tensors that every updated parameter has.
  virtual std::vector<std::string> state_names() const = 0;
  /// Updates one group's parameters that have gradients; `index` is the global number of each.
  virtual void step_group(const Group& group, const Tensors& parameters, const Tensors& grads,
                          const std::vector<size_t>& index) = 0;
  /// State tensor `name` of the parameters, made with zeros where new; fresh[i] tells which were
  /// new.
  Tensors state_of(const std::string& name, const Tensors& parameters,
                   const std::vector<size_t>& index, std::vector<bool>* fresh = nullptr);
  /// Updates made to parameter `index` so far, counting the one under way.
  int64_t step_count(size_t index) const { return steps_[index]; }

 private:
  std::vector<Group> groups_;
  std::vector<std::map<std::string, Tensor>> state_;
  std::vector<int64_t> steps_;
};

/// Stochastic gradient descent with momentum as torch defines it (sgd_update_).
class Sgd final : public Optimizer {
 public:
  struct Options {
    double lr = 1e-3, momentum = 0, dampening = 0, weight_decay = 0;
    bool nesterov = false;  ///< needs momentum > 0 and dampening == 0
  };
  Sgd(std::vector<ParameterGroup> groups, Options options);
  Sgd(const Tensors& parameters, Options options)
      : Sgd(std::vector<ParameterGroup>{{parameters}}, options) {}

 private:
  std::vector<std::string> state_names() const override;
  void step_group(const Group& group, const Tensors& parameters, const Tensors& grads,
                  const std::vector<size_t>& index) override;
  Options options_;
};

/// Adam; `decoupled` makes it AdamW, whose usual weight_decay is 0.01 (adam_update_).
class Adam final : public Optimizer {
 public:
  struct Options {
    double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
    bool amsgrad = false, decoupled = false;
  };
  Adam(std::vector<ParameterGroup> groups, Options options);
  Adam(const Tensors& parameters, Options options)
      : Adam(std::vector<ParameterGroup>{{parameters}}, options) {}

 private:
  std::vector<std::string> state_names() const override;
  void step_group(const Group& group, const Tensors& parameters, const Tensors& grads,
                  const std::vector<size_t>& index) override;
  Options options_;
};

/// RMSprop (rmsprop_update_).
class RmsProp final : public Optimizer {
 public:
  struct Options {
    double lr = 1e-2, alpha = 0.99, eps = 1e-8, weight_decay = 0, momentum = 0;
    bool centered = false;
  };
  RmsProp(std::vector<ParameterGroup> groups, Options options);
  RmsProp(const Tensors& parameters, Options options)
      : RmsProp(std::vector<ParameterGroup>{{parameters}}, options) {}

 private:
  std::vector<std::string> state_names() const override;
  void step_group(const Group& group, const Tensors& parameters, const Tensors& grads,
                  const std::vector<size_t>& index) override;
  Options options_;
};

/// Scales all gradients so that their joint p-norm (p = 2) is at most max_norm; returns the norm
/// before. Parameters without a gradient are skipped. A non-finite norm leaves them unchanged.
/// Throws ValueError for a negative max_norm.
double clip_grad_norm_(const Tensors& parameters, double max_norm);
/// Clamps every gradient element to [-limit, limit].
void clip_grad_value_(const Tensors& parameters, double limit);

}  // namespace tessera::nn
