// Every case of every operator on a GPU, or on the emulator, against the CPU: values, first and
// second order gradients, strided inputs, and the same bits twice.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tensor/cuda_plugin.h"
#include "tests/ops/op_case.h"

namespace tessera::testing {
namespace {

constexpr Device kGpu{DeviceType::cuda, 0};

Tensors moved(const Tensors& inputs, Device device, bool requires_grad) {
  Tensors out;
  for (const Tensor& t : inputs) {
    Tensor there = view::to(view::clone(t.detach()), device);
    if (requires_grad && t.requires_grad()) there.set_requires_grad(true);
    out.push_back(there);
  }
  return out;
}

// Weights for a sum over all elements, the same on every device.
Tensor weights_for(const Tensor& like, const std::string& name) {
  const Tensor w = from_vector(hash_uniform(name, like.numel(), -1, 1), like.shape());
  return view::to(view::to(w, like.dtype()), like.device());
}

struct Results {
  Tensors outputs, first, second;
};

// Derivatives of the outputs' weighted sums; undefined where an input has no part in them.
Tensors derivatives(const Tensors& outputs, const Tensors& inputs, const std::string& name,
                    bool create_graph) {
  Tensors roots, weights, targets;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].defined() || !outputs[i].requires_grad()) continue;
    roots.push_back(outputs[i]);
    weights.push_back(weights_for(outputs[i], cat(name, "/", i)));
  }
  for (const Tensor& t : inputs)
    if (t.requires_grad()) targets.push_back(t);
  if (roots.empty() || targets.empty()) return {};
  return grad(roots, targets, weights, {.create_graph = create_graph, .allow_unused = true});
}

Results evaluate(const OpCase& c, const Tensors& inputs) {
  Results r;
  r.outputs = c.run(inputs);
  if (c.order >= 1) r.first = derivatives(r.outputs, inputs, c.name + "/w", c.order >= 2);
  if (c.order >= 2) r.second = derivatives(r.first, inputs, c.name + "/v", false);
  return r;
}

double max_abs(const std::vector<double>& v) {
  double m = 0;
  for (double e : v)
    if (std::isfinite(e)) m = std::max(m, std::abs(e));
  return m;
}

void expect_same(const Tensors& got, const Tensors& want, double relative, double absolute,
                 const char* what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t t = 0; t < got.size(); ++t) {
    ASSERT_EQ(got[t].defined(), want[t].defined()) << what << ' ' << t;
    if (!got[t].defined()) continue;
    ASSERT_EQ(got[t].shape(), want[t].shape()) << what << ' ' << t;
    ASSERT_EQ(got[t].dtype(), want[t].dtype()) << what << ' ' << t;
    ASSERT_EQ(got[t].device(), kGpu) << what << ' ' << t;
    const std::vector<double> a = got[t].to_vector<double>(), b = want[t].to_vector<double>();
    const double bound = relative * max_abs(b) + absolute;
    for (size_t i = 0; i < a.size(); ++i) {
      if (std::isnan(b[i]) ? std::isnan(a[i]) : a[i] == b[i]) continue;
      ASSERT_LE(std::abs(a[i] - b[i]), bound)
          << what << ' ' << t << " element " << i << ": got " << a[i] << ", on the CPU " << b[i];
    }
  }
}

void expect_same(const Results& got, const Results& want, double relative, double absolute) {
  expect_same(got.outputs, want.outputs, relative, absolute, "output");
  if (::testing::Test::HasFatalFailure()) return;
  expect_same(got.first, want.first, relative, absolute, "gradient");
  if (::testing::Test::HasFatalFailure()) return;
  expect_same(got.second, want.second, relative, absolute, "second order gradient");
}

void compare_in(const OpCase& c, DType dtype, double relative, double absolute) {
  const Tensors inputs = make_inputs(c, dtype);
  const Results want = evaluate(c, moved(inputs, kCpu, true));
  expect_same(evaluate(c, moved(inputs, kGpu, true)), want, relative, absolute);
}

void run_f64(const OpCase& c) { compare_in(c, DType::f64, 1e-10, 1e-11); }

// Both sides differ from the exact result by as much as the reference suite allows.
void run_f32(const OpCase& c) {
  compare_in(c, DType::f32, 4e-5 * c.f32_tolerance, 2e-6 * c.f32_tolerance);
}

Tensor spread(const Tensor& x) {
  if (x.rank() == 0) return x;
  Shape wide = x.shape();
  wide[x.rank() - 1] *= 2;
  Tensor block = empty(wide, x.dtype(), x.device());
  fill_(block, 7);
  Tensor every_second = view::slice(block, -1, 0, wide.back(), 2);
  copy_(every_second, x);
  return every_second;
}

void run_views(const OpCase& c) {
  const Tensors inputs = moved(make_inputs(c, DType::f32), kGpu, false);
  Tensors strided;
  for (const Tensor& t : inputs) strided.push_back(spread(t));
  const Tensors want = c.run(inputs);
  expect_same(c.run(strided), want, 1e-6, 1e-7, "output of strided inputs");
}

void run_determinism(const OpCase& c) {
  const Tensors inputs = make_inputs(c, DType::f32);
  const auto once = [&] {
    Results r = evaluate(c, moved(inputs, kGpu, true));
    Tensors all = r.outputs;
    for (const Tensors* more : {&r.first, &r.second})
      all.insert(all.end(), more->begin(), more->end());
    return all;
  };
  const Tensors a = once(), b = once();
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    if (!a[i].defined() || a[i].numel() == 0) continue;
    const Tensor x = view::to(view::contiguous(a[i].detach()), kCpu);
    const Tensor y = view::to(view::contiguous(b[i].detach()), kCpu);
    EXPECT_EQ(std::memcmp(x.raw_data(), y.raw_data(), static_cast<size_t>(x.nbytes())), 0)
        << "result " << i << " differs between two runs";
  }
}

using CaseBody = void (*)(const OpCase&);

class DeviceCase : public ::testing::Test {
 public:
  DeviceCase(const OpCase& c, CaseBody body) : case_(c), body_(body) {}
  void TestBody() override { body_(case_); }

 private:
  const OpCase& case_;
  CaseBody body_;
};

class NoDevice : public ::testing::Test {
 public:
  void TestBody() override { GTEST_SKIP() << cuda_status().reason; }
};

}  // namespace

void register_device_suites() {
  const auto add = [](const std::string& name, auto make) {
    ::testing::RegisterTest("Device", name.c_str(), nullptr, nullptr, __FILE__, __LINE__, make);
  };
  if (cuda_status().devices.empty())
    return add("all", []() -> ::testing::Test* { return new NoDevice; });
  const std::pair<const char*, CaseBody> bodies[] = {{".f64", run_f64},
                                                     {".f32", run_f32},
                                                     {".views", run_views},
                                                     {".determinism", run_determinism}};
  for (const OpCase& c : op_cases().cases)
    for (const auto& [suffix, body] : bodies)
      add(c.name + suffix,
          [&c, body = body]() -> ::testing::Test* { return new DeviceCase(c, body); });
}

}  // namespace tessera::testing
