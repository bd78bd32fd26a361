#pragma once

#include <initializer_list>

#include "nn/module.h"

namespace tessera::nn {

/// Modules applied one after another; children are called "0", "1", ... or by the names given.
class Sequential final : public Module {
 public:
  Sequential() = default;
  Sequential(std::initializer_list<ModulePtr> modules) {
    for (const ModulePtr& m : modules) push_back(m);
  }
  void push_back(ModulePtr module) {
    push_back(std::to_string(children().size()), std::move(module));
  }
  void push_back(const std::string& name, ModulePtr module) { add_module(name, std::move(module)); }
  template <class M, class... Args>
  std::shared_ptr<M> emplace(const std::string& name, Args&&... args) {
    return make_module<M>(name, std::forward<Args>(args)...);
  }
  size_t size() const { return children().size(); }
  ModulePtr operator[](size_t i) const { return children().at(i).second; }
  Tensor forward(const Tensor& x) override;
};

/// Returns its input.
class Identity final : public Module {
 public:
  Tensor forward(const Tensor& x) override { return x; }
};

/// (N, H, W, C) to (N, C * H * W) in the published (channel-major) order, so that a linear layer
/// trained elsewhere reads the features in its own order; other ranks are flattened from axis 1.
class Flatten final : public Module {
 public:
  Tensor forward(const Tensor& x) override;
};

/// Any function of one tensor as a module.
class Lambda final : public Module {
 public:
  explicit Lambda(std::function<Tensor(const Tensor&)> fn) : fn_(std::move(fn)) {}
  Tensor forward(const Tensor& x) override { return fn_(x); }

 private:
  std::function<Tensor(const Tensor&)> fn_;
};

}  // namespace tessera::nn
