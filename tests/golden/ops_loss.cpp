#include <regex>

#include "ops/loss/binary.h"
#include "ops/loss/cross_entropy.h"
#include "ops/loss/regression.h"
#include "ops/pointwise/comparison.h"
#include "tensor/view.h"
#include "tests/golden/op_call.h"

namespace tessera::golden {
namespace {

Reduction reduction(const OpCall& c, const std::string& fallback) {
  const auto name = c.attribute<std::string>("reduction", fallback);
  TESSERA_CHECK(ValueError, name == "none" || name == "mean" || name == "sum",
                "unknown reduction '", name, "'");
  return name == "none" ? Reduction::none : name == "mean" ? Reduction::mean : Reduction::sum;
}

/// "t > 0.6": 1 where that input exceeds the number, otherwise 0. Without the attribute, input t.
Tensor target(const OpCall& c) {
  if (!c.has("target")) return c.input("t");
  const auto text = c.attribute<std::string>("target");
  static const std::regex rule(R"((\w+) > (-?[0-9.eE+-]+))");
  std::smatch part;
  TESSERA_CHECK(ValueError, std::regex_match(text, part, rule), "unknown target '", text, "'");
  return view::to(gt(c.input(part[1]), std::stod(part[2])), c.dtype());
}

Tensor run_cross_entropy(const OpCall& c) {
  return cross_entropy(c.input("x"), c.tensor("target", DType::i64),
                       {.weight = c.has("weight") ? c.tensor("weight", c.dtype()) : Tensor(),
                        .label_smoothing = c.attribute("label_smoothing", 0.0),
                        .ignore_index = c.attribute<int64_t>("ignore_index", -100),
                        .reduction = reduction(c, "mean")});
}

}  // namespace

void add_loss_ops(OpTable& table) {
  table["cross_entropy"] = {{}, run_cross_entropy};
  table["bce_with_logits"] = {{}, [](const OpCall& c) {
                                return bce_with_logits(c.input("x"), target(c),
                                                       {.reduction = reduction(c, "mean")});
                              }};
  table["smooth_l1"] = {{}, [](const OpCall& c) {
                          return smooth_l1_loss(c.input("x"), target(c),
                                                {.beta = c.attribute("beta", 1.0),
                                                 .reduction = reduction(c, "mean")});
                        }};
  table["mse"] = {
      {}, [](const OpCall& c) { return mse_loss(c.input("x"), target(c), reduction(c, "mean")); }};
  table["sigmoid_focal_loss"] = {{}, [](const OpCall& c) {
                                   return sigmoid_focal_loss(c.input("x"), target(c),
                                                             {.alpha = c.attribute("alpha", 0.25),
                                                              .gamma = c.attribute("gamma", 2.0),
                                                              .reduction = reduction(c, "none")});
                                 }};
}

}  // namespace tessera::golden
