#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace tessera::nn {

/// How a parameter of Tessera maps to the published (torch) layout. `filter`: OHWI here, OIHW
/// there, for convolutions and transposed convolutions alike: the last axis moves to position 1.
enum class Layout { plain, filter };

/// The published layout of a tensor held in `layout`, contiguous; and back.
Tensor to_published(const Tensor& tensor, Layout layout);
Tensor from_published(const Tensor& tensor, Layout layout);

/// One entry of a state dict: torch's dotted name and the live tensor.
struct StateEntry {
  std::string name;
  Tensor tensor;
  Layout layout = Layout::plain;
};
using StateDict = std::vector<StateEntry>;

/// What load_state_dict found. Names are those of the module.
struct LoadReport {
  std::vector<std::string> missing;     ///< in the module, not in the dict
  std::vector<std::string> unexpected;  ///< in the dict, not in the module
  std::vector<std::string> mismatched;  ///< "name: source [..], module [..]", shape or dtype
  bool clean() const { return missing.empty() && unexpected.empty() && mismatched.empty(); }
  /// One line per problem.
  std::string summary() const;
};

/// A node of the network tree: named parameters (trained), buffers (saved, not trained) and child
/// modules. Names joined by dots are the ones torch uses. Derived classes create their members in
/// the constructor through add_parameter / add_buffer / add_module and define forward().
class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  /// Most modules map one tensor to one; others define further functions of their own.
  virtual Tensor forward(const Tensor& x);
  Tensor operator()(const Tensor& x) { return forward(x); }

  /// Depth first, own entries before the children's; a tensor that is reached twice appears once.
  StateDict named_parameters() const;
  StateDict named_buffers() const;
  Tensors parameters() const;
  int64_t parameter_count() const;
  /// This module (empty name) and all below it, each once.
  std::vector<std::pair<std::string, Module*>> named_modules();
  const std::vector<std::pair<std::string, std::shared_ptr<Module>>>& children() const {
    return children_;
  }

  /// Parameters and persistent buffers in torch's order. The tensors are the live ones.
  StateDict state_dict() const;
  /// Copies the entries of `source` (in Tessera's layouts) into the module; floating dtypes are
  /// converted. With strict, any name that is missing, unexpected or of another shape or kind of
  /// dtype (floating or not) throws ValueError listing all of them, and nothing is changed.
  /// Otherwise what fits is copied.
  LoadReport load_state_dict(const StateDict& source, bool strict = true);
  /// The same with values that come one at a time, as from a file: of the tensors in `described`
  /// only shape and dtype are looked at, and fill(i, target) writes entry i into one of this
  /// module's own. What it throws leaves the entries before as they were filled.
  LoadReport load_state_dict(const StateDict& described,
                             const std::function<void(size_t index, Tensor& target)>& fill,
                             bool strict = true);
  /// Throws what a strict load_state_dict would; changes nothing.
  void check_state_dict(const StateDict& source) const;

  /// Switches batch norm, dropout and the like below this module.
  void train(bool on = true);
  void eval() { train(false); }
  bool training() const { return training_; }
  /// Converts all floating parameters and buffers / moves everything, in place: handles stay valid.
  void to(DType dtype);
  void to(Device device);
  /// Calls fn on every module, children first.
  void apply(const std::function<void(Module&)>& fn);
  /// Forgets all gradients.
  void zero_grad();
  /// Freezes or unfreezes all parameters below.
  void set_requires_grad(bool value);

 protected:
  /// Registers and returns the tensor (a handle: later changes through either are seen by both).
  Tensor add_parameter(const std::string& name, Tensor value, Layout layout = Layout::plain);
  Tensor add_buffer(const std::string& name, Tensor value, bool persistent = true);
  template <class M>
  std::shared_ptr<M> add_module(const std::string& name, std::shared_ptr<M> module) {
    check_name(name);
    TESSERA_CHECK(ValueError, module != nullptr, "the child module '", name, "' is null");
    children_.emplace_back(name, module);
    return module;
  }
  template <class M, class... Args>
  std::shared_ptr<M> make_module(const std::string& name, Args&&... args) {
    return add_module(name, std::make_shared<M>(std::forward<Args>(args)...));
  }

  /// Replaces the child called `name`; the slot keeps its place. ValueError if there is none
  /// or `module` is null.
  void replace_module(const std::string& name, std::shared_ptr<Module> module);

 private:
  struct Entry {
    StateEntry state;
    bool parameter;
    bool persistent;
  };
  void check_name(const std::string& name) const;
  /// Compares `source` with the entries and lists what to copy: (own tensor, index in `source`).
  LoadReport match(const StateDict& source, std::vector<std::pair<Tensor, size_t>>& copies) const;
  void collect(const std::string& prefix, StateDict& out,
               const std::function<bool(const Entry&)>& wanted) const;

  std::vector<Entry> entries_;
  std::vector<std::pair<std::string, std::shared_ptr<Module>>> children_;
  bool training_ = true;
};

using ModulePtr = std::shared_ptr<Module>;

}  // namespace tessera::nn
