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

std::vector<float> hash_uniform(const std::string& name, int64_t count, double lo, double hi) {
  uint64_t key = 0xCBF29CE484222325u;
  for (unsigned char byte : name) key = (key ^ byte) * 0x100000001B3u;
  std::vector<float> out(static_cast<size_t>(count));
  for (size_t i = 0; i < out.size(); ++i) {
    uint64_t z = key + (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    const double unit = static_cast<double>(z >> 40) / 16777216.0;
    out[i] = static_cast<float>(lo + (hi - lo) * unit);
  }
  return out;
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
