#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/exponential.h"
#include "ops/pointwise/gelu.h"
#include "ops/pointwise/logistic.h"
#include "ops/pointwise/power.h"
#include "ops/pointwise/relu.h"
#include "ops/pointwise/rounding.h"
#include "ops/pointwise/swish.h"
#include "tests/golden/op_call.h"

namespace tessera::golden {
namespace {

GoldenOp unary(Tensor (*fn)(const Tensor&)) {
  return {{}, [fn](const OpCall& c) { return fn(c.input("x")); }};
}

GoldenOp binary(Tensor (*fn)(const Tensor&, const Tensor&)) {
  return {{}, [fn](const OpCall& c) { return fn(c.input("a"), c.input("b")); }};
}

}  // namespace

void add_pointwise_ops(OpTable& table) {
  table["relu"] = unary(relu);
  table["relu6"] = unary(relu6);
  table["silu"] = unary(silu);
  table["sigmoid"] = unary(sigmoid);
  table["tanh"] = unary(tanh);
  table["hardswish"] = unary(hardswish);
  table["hardsigmoid"] = unary(hardsigmoid);
  table["mish"] = unary(mish);
  table["exp"] = unary(exp);
  table["abs"] = unary(abs);
  table["abs"].stored_wrongly_for_zero = {"dd.x"};
  table["log1p_sq"] = unary([](const Tensor& x) { return log1p(x * x); });
  table["rsqrt"] = unary([](const Tensor& x) { return rsqrt(x * x + 1.0); });
  table["gelu"] = unary([](const Tensor& x) { return gelu(x); });
  table["softplus"] = {{}, [](const OpCall& c) {
                         return softplus(c.input("x"), c.attribute("beta", 1.0),
                                         c.attribute("threshold", 20.0));
                       }};
  table["elu"] = {{}, [](const OpCall& c) { return elu(c.input("x"), c.attribute("alpha", 1.0)); }};
  table["leaky_relu"] = {
      {}, [](const OpCall& c) { return leaky_relu(c.input("x"), c.attribute<double>("slope")); }};
  table["prelu"] = {{"x", "y"}, [](const OpCall& c) { return prelu(c.input("x"), c.input("w")); }};
  table["pow"] = {
      {}, [](const OpCall& c) { return pow(c.input("x"), c.attribute<double>("exponent")); }};
  table["add"] = binary(add);
  table["mul"] = binary(mul);
  table["div"] = binary(div);
}

}  // namespace tessera::golden
