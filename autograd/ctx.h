#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "autograd/node.h"

namespace tessera {

/// What an operator keeps between forward and backward.
class Ctx {
 public:
  Ctx() = default;
  Ctx(Ctx&&) = default;
  Ctx& operator=(Ctx&&) = default;

  /// In forward: keeps tensors for backward, in the order of the calls; nothing is kept when the
  /// call is not recorded. Inputs keep their place in the graph, so backward can be differentiated
  /// through them; undefined tensors are allowed.
  void save(std::initializer_list<Tensor> tensors);
  void save(const Tensors& tensors);
  /// In forward: keeps an output. Its value is held, its graph link is re-made when it is read, so
  /// that the node does not own itself.
  void save_output(const Tensor& output) { save({output}); }

  /// In backward: the i-th saved tensor. Throws Error naming the operator when it was overwritten
  /// in place since, or was already freed by an earlier backward().
  Tensor saved(int i) const;
  int saved_count() const { return static_cast<int>(saved_.size()); }

  /// Forward: input i requires a gradient and the call is recorded. Backward: its gradient is
  /// needed in this run.
  bool needs_grad(int i) const {
    return static_cast<size_t>(i) < needed_.size() && needed_[static_cast<size_t>(i)];
  }
  bool recording() const { return recording_; }

  // Used by apply() and the engine.
  void begin(bool recording, std::vector<bool> needed);
  /// Turns saved tensors that are outputs into links to `owner`.
  void finish(Node* owner, const Tensors& outputs);
  void set_needed(const std::vector<bool>& needed) { needed_ = needed; }
  void release();

 private:
  struct Saved {
    Tensor value;
    uint32_t version = 0;
    int output = -1;  // slot, when it is an output of the owner
  };
  std::vector<Saved> saved_;
  std::vector<bool> needed_;
  Node* owner_ = nullptr;
  bool recording_ = false;
  bool released_ = false;
};

}  // namespace tessera
