#include "autograd/engine.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/apply.h"
#include "autograd/checkpoint.h"
#include "autograd/gradcheck.h"
#include "ops/index/view.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/reduce/sum.h"
#include "tensor/view.h"

namespace tessera {
namespace {

Tensor leaf(std::vector<double> values) { return from_vector(values).set_requires_grad(true); }

TEST(Engine, AccumulatesIntoLeaves) {
  Tensor x = leaf({2, 3});
  backward(sum(x * x));
  EXPECT_EQ(x.grad().to_vector<double>(), (std::vector<double>{4, 6}));
  backward(sum(x * 10.0));
  EXPECT_EQ(x.grad().to_vector<double>(), (std::vector<double>{14, 16}));
}

TEST(Engine, DiamondAddsBothBranches) {
  Tensor x = leaf({3});
  const Tensor y = x * 2.0;
  EXPECT_EQ(grad({sum(y * y + y)}, {x})[0].item(), 2 * 2 * 6 + 2);
}

TEST(Engine, HigherOrders) {
  Tensor x = leaf({2});
  Tensor d = x * x * x * x;  // 4 x^3, 12 x^2, 24 x, 24
  for (double expected : {32.0, 48.0, 48.0, 24.0}) {
    d = grad({d}, {x}, {}, {.create_graph = true})[0];
    EXPECT_DOUBLE_EQ(d.item(), expected);
  }
}

TEST(Engine, IntermediateInputsAndOutputs) {
  Tensor x = leaf({2});
  const Tensor y = x * 3.0;
  const Tensor z = y * y;
  const Tensors g = grad({z}, {y, x});
  EXPECT_EQ(g[0].item(), 12);
  EXPECT_EQ(g[1].item(), 36);
  EXPECT_EQ(grad({z}, {z})[0].item(), 1);
}

TEST(Engine, GradDoesNotTouchLeaves) {
  Tensor x = leaf({2});
  grad({sum(x * x)}, {x});
  EXPECT_FALSE(x.grad().defined());
}

// Counts its backward calls and which gradients were asked for.
struct Probe {
  static constexpr std::string_view name = "probe";
  int* calls;
  Tensor forward(Ctx&, const Tensor& a, const Tensor& b) const {
    return view::clone(a.numel() >= b.numel() ? a : b);
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    ++*calls;
    EXPECT_FALSE(ctx.needs_grad(1));
    return {g, Tensor()};
  }
};

TEST(Engine, PrunesToTheAskedInputs) {
  Tensor a = leaf({1}), w = leaf({2});
  int calls = 0, off_path = 0;
  const Tensor y = tessera::apply(Probe{&calls}, a, w);
  const Tensor other = tessera::apply(Probe{&off_path}, w, Tensor(leaf({3})).detach());
  EXPECT_EQ(grad({y + other}, {a})[0].item(), 1);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(off_path, 0);
}

TEST(Engine, UnusedInputs) {
  Tensor a = leaf({1}), b = leaf({2});
  EXPECT_THROW(grad({a * 2.0}, {b}), Error);
  EXPECT_FALSE(grad({a * 2.0}, {b}, {}, {.allow_unused = true})[0].defined());
  EXPECT_THROW(grad({a * 2.0}, {from_vector(std::vector<double>{1})}), Error);
  EXPECT_THROW(grad({sum(a) * 1.0}, {a}, {zeros({2}, DType::f64)}), ShapeError);
  EXPECT_THROW(backward(leaf({1, 2}) * 2.0), ShapeError);
}

TEST(Engine, GraphIsFreedUnlessRetained) {
  Tensor x = leaf({2});
  const Tensor y = x * x;
  grad({y}, {x}, {}, {.retain_graph = true});
  grad({y}, {x});
  EXPECT_THROW(grad({y}, {x}), Error);
}

TEST(Engine, StaleSavedTensorIsCaught) {
  Tensor x = leaf({2}), c = from_vector(std::vector<double>{5});
  const Tensor y = x * c;
  affine_(c, 2, 0);
  try {
    grad({y}, {x});
    ADD_FAILURE() << "the overwritten factor was used";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("mul"), std::string::npos) << e.what();
  }
}

TEST(Engine, StaleThroughAView) {
  Tensor x = leaf({2, 3}), c = from_vector(std::vector<double>{5, 6});
  const Tensor y = x * c;
  Tensor part = view::slice(c, 0, 1, 2);
  fill_(part, 0);
  EXPECT_THROW(grad({sum(y)}, {x}), Error);
}

TEST(Engine, NoGradRecordsNothing) {
  Tensor x = leaf({2});
  NoGradGuard off;
  EXPECT_FALSE((x * x).requires_grad());
  {
    GradModeGuard on(true);
    EXPECT_TRUE((x * x).requires_grad());
  }
  EXPECT_FALSE(grad_enabled());
}

TEST(Engine, HooksSeeAndReplaceGradients) {
  Tensor x = leaf({2});
  const Tensor y = x * 3.0;
  double seen = 0;
  register_hook(y, [&](const Tensor& g) {
    seen = g.item();
    return g * 10.0;
  });
  register_hook(x, [](const Tensor& g) { return g + 1.0; });
  backward(y * y);
  EXPECT_EQ(seen, 12);
  EXPECT_EQ(x.grad().item(), 361);
  EXPECT_THROW(register_hook(zeros({1}), [](const Tensor& g) { return g; }), Error);
}

TEST(Engine, HooksRunInOrderAndMayRegisterMore) {
  Tensor x = leaf({2});
  std::vector<int> order;
  for (int i = 0; i < 20; ++i)
    register_hook(x, [&, i](const Tensor&) {
      order.push_back(i);
      for (int k = 0; k < 5 && i == 0; ++k)  // moves the list that is being run
        register_hook(x, [&](const Tensor&) {
          order.push_back(100);
          return Tensor();
        });
      return Tensor();
    });
  backward(x * 2.0);
  ASSERT_EQ(order.size(), 20u);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
  backward(x * 2.0);
  EXPECT_EQ(order.size(), 45u);
}

TEST(Engine, AHookMayNotChangeShapeOrDtype) {
  for (const Tensor& wrong : {ones({2}, DType::f64), ones({1}, DType::f32)}) {
    Tensor x = leaf({2});
    register_hook(x, [&](const Tensor&) { return wrong; });
    EXPECT_THROW(backward(x * 2.0), Error);
    EXPECT_FALSE(x.grad().defined());
  }
}

// A gradient that somebody else holds is never written to, whoever holds it.
TEST(Engine, AccumulationLeavesOtherHandlesAlone) {
  for (bool create_graph : {false, true}) {
    Tensor p = leaf({1, 1}), q = leaf({1, 1});
    const Tensor given = from_vector(std::vector<double>{1, 2});
    Tensor seen;
    register_hook(q, [&](const Tensor& g) {
      seen = g;
      return Tensor();
    });
    backward(p + q, given, {.create_graph = create_graph});
    EXPECT_FALSE(p.grad().shares_storage(q.grad()));
    EXPECT_FALSE(p.grad().shares_storage(given));
    const Tensor taken = p.grad();
    const Tensor first = seen;
    backward(sum((p + q) * 3.0));
    EXPECT_EQ(p.grad().to_vector<double>(), (std::vector<double>{4, 5}));
    EXPECT_EQ(q.grad().to_vector<double>(), (std::vector<double>{4, 5}));
    for (const Tensor& held : {given, taken, first})
      EXPECT_EQ(held.to_vector<double>(), (std::vector<double>{1, 2}));
  }
}

TEST(Engine, GradientsThatTheUserSharesAreNotAddedTwice) {
  Tensor p = leaf({1}), q = leaf({1});
  const Tensor shared = from_vector(std::vector<double>{1});
  p.set_grad(shared);
  q.set_grad(shared);
  backward(p * 2.0 + q * 3.0);
  EXPECT_EQ(p.grad().item(), 3);
  EXPECT_EQ(q.grad().item(), 4);
  EXPECT_EQ(shared.item(), 1);
}

TEST(Engine, CreateGraphKeepsLeafGradientsDifferentiable) {
  Tensor x = leaf({3}), y = leaf({5});
  backward(x * y, {}, {.create_graph = true});  // x.grad = y
  backward(x * x, {}, {.create_graph = true});  // + 2 x
  EXPECT_EQ(x.grad().item(), 11);
  const Tensors second = grad({x.grad()}, {x, y});
  EXPECT_EQ(second[0].item(), 2);
  EXPECT_EQ(second[1].item(), 1);
  x.set_grad(Tensor());
  y.set_grad(Tensor());
}

TEST(Engine, ReplacedDataIsCaught) {
  Tensor x = leaf({2}), c = from_vector(std::vector<double>{5});
  const Tensor y = x * c;
  c.set_data(from_vector(std::vector<double>{7}));
  EXPECT_THROW(grad({y}, {x}), Error);
}

// Counts how often its backward runs.
struct Counted {
  static constexpr std::string_view name = "counted";
  int* calls;
  Tensor forward(Ctx&, const Tensor& x) const { return view::clone(x); }
  Grads backward(const Ctx&, const Tensor& g) const {
    ++*calls;
    return {g};
  }
};

TEST(Engine, NothingBelowTheAskedInputsRuns) {
  Tensor x = leaf({2});
  int below = 0, above = 0;
  const Tensor y = tessera::apply(Counted{&below}, x);
  const Tensor z = tessera::apply(Counted{&above}, y * y);
  EXPECT_EQ(grad({z}, {y}, {}, {.retain_graph = true})[0].item(), 4);
  EXPECT_EQ(below, 0);
  EXPECT_EQ(grad({z, y}, {y, x}, {}, {.retain_graph = true})[1].item(), 5);
  EXPECT_EQ(below, 1);
  EXPECT_FALSE(grad({y}, {z}, {}, {.retain_graph = true, .allow_unused = true})[0].defined());
  EXPECT_EQ(above, 2);
}

struct SplitSign {  // a floating output and an integer one, both saved
  static constexpr std::string_view name = "split_sign";
  Tensors forward(Ctx& ctx, const Tensors& in) const {
    const Tensor& x = in[0];
    const Tensor signs = view::to(x, DType::i64);
    Tensors out{view::clone(x), signs};
    ctx.save(out);
    return out;
  }
  Grads backward(const Ctx& ctx, const Grads& g) const {
    EXPECT_TRUE(ctx.saved(0).requires_grad());
    EXPECT_FALSE(ctx.saved(1).requires_grad());
    return {g[0]};
  }
};

TEST(Engine, SavedIntegerOutputsNeedNoGradient) {
  Tensor x = leaf({2, -1});
  const Tensors y = apply_list(SplitSign{}, {x});
  EXPECT_EQ(grad({sum(y[0])}, {x})[0].to_vector<double>(), (std::vector<double>{1, 1}));
}

TEST(Engine, MillionNodeChain) {
  Tensor x = leaf({1});
  Tensor y = x;
  for (int i = 0; i < 1'000'000; ++i) y = y + 1e-9;
  EXPECT_EQ(grad({y}, {x}, {}, {.retain_graph = true})[0].item(), 1);
  y = Tensor();  // freed without recursion
}

TEST(Engine, LongChainOfSavedTensorsIsFreed) {
  Tensor x = leaf({1});
  Tensor y = x;
  for (int i = 0; i < 200'000; ++i) y = y * y;  // every node holds the one before it
  y = Tensor();
}

TEST(Engine, NothingLeaks) {
  const int64_t before = cpu_allocator().stats().live;
  {
    Tensor x = leaf({1, 2, 3});
    const Tensor y = x * x / (x + 1.0);
    const Tensor g = grad({sum(y)}, {x}, {}, {.create_graph = true})[0];
    backward(sum(g * g));
  }
  EXPECT_EQ(cpu_allocator().stats().live, before);
}

struct SavesOutput {
  static constexpr std::string_view name = "square_root_like";
  Tensor forward(Ctx& ctx, const Tensor& x) const {
    std::vector<double> v = x.to_vector<double>();
    for (double& e : v) e = std::sqrt(e);
    const Tensor y = from_vector(v, x.shape());
    ctx.save_output(y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const { return {g / (ctx.saved(0) * 2.0)}; }
};

TEST(Engine, SavedOutputStaysDifferentiableWithoutACycle) {
  const int64_t before = cpu_allocator().stats().live;
  {
    Tensor x = leaf({4});
    const auto fn = [](const Tensors& in) { return Tensors{tessera::apply(SavesOutput{}, in[0])}; };
    EXPECT_TRUE(gradcheck(fn, {x}).ok);
    const GradcheckResult second = gradgradcheck(fn, {x});
    EXPECT_TRUE(second.ok) << second.message;
  }
  EXPECT_EQ(cpu_allocator().stats().live, before);
}

struct WrongShape {
  static constexpr std::string_view name = "wrong";
  Tensor forward(Ctx&, const Tensor& x) const { return view::clone(x); }
  Grads backward(const Ctx&, const Tensor&) const { return {zeros({7}, DType::f64)}; }
};

TEST(Engine, WrongGradientShapeNamesTheOperator) {
  Tensor x = leaf({1, 2});
  try {
    backward(sum(tessera::apply(WrongShape{}, x)));
    ADD_FAILURE();
  } catch (const ShapeError& e) {
    EXPECT_NE(std::string(e.what()).find("wrong: gradient of input 0 has shape [7]"),
              std::string::npos)
        << e.what();
  }
}

struct Same {
  static constexpr std::string_view name = "same";
  Tensor forward(Ctx&, const Tensor& x) const { return x; }
  Grads backward(const Ctx&, const Tensor& g) const { return {g}; }
};

TEST(Engine, IdentityOpDoesNotTouchItsInput) {
  Tensor x = leaf({2});
  const Tensor y = tessera::apply(Same{}, x);
  EXPECT_TRUE(x.is_leaf());
  EXPECT_EQ(grad({y * y}, {x})[0].item(), 4);
}

struct WrongSquare {
  static constexpr std::string_view name = "wrong_square";
  Tensor forward(Ctx& ctx, const Tensor& x) const {
    ctx.save({x});
    return x * x;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const { return {g * ctx.saved(0)}; }
};

TEST(Gradcheck, NamesTheWorstElement) {
  const GradcheckResult result =
      gradcheck([](const Tensors& in) { return Tensors{tessera::apply(WrongSquare{}, in[0])}; },
                {leaf({1, 5})});
  EXPECT_FALSE(result.ok);
  EXPECT_NE(result.message.find("input 0 at ["), std::string::npos) << result.message;
  EXPECT_THROW(gradcheck([](const Tensors& in) { return in; }, {ones({1}).set_requires_grad(true)}),
               DTypeError);
}

struct DetachedSquare {
  static constexpr std::string_view name = "detached_square";
  Tensor forward(Ctx& ctx, const Tensor& x) const {
    ctx.save({x});
    return x * x;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    return {(g * ctx.saved(0) * 2.0).detach()};
  }
};

TEST(Gradcheck, ADetachedBackwardFailsInSecondOrder) {
  const auto fn = [](const Tensors& in) {
    return Tensors{tessera::apply(DetachedSquare{}, in[0])};
  };
  EXPECT_TRUE(gradcheck(fn, {leaf({1, 5})}).ok);
  EXPECT_FALSE(gradgradcheck(fn, {leaf({1, 5})}).ok);
}

TEST(CompositeVjp, SkipsOutputsThatDependOnNothing) {
  Tensor x = leaf({3});
  const auto fn = [](const Tensors& in) {
    return Tensors{in[0] * in[0], ones({1}, DType::f64), Tensor()};
  };
  const Tensor one = ones({1}, DType::f64);
  EXPECT_EQ(composite_vjp(fn, {x}, {one, one, Tensor()})[0].item(), 6);
  const auto constant = [&](const Tensors&) { return Tensors{one}; };
  EXPECT_FALSE(composite_vjp(constant, {x}, {one})[0].defined());
  NoGradGuard off;
  EXPECT_FALSE(composite_vjp(fn, {x}, {one, one, Tensor()})[0].requires_grad());
}

TEST(CompositeVjp, TreatsInputsAsIndependent) {
  Tensor x = leaf({3});
  const Tensor w = x * 2.0;  // depends on x, must not count
  const auto fn = [](const Tensors& in) { return Tensors{in[0] * in[1]}; };
  const Grads g = composite_vjp(fn, {x, w}, {ones({1}, DType::f64)});
  EXPECT_EQ(g[0].item(), 6);
  EXPECT_EQ(g[1].item(), 3);
  EXPECT_EQ(grad({g[0]}, {x})[0].item(), 2);  // still connected to x through w
}

TEST(CompositeVjp, OutputsMayIgnoreTheWantedInputs) {
  const Tensor x = leaf({3}), w = leaf({6});
  const auto fn = [](const Tensors& in) { return Tensors{in[0] * in[1], in[0].detach() * 2.0}; };
  const Tensors ones2(2, ones({1}, DType::f64));
  const Grads g = composite_vjp(fn, {x, w}, ones2, {false, true});
  EXPECT_FALSE(g[0].defined());
  EXPECT_EQ(g[1].item(), 3);
  const auto constant = [](const Tensors& in) { return Tensors{in[0].detach()}; };
  EXPECT_FALSE(composite_vjp(constant, {x}, {ones2[0]})[0].defined());
  EXPECT_THROW(composite_vjp(fn, {x, w}, {ones2[0]}), Error);
}

TEST(Checkpoint, SameGradientsLessMemory) {
  Tensor w = leaf({0.5, -1.5}), x = leaf({2, 3});
  const auto fn = [w](const Tensors& in) {
    Tensor y = in[0];
    for (int i = 0; i < 4; ++i) y = y * w + y * y;
    return Tensors{y};
  };
  const Tensor weights = from_vector(std::vector<double>{1, -2});
  const Tensors plain = grad(fn({x}), {x, w}, {weights});
  int64_t live = cpu_allocator().stats().live;
  const Tensors out = checkpoint(fn, {x}, {w});
  EXPECT_LE(cpu_allocator().stats().live - live, 256);  // the output alone
  const Tensors again = grad(out, {x, w}, {weights});
  for (size_t i = 0; i < 2; ++i)
    EXPECT_EQ(plain[i].to_vector<double>(), again[i].to_vector<double>());
  const GradcheckResult second = gradgradcheck(
      [&](const Tensors& in) { return checkpoint(fn, {in[0]}, {w}); }, {leaf({0.3, 0.2})});
  EXPECT_TRUE(second.ok) << second.message;
}

TEST(Checkpoint, AsksOnlyForWhatIsNeeded) {
  Tensor w = leaf({2}), x = leaf({3});
  int calls = 0;
  const auto fn = [&calls, w](const Tensors& in) {
    return Tensors{in[0] * tessera::apply(Counted{&calls}, w)};
  };
  EXPECT_EQ(grad(checkpoint(fn, {x}, {w}), {x})[0].item(), 2);
  EXPECT_EQ(calls, 0);
  const Tensors both = grad(checkpoint(fn, {x}, {w}), {x, w});
  EXPECT_EQ(both[1].item(), 3);
  EXPECT_FALSE(both[1].requires_grad());
  EXPECT_EQ(calls, 1);
  EXPECT_THROW(checkpoint(fn, {x}, {w * 2.0}), ValueError);
}

TEST(Checkpoint, OutputsThatWereCapturedOrDependOnNothing) {
  Tensor x = leaf({2}), w = leaf({3});
  const Tensor constant = from_vector(std::vector<double>{4});
  const Tensors y = checkpoint(
      [&](const Tensors& in) {
        return Tensors{in[0] * 2.0, constant, in[0], w};
      },
      {x}, {w});
  EXPECT_FALSE(constant.requires_grad());
  EXPECT_TRUE(w.is_leaf());
  const Tensors g = grad({sum(y[0] + y[1] + y[2] + y[3])}, {x, w});
  EXPECT_EQ(g[0].item(), 3);
  EXPECT_EQ(g[1].item(), 1);
  const Tensors cut = checkpoint([](const Tensors& in) { return Tensors{in[0].detach()}; }, {x});
  EXPECT_FALSE(grad(cut, {x}, {}, {.allow_unused = true})[0].defined());
}

}  // namespace
}  // namespace tessera
