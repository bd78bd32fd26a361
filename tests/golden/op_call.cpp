#include "tests/golden/op_call.h"

#include "tensor/view.h"

namespace tessera::golden {
namespace {

void append_numbers(const Json& value, size_t depth, std::vector<double>& out, Shape& shape) {
  if (!value.is_array()) {
    out.push_back(value.get<double>());
    return;
  }
  if (shape.size() == depth) shape.push_back(static_cast<int64_t>(value.size()));
  for (const Json& element : value) append_numbers(element, depth + 1, out, shape);
}

}  // namespace

Tensor OpCall::input(const std::string& name) const {
  const Tensor t = optional(name);
  TESSERA_CHECK(ValueError, t.defined(), "input '", name, "' is missing");
  return t;
}

Tensor OpCall::optional(const std::string& name) const {
  read_.insert(name);
  const auto it = inputs_.find(name);
  return it != inputs_.end() ? it->second : Tensor();
}

Tensors OpCall::all_inputs() const {
  Tensors out;
  for (const auto& [name, tensor] : inputs_) {
    read_.insert(name);
    out.push_back(tensor);
  }
  return out;
}

const Json* OpCall::find(const std::string& name) const {
  read_.insert(name);
  const auto it = attributes_.find(name);
  return it != attributes_.end() && !it->is_null() ? &*it : nullptr;
}

Size2 OpCall::size2(const std::string& name) const {
  const Dims d = dims(name);
  TESSERA_CHECK(ValueError, d.rank() == 1 || d.rank() == 2, "attribute '", name, "' has ", d.rank(),
                " numbers, expected 1 or 2");
  return {d[0], d.back()};
}

Size2 OpCall::size2(const std::string& name, Size2 fallback) const {
  return has(name) ? size2(name) : fallback;
}

Dims OpCall::dims(const std::string& name) const {
  const Json value = attribute<Json>(name);
  return value.is_array() ? Dims(value.get<std::vector<int64_t>>()) : Dims{value.get<int64_t>()};
}

Tensor OpCall::tensor(const std::string& name, DType dtype) const {
  std::vector<double> values;
  Shape shape;
  append_numbers(attribute<Json>(name), 0, values, shape);
  return view::to(view::to(from_vector(values, shape), dtype), test_device());
}

std::vector<std::string> OpCall::unread() const {
  std::vector<std::string> out;
  for (const auto& [name, tensor] : inputs_)
    if (!read_.contains(name)) out.push_back("input '" + name + "'");
  for (const auto& [name, value] : attributes_.items())
    if (!read_.contains(name)) out.push_back("attribute '" + name + "'");
  return out;
}

const OpTable& op_table() {
  static const OpTable table = [] {
    OpTable t;
    add_image_ops(t);
    add_norm_ops(t);
    add_pointwise_ops(t);
    add_array_ops(t);
    add_loss_ops(t);
    add_box_ops(t);
    return t;
  }();
  return table;
}

}  // namespace tessera::golden
