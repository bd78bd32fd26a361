#include "nn/module.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "autograd/node.h"
#include "tensor/view.h"

namespace tessera::nn {
namespace {

std::string join(const std::string& prefix, const std::string& name) {
  return prefix.empty() ? name : prefix + "." + name;
}

StateDict unique(const StateDict& entries) {
  std::unordered_set<const TensorImpl*> seen;
  StateDict out;
  for (const StateEntry& e : entries)
    if (seen.insert(e.tensor.impl_ptr().get()).second) out.push_back(e);
  return out;
}

void check_clean(const LoadReport& report) {
  TESSERA_CHECK(ValueError, report.clean(), "the weights do not fit the network:\n",
                report.summary());
}

}  // namespace

Tensor to_published(const Tensor& tensor, Layout layout) {
  if (layout == Layout::plain) return view::contiguous(tensor.detach());
  return view::contiguous(view::permute(tensor.detach(), {0, 3, 1, 2}));
}

Tensor from_published(const Tensor& tensor, Layout layout) {
  if (layout == Layout::plain) return tensor;
  return view::contiguous(view::permute(tensor, {0, 2, 3, 1}));
}

std::string LoadReport::summary() const {
  std::string out;
  const auto list = [&](const char* title, const std::vector<std::string>& names) {
    for (const std::string& n : names) out += cat(out.empty() ? "" : "\n", title, " ", n);
  };
  list("missing", missing);
  list("unexpected", unexpected);
  list("mismatched", mismatched);
  return out;
}

Tensor Module::forward(const Tensor&) {
  throw NotImplementedError("this module has no forward(x) of one tensor");
}

void Module::check_name(const std::string& name) const {
  TESSERA_CHECK(ValueError, !name.empty() && name.find('.') == std::string::npos,
                "a module entry needs a name without dots, got '", name, "'");
  for (const auto& [child, module] : children_)
    TESSERA_CHECK(ValueError, child != name, "a module entry called '", name, "' exists already");
  for (const Entry& e : entries_)
    TESSERA_CHECK(ValueError, e.state.name != name, "a module entry called '", name,
                  "' exists already");
}

Tensor Module::add_parameter(const std::string& name, Tensor value, Layout layout) {
  check_name(name);
  value.set_requires_grad(true);
  entries_.push_back({{name, value, layout}, true, true});
  return value;
}

Tensor Module::add_buffer(const std::string& name, Tensor value, bool persistent) {
  check_name(name);
  entries_.push_back({{name, value, Layout::plain}, false, persistent});
  return value;
}

void Module::replace_module(const std::string& name, std::shared_ptr<Module> module) {
  for (auto& [child, pointer] : children_) {
    if (child != name) continue;
    TESSERA_CHECK(ValueError, module != nullptr, "the child module '", name, "' is null");
    pointer = std::move(module);
    return;
  }
  throw ValueError(cat("no child module is called '", name, "'"));
}

void Module::collect(const std::string& prefix, StateDict& out,
                     const std::function<bool(const Entry&)>& wanted) const {
  for (bool parameters : {true, false})
    for (const Entry& e : entries_)
      if (e.parameter == parameters && wanted(e))
        out.push_back({join(prefix, e.state.name), e.state.tensor, e.state.layout});
  for (const auto& [name, child] : children_) child->collect(join(prefix, name), out, wanted);
}

StateDict Module::named_parameters() const {
  StateDict out;
  collect("", out, [](const Entry& e) { return e.parameter; });
  return unique(out);
}

StateDict Module::named_buffers() const {
  StateDict out;
  collect("", out, [](const Entry& e) { return !e.parameter; });
  return unique(out);
}

StateDict Module::state_dict() const {
  StateDict out;
  collect("", out, [](const Entry& e) { return e.persistent; });
  return out;
}

Tensors Module::parameters() const {
  Tensors out;
  for (const StateEntry& e : named_parameters()) out.push_back(e.tensor);
  return out;
}

int64_t Module::parameter_count() const {
  int64_t count = 0;
  for (const Tensor& p : parameters()) count += p.numel();
  return count;
}

std::vector<std::pair<std::string, Module*>> Module::named_modules() {
  std::vector<std::pair<std::string, Module*>> out{{"", this}};
  std::unordered_set<const Module*> seen{this};
  for (const auto& [name, child] : children_)
    for (const auto& [below, module] : child->named_modules())
      if (seen.insert(module).second)
        out.emplace_back(below.empty() ? name : join(name, below), module);
  return out;
}

LoadReport Module::match(const StateDict& source,
                         std::vector<std::pair<Tensor, size_t>>& copies) const {
  std::unordered_map<std::string, size_t> given;
  for (size_t i = 0; i < source.size(); ++i) given[source[i].name] = i;
  LoadReport report;
  for (const StateEntry& mine : state_dict()) {
    const auto found = given.find(mine.name);
    if (found == given.end()) {
      // Files older than the counter lack it; it only matters for cumulative averages.
      if (!mine.name.ends_with("num_batches_tracked")) report.missing.push_back(mine.name);
      continue;
    }
    const Tensor& theirs = source[found->second].tensor;
    if (theirs.shape() != mine.tensor.shape()) {
      report.mismatched.push_back(
          cat(mine.name, ": source ", theirs.shape(), ", module ", mine.tensor.shape()));
    } else if (is_floating(theirs.dtype()) != is_floating(mine.tensor.dtype())) {
      report.mismatched.push_back(
          cat(mine.name, ": source ", theirs.dtype(), ", module ", mine.tensor.dtype()));
    } else {
      copies.emplace_back(mine.tensor, found->second);
    }
    given.erase(found);
  }
  for (const StateEntry& e : source)
    if (given.contains(e.name)) report.unexpected.push_back(e.name);
  return report;
}

void Module::check_state_dict(const StateDict& source) const {
  std::vector<std::pair<Tensor, size_t>> copies;
  check_clean(match(source, copies));
}

LoadReport Module::load_state_dict(const StateDict& source, bool strict) {
  const auto fill = [&](size_t i, Tensor& target) { copy_(target, source[i].tensor); };
  return load_state_dict(source, fill, strict);
}

LoadReport Module::load_state_dict(const StateDict& described,
                                   const std::function<void(size_t, Tensor&)>& fill, bool strict) {
  std::vector<std::pair<Tensor, size_t>> copies;
  const LoadReport report = match(described, copies);
  if (strict) check_clean(report);
  NoGradGuard no_grad;
  for (auto& [mine, index] : copies) fill(index, mine);
  return report;
}

void Module::train(bool on) {
  training_ = on;
  for (const auto& [name, child] : children_) child->train(on);
}

void Module::to(DType dtype) {
  TESSERA_CHECK(DTypeError, is_floating(dtype), "a module converts to floating dtypes only, got ",
                dtype);
  for (Entry& e : entries_)
    if (is_floating(e.state.tensor.dtype()) && e.state.tensor.dtype() != dtype)
      e.state.tensor.set_data(view::to(e.state.tensor.detach(), dtype));
  for (const auto& [name, child] : children_) child->to(dtype);
}

void Module::to(Device device) {
  for (Entry& e : entries_)
    if (e.state.tensor.device() != device)
      e.state.tensor.set_data(view::to(e.state.tensor.detach(), device));
  for (const auto& [name, child] : children_) child->to(device);
}

void Module::apply(const std::function<void(Module&)>& fn) {
  for (const auto& [name, child] : children_) child->apply(fn);
  fn(*this);
}

void Module::zero_grad() {
  for (Tensor p : parameters()) p.set_grad(Tensor());
}

void Module::set_requires_grad(bool value) {
  for (Tensor p : parameters()) p.set_requires_grad(value);
}

}  // namespace tessera::nn
