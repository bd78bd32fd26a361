#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/engine.h"
#include "tensor/tensor.h"
#include "tensor/view.h"
#include "tests/common/hash_fill.h"

namespace tessera::testing {

/// One input of a case. Values are hash_fill uniform in [lo, hi) of "<case>/<index>", or `values`.
struct OpInput {
  Shape shape;
  double lo = -1, hi = 1;
  /// Checked by gradcheck. Integer inputs never are.
  bool differentiable = true;
  /// f32 stands for "the floating dtype under test" (f64 in the reference and gradient suites).
  DType dtype = DType::f32;
  /// Row-major; replaces the hash when not empty.
  std::vector<double> values{};
};

/// A sample call of an operator. `run` sees the inputs in the dtype under test and must work for
/// f32 and f64 alike; `reference` sees f64 inputs and computes the same the obvious way, without
/// the operator under test.
struct OpCase {
  std::string name;
  std::vector<OpInput> inputs;
  std::function<Tensors(const Tensors&)> run;
  std::function<Tensors(const Tensors&)> reference;
  /// Highest derivative that is exact: 0 (no gradient), 1 or 2. Keep inputs away from kinks.
  int order = 2;
  /// Allowed f32 error as a multiple of 2e-5 * max|reference| + 1e-6.
  double f32_tolerance = 1;
  /// Traffic and arithmetic of one call in f32, for the benchmark's roofline; 0 if of no interest.
  int64_t bytes = 0;
  int64_t flops = 0;
};

/// A call that must throw: `run` throws `kind` (checked by `matches`) with every part in its
/// message.
struct OpErrorCase {
  std::string name;
  std::function<void()> run;
  std::function<bool(const std::exception&)> matches;
  std::vector<std::string> message_parts;
};

struct OpCaseList {
  std::vector<OpCase> cases;
  std::vector<OpErrorCase> errors;

  void add(OpCase c) { cases.push_back(std::move(c)); }
  /// The call must throw an exception of type Kind whose message contains all `parts`.
  template <class Kind>
  void add_error(std::string name, std::function<void()> run, std::vector<std::string> parts) {
    errors.push_back(
        {std::move(name), std::move(run),
         [](const std::exception& e) { return dynamic_cast<const Kind*>(&e) != nullptr; },
         std::move(parts)});
  }
};

/// All case files, in order of registration.
OpCaseList& op_cases();
bool register_op_cases(void (*fill)(OpCaseList&));

/// The inputs of a case in the given floating dtype; differentiable ones require a gradient.
Tensors make_inputs(const OpCase& c, DType floating);

/// `t` on the device of `like`: for constants that a case makes itself.
Tensor beside(const Tensor& like, const Tensor& t);

/// Registers the suite Device: every case on the GPU against the CPU. Skipped, with the reason,
/// where there is none.
void register_device_suites();

/// Elementwise float64 reference: fn over the broadcast elements of f64 tensors.
Tensor map64(const Tensor& x, const std::function<double(double)>& fn);
Tensor map64(const Tensor& a, const Tensor& b, const std::function<double(double, double)>& fn);

}  // namespace tessera::testing

/// Opens a function that adds cases: TESSERA_OP_CASES(softplus) { cases.add({...}); }
#define TESSERA_OP_CASES(op)                                     \
  static void op##_cases(::tessera::testing::OpCaseList& cases); \
  [[maybe_unused]] static const bool op##_registered =           \
      ::tessera::testing::register_op_cases(op##_cases);         \
  static void op##_cases([[maybe_unused]] ::tessera::testing::OpCaseList& cases)
