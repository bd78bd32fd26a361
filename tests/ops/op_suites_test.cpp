// The generic suites: every case of every operator is compared with its reference in f64 and f32,
// differentiated numerically, run on views and inside guard bands.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "autograd/gradcheck.h"
#include "tests/ops/op_case.h"

namespace tessera::testing {
namespace {

double max_abs(const std::vector<double>& v) {
  double m = 0;
  for (double e : v)
    if (std::isfinite(e)) m = std::max(m, std::abs(e));
  return m;
}

// |got - want| <= relative * max|want| + absolute per element; NaN and infinity must match exactly.
void expect_close(const Tensors& got, const Tensors& want, double relative, double absolute) {
  ASSERT_EQ(got.size(), want.size()) << "number of outputs";
  for (size_t t = 0; t < got.size(); ++t) {
    ASSERT_EQ(got[t].shape(), want[t].shape()) << "output " << t;
    const std::vector<double> a = got[t].to_vector<double>(), b = want[t].to_vector<double>();
    const double bound = relative * max_abs(b) + absolute;
    for (size_t i = 0; i < a.size(); ++i) {
      if (std::isnan(b[i]) ? std::isnan(a[i]) : a[i] == b[i]) continue;
      ASSERT_LE(std::abs(a[i] - b[i]), bound)
          << "output " << t << " element " << i << ": got " << a[i] << ", expected " << b[i];
    }
  }
}

Tensors detached(const Tensors& inputs) {
  Tensors out;
  for (const Tensor& t : inputs) out.push_back(t.detach());
  return out;
}

// Separate memory, so that neither side can spoil the other's inputs.
Tensors copies(const Tensors& inputs) {
  Tensors out;
  for (const Tensor& t : inputs) out.push_back(view::clone(t.detach()));
  return out;
}

using CaseBody = void (*)(const OpCase&);

class CaseTest : public ::testing::Test {
 public:
  CaseTest(const OpCase& c, CaseBody body) : case_(c), body_(body) {}
  void TestBody() override { body_(case_); }

