#include "tests/ops/op_case.h"

namespace tessera::testing {

OpCaseList& op_cases() {
  static OpCaseList list;
  return list;
}

bool register_op_cases(void (*fill)(OpCaseList&)) {
  fill(op_cases());
  return true;
}

Tensors make_inputs(const OpCase& c, DType floating) {
  Tensors out;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    const OpInput& in = c.inputs[i];
    const DType dtype = in.dtype == DType::f32 ? floating : in.dtype;
    Tensor t;
    if (in.values.empty()) {
      const std::vector<float> v = hash_uniform(cat(c.name, "/", i), numel(in.shape), in.lo, in.hi);
      t = view::to(from_vector(v, in.shape), dtype);
    } else {
      t = view::to(from_vector(in.values, in.shape), dtype);
    }
    if (in.differentiable && c.order > 0 && is_floating(dtype)) t.set_requires_grad(true);
    out.push_back(t);
  }
  return out;
}

Tensor beside(const Tensor& like, const Tensor& t) { return view::to(t, like.device()); }

Tensor map64(const Tensor& x, const std::function<double(double)>& fn) {
  std::vector<double> v = x.to_vector<double>();
  for (double& e : v) e = fn(e);
  return from_vector(v, x.shape());
}

Tensor map64(const Tensor& a, const Tensor& b, const std::function<double(double, double)>& fn) {
  const Shape shape = broadcast_shapes(a.shape(), b.shape(), "map64");
  std::vector<double> x = view::broadcast_to(a.detach(), shape).to_vector<double>();
  const std::vector<double> y = view::broadcast_to(b.detach(), shape).to_vector<double>();
  for (size_t i = 0; i < x.size(); ++i) x[i] = fn(x[i], y[i]);
  return from_vector(x, shape);
}

}  // namespace tessera::testing
