#pragma once

#include "nn/module.h"

namespace tessera::nn {

/// Exponential moving average of a module's parameters: avg = decay avg + (1 - decay) p. Buffers
/// are copied. A tensor that the module has under several names is averaged once. With `warmup` the
/// decay of update t (from 1) is min(decay, (1 + t) / (10 + t)).
class Ema {
 public:
  /// Starts from the current values. Throws ValueError unless 0 <= decay < 1.
  Ema(const Module& module, double decay, bool warmup = false);
  void update();
  int64_t updates() const { return updates_; }
  /// The averaged parameters and buffers, by the module's names; load it with load_state_dict.
  const StateDict& state() const { return average_; }
  /// Throws ValueError unless `state` has this module's names and shapes, in its order.
  void check_state(const StateDict& state) const;
  /// Restores what state() and updates() gave. What check_state throws; then nothing is changed.
  void load(const StateDict& state, int64_t updates);
  /// Exchanges the averaged values with the module's: once to evaluate, once more to go on.
  void swap();

 private:
  enum class Kind { parameter, buffer, repeated };
  StateDict live_, average_;
  std::vector<Kind> kinds_;  // per entry; a repeated one shares the tensor of its first
  double decay_;
  bool warmup_;
  int64_t updates_ = 0;
};

}  // namespace tessera::nn