 private:
  const OpCase& case_;
  CaseBody body_;
};

void run_reference(const OpCase& c) {
  if (!c.reference) GTEST_SKIP() << "no reference formula; covered by stored results";
  const Tensors wide = make_inputs(c, DType::f64);
  const Tensors want = c.reference(copies(wide));
  expect_close(c.run(detached(wide)), want, 1e-11, 1e-12);
  const Tensors got = c.run(detached(make_inputs(c, DType::f32)));
  expect_close(got, want, 2e-5 * c.f32_tolerance, 1e-6 * c.f32_tolerance);
}

void run_gradcheck(const OpCase& c) {
  const GradcheckResult result = gradcheck(c.run, make_inputs(c, DType::f64));
  EXPECT_TRUE(result.ok) << result.message;
}

void run_gradgradcheck(const OpCase& c) {
  const GradcheckResult result = gradgradcheck(c.run, make_inputs(c, DType::f64));
  EXPECT_TRUE(result.ok) << result.message;
}

// The same elements behind other strides: axes stored in reverse order, every second element of a
// larger block.
Tensor strided_copy(const Tensor& x) {
  Dims reversed;
  for (int i = x.rank() - 1; i >= 0; --i) reversed.push_back(i);
  const Tensor turned = view::permute(view::clone(view::permute(x.detach(), reversed)), reversed);
  if (x.rank() == 0) return turned;
  Shape wide = x.shape();
  wide[x.rank() - 1] *= 2;
  Tensor block = empty(wide, x.dtype());
  fill_(block, 7);
  Tensor spread = view::slice(block, -1, 0, wide.back(), 2);
  copy_(spread, turned);
  return spread;
}

void run_views(const OpCase& c) {
  const Tensors inputs = detached(make_inputs(c, DType::f64));
  Tensors strided;
  for (const Tensor& t : inputs) strided.push_back(strided_copy(t));
  const Tensors before = copies(strided);
  const Tensors want = c.run(inputs);
  expect_close(c.run(strided), want, 1e-12, 1e-13);
  expect_close(strided, before, 0, 0);  // inputs are left alone
}

void run_determinism(const OpCase& c) {
  const Tensors inputs = detached(make_inputs(c, DType::f32));
  const Tensors first = c.run(inputs), second = c.run(inputs);
  ASSERT_EQ(first.size(), second.size());
  for (size_t i = 0; i < first.size(); ++i) {
    const Tensor a = view::contiguous(first[i].detach()), b = view::contiguous(second[i].detach());
    ASSERT_EQ(a.nbytes(), b.nbytes());
    if (a.numel() == 0) continue;
    EXPECT_EQ(std::memcmp(a.raw_data(), b.raw_data(), static_cast<size_t>(a.nbytes())), 0)
        << "output " << i << " differs between two runs";
  }
}

// Inputs between bands of a pattern that must survive the call and its gradient.
void run_bounds(const OpCase& c) {
  constexpr size_t kBand = 256;
  constexpr std::byte kPattern{0xA5};
  const Tensors inputs = make_inputs(c, DType::f32);
  std::vector<std::shared_ptr<std::vector<std::byte>>> blocks;
  Tensors guarded;
  for (const Tensor& t : inputs) {
    const auto bytes = static_cast<size_t>(t.nbytes());
    blocks.push_back(std::make_shared<std::vector<std::byte>>(bytes + 2 * kBand, kPattern));
    Tensor g = from_blob(blocks.back()->data() + kBand, t.shape(), t.dtype(), blocks.back());
    copy_(g, t.detach());
    if (t.requires_grad()) g.set_requires_grad(true);
    guarded.push_back(g);
  }
  Tensors roots, targets;
  for (const Tensor& y : c.run(guarded))
    if (c.order > 0 && y.requires_grad()) roots.push_back(y);
  for (const Tensor& g : guarded)
    if (g.requires_grad()) targets.push_back(g);
  if (!roots.empty()) {
    Tensors ones;
    for (const Tensor& y : roots) ones.push_back(ones_like(y));
    grad(roots, targets, ones, {.allow_unused = true});
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    const auto& block = *blocks[i];
    for (size_t k = 0; k < kBand; ++k) {
      ASSERT_EQ(block[k], kPattern) << "input " << i << ": byte " << k << " before it was written";
      ASSERT_EQ(block[block.size() - 1 - k], kPattern) << "input " << i << ": byte behind it";
    }
  }
}

class ErrorTest : public ::testing::Test {
 public:
  explicit ErrorTest(const OpErrorCase& c) : case_(c) {}
  void TestBody() override {
    try {
      case_.run();
    } catch (const std::exception& e) {
      EXPECT_TRUE(case_.matches(e)) << "wrong kind of exception: " << e.what();
      for (const std::string& part : case_.message_parts)
        EXPECT_NE(std::string(e.what()).find(part), std::string::npos)
            << "'" << part << "' is missing from: " << e.what();
      return;
    }
    ADD_FAILURE() << "nothing was thrown";
  }

 private:
  const OpErrorCase& case_;
};

void add_suite(const char* suite, const std::string& name, const OpCase& c, CaseBody body) {
  ::testing::RegisterTest(suite, name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                          [&c, body]() -> ::testing::Test* { return new CaseTest(c, body); });
}

// Case files register during static initialisation of other files, so tests are made in main().
void register_suites() {
  const OpCaseList& list = op_cases();
  for (const OpCase& c : list.cases) {
    add_suite("Reference", c.name, c, run_reference);
    add_suite("Property", c.name + ".views", c, run_views);
    add_suite("Property", c.name + ".determinism", c, run_determinism);
    add_suite("Bounds", c.name, c, run_bounds);
    if (c.order >= 1) add_suite("Gradcheck", c.name, c, run_gradcheck);
    if (c.order >= 2) add_suite("Gradgradcheck", c.name, c, run_gradgradcheck);
  }
  for (const OpErrorCase& c : list.errors)
    ::testing::RegisterTest("Errors", c.name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                            [&c]() -> ::testing::Test* { return new ErrorTest(c); });
}

}  // namespace
}  // namespace tessera::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  tessera::testing::register_suites();
  tessera::testing::register_device_suites();
  return RUN_ALL_TESTS();
}
