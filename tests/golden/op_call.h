#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "ops/size2.h"
#include "tensor/tensor.h"
#include "tests/golden/compare.h"

namespace tessera::golden {

/// One call of an operator as a case lists it: inputs in Tessera's layout, attributes from the
/// JSON. What is read is noted, so that an attribute or input nobody asked for is an error.
class OpCall {
 public:
  OpCall(std::map<std::string, Tensor> inputs, const Json& attributes, DType dtype)
      : inputs_(std::move(inputs)), attributes_(attributes), dtype_(dtype) {}

  DType dtype() const { return dtype_; }

  /// Throws ValueError if the case has no such input; optional() gives an undefined tensor.
  Tensor input(const std::string& name) const;
  Tensor optional(const std::string& name) const;
  /// All inputs in the order of their names.
  Tensors all_inputs() const;

  /// Throws ValueError if the attribute is missing (without `fallback`) or of another type. A null
  /// counts as missing.
  template <class T>
  T attribute(const std::string& name) const {
    const Json* value = find(name);
    TESSERA_CHECK(ValueError, value != nullptr, "attribute '", name, "' is missing");
    return value->get<T>();
  }
  template <class T>
  T attribute(const std::string& name, T fallback) const {
    const Json* value = find(name);
    return value != nullptr ? value->get<T>() : fallback;
  }
  bool has(const std::string& name) const { return find(name) != nullptr; }
  /// One number for both, or [height, width].
  Size2 size2(const std::string& name) const;
  Size2 size2(const std::string& name, Size2 fallback) const;
  /// A list of numbers, or one number.
  Dims dims(const std::string& name) const;
  /// A (nested) list of numbers as a tensor.
  Tensor tensor(const std::string& name, DType dtype) const;

  /// Names of attributes and inputs that were never read.
  std::vector<std::string> unread() const;

 private:
  const Json* find(const std::string& name) const;

  std::map<std::string, Tensor> inputs_;
  const Json& attributes_;
  DType dtype_;
  mutable std::set<std::string> read_;
};

/// How to run the cases of one operator.
struct GoldenOp {
  /// Inputs, and "y", that torch holds with channels on axis 1; all others are plain.
  std::set<std::string> channels_second;
  std::function<Tensor(const OpCall&)> run;
  /// Stored arrays that are not results: the exact value is zero everywhere, which torch 1.13 keeps
  /// as a tensor without memory, and writing that out copied whatever was at its address. They are
  /// compared with zero instead.
  std::set<std::string> stored_wrongly_for_zero = {};
};
using OpTable = std::map<std::string, GoldenOp>;

void add_image_ops(OpTable& table);
void add_norm_ops(OpTable& table);
void add_pointwise_ops(OpTable& table);
void add_array_ops(OpTable& table);
void add_loss_ops(OpTable& table);
void add_box_ops(OpTable& table);
/// Operators by the name the cases use.
const OpTable& op_table();

}  // namespace tessera::golden
