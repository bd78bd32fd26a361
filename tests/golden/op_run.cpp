#include "tests/golden/op_run.h"

#include <gtest/gtest.h>

#include "autograd/engine.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/reduce/sum.h"
#include "tests/common/hash_fill.h"

namespace tessera::golden {
namespace {

/// One evaluation of a case: the call, its output and the gradients asked for, in torch's layout.
class OpRun {
 public:
  OpRun(const OpCase& c, const GoldenOp& op, DType dtype) : case_(c), op_(op), dtype_(dtype) {}

  std::map<std::string, Reference> results() {
    const bool first = stores("d."), second = stores("dd.");
    std::map<std::string, Tensor> inputs;
    for (const auto& [name, spec] : case_.entry.at("inputs").items()) {
      Tensor t = hashed(name, name, spec.at("shape"), spec.at("lo"), spec.at("hi"));
      if (first && !spec.value("const", false)) {
        t.set_requires_grad(true);
        names_.push_back(name);
        leaves_.push_back(t);
      }
      inputs.emplace(name, t);
    }
    const OpCall call(inputs, case_.entry.at("attrs"), dtype_);
    const Tensor y = op_.run(call);
    for (const std::string& what : call.unread())
      throw ValueError(what + " is not understood by this operator");
    put("y", "y", y);
    if (first) differentiate(y, second);
    return std::move(out_);
  }

 private:
  bool stores(const std::string& start) const {
    for (const auto& [name, array] : case_.stored)
      if (name.starts_with(start)) return true;
    return false;
  }

  Layout layout(const std::string& name) const {
    return op_.channels_second.contains(name) ? Layout::channels_second : Layout::plain;
  }

  /// The tensor of this hash name, laid out like the input (or "y") called `like`.
  Tensor hashed(const std::string& name, const std::string& like, const std::vector<int64_t>& shape,
                double lo, double hi) const {
    const auto values = testing::hash_uniform(case_.prefix + name, numel(Shape(shape)), lo, hi);
    return from_torch(values, shape, layout(like), dtype_);
  }

  void put(const std::string& name, const std::string& like, const Tensor& value) {
    out_[name] = to_torch(value, layout(like));
  }

  void differentiate(const Tensor& y, bool second) {
    const std::vector<int64_t> y_shape = to_torch(y, layout("y")).shape;
    Tensor g = hashed("g", "y", y_shape, -1, 1);
    g.set_requires_grad(second);
    const Tensors d = grad({y}, leaves_, {g}, {.create_graph = second});
    for (size_t i = 0; i < d.size(); ++i) put("d." + names_[i], names_[i], d[i]);
    if (!second) return;
    Tensor s;
    for (size_t i = 0; i < d.size(); ++i) {
      const auto shape = to_torch(d[i], layout(names_[i])).shape;
      const Tensor term = sum(d[i] * hashed("h." + names_[i], names_[i], shape, -1, 1));
      s = s.defined() ? s + term : term;
    }
    Tensors wanted = leaves_;
    wanted.push_back(g);
    names_.push_back("g");
    const Tensors dd = grad({s}, wanted, {}, {.allow_unused = true});
    for (size_t i = 0; i < dd.size(); ++i)  // what s does not depend on has gradient zero
      put("dd." + names_[i], names_[i] == "g" ? "y" : names_[i],
          dd[i].defined() ? dd[i] : zeros_like(wanted[i]));
  }

  const OpCase& case_;
  const GoldenOp& op_;
  DType dtype_;
  std::vector<std::string> names_;
  Tensors leaves_;
  std::map<std::string, Reference> out_;
};

Tolerance tolerance(DType dtype, Computed computed, const std::string& array) {
  if (dtype == DType::f64 && computed == Computed::in_f64) return {1e-6, 1e-9};
  return {array.starts_with("dd.") ? 1e-4 : 2e-5, 1e-6};
}

}  // namespace

void check_listing(const OpCase& c) {
  for (const auto& [name, shape] : c.entry.at("results").items())
    TESSERA_CHECK(
        ValueError,
        c.stored.contains(name) && c.stored.at(name).shape == shape.get<std::vector<int64_t>>(),
        c.name, ": array '", name, "' of the listing is not in the file, or not in shape");
}

void run_case(const OpCase& c, const OpTable& table, Computed computed) {
  const auto op = table.find(c.op);
  if (op == table.end()) {
    ADD_FAILURE() << c.name << ": operator '" << c.op << "' is unknown to this program";
    return;
  }
  for (const DType dtype : {DType::f64, DType::f32}) {
    const std::string title = cat(c.name, " ", to_string(dtype), " ");
    try {
      const auto got = OpRun(c, op->second, dtype).results();
      for (const auto& [name, want] : c.stored) {
        if (op->second.stored_wrongly_for_zero.contains(name)) {
          const Reference zero{want.shape, std::vector<double>(want.values.size(), 0.0)};
          expect_close(title + name, got.at(name), zero, tolerance(dtype, computed, name));
        } else if (got.contains(name)) {
          expect_close(title + name, got.at(name), want, tolerance(dtype, computed, name));
        } else {
          ADD_FAILURE() << title << name << ": a result this program does not compute";
        }
      }
    } catch (const std::exception& e) {
      ADD_FAILURE() << title << "threw: " << e.what();
    }
  }
}

}  // namespace tessera::golden
