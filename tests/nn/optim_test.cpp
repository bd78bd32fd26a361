#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "autograd/engine.h"
#include "nn/layers/linear.h"
#include "nn/optim/optimizer.h"
#include "nn/optim/schedule.h"
#include "ops/pointwise/arithmetic.h"
#include "tensor/view.h"

namespace tessera::nn {
namespace {

using Values = std::vector<double>;

Tensor parameter(const Values& values) {
  Tensor p = from_vector(values);
  p.set_requires_grad(true);
  return p;
}

void set_grad(Tensor p, const Values& values) { p.set_grad(from_vector(values)); }

// p0^2 + p0 p1 / 2 + p1^2 / 4 from (1, -2): the values of the re-ID baseline's optimizer.
TEST(Sgd, NesterovTrajectory) {
  const Tensor p = parameter({1, -2});
  Sgd sgd({p}, {.lr = 0.05, .momentum = 0.9, .weight_decay = 5e-4, .nesterov = true});
  const Values expected[] = {
      {0.9049525000, -1.9524050000}, {0.7851875273, -1.8822677670}, {0.6551208181, -1.7905551486}};
  for (const Values& e : expected) {
    const Values v = p.to_vector<double>();
    set_grad(p, {2 * v[0] + v[1] / 2, v[0] / 2 + v[1] / 2});
    sgd.step();
    EXPECT_NEAR(p.to_vector<double>()[0], e[0], 1e-10);
    EXPECT_NEAR(p.to_vector<double>()[1], e[1], 1e-10);
  }
}

TEST(Optimizer, ChecksItsOptions) {
  const Tensor p = parameter({1});
  EXPECT_THROW(Sgd({p, p}, {}), ValueError);
  EXPECT_THROW(Sgd({p}, {.lr = -1}), ValueError);
  EXPECT_THROW(Sgd({p}, {.weight_decay = -1}), ValueError);
  EXPECT_THROW(Sgd({p}, {.momentum = -1}), ValueError);
  EXPECT_THROW(Sgd({p}, {.nesterov = true}), ValueError);
  EXPECT_THROW(Sgd({p}, {.momentum = 0.9, .dampening = 0.1, .nesterov = true}), ValueError);
  EXPECT_THROW(Adam({p}, {.beta1 = 1}), ValueError);
  EXPECT_THROW(Adam({p}, {.beta2 = -0.1}), ValueError);
  EXPECT_THROW(RmsProp({p}, {.alpha = 1.5}), ValueError);
  EXPECT_THROW(Sgd({p * 2.0}, {}), ValueError);
  EXPECT_THROW(Sgd({Tensor()}, {}), Error);
}

TEST(Optimizer, SkipsParametersWithoutGradientAndTheirDecay) {
  const Tensor p = parameter({1}), q = parameter({1});
  Sgd sgd({p, q}, {.lr = 0.1, .weight_decay = 1});
  set_grad(p, {1});
  sgd.step();
  EXPECT_NEAR(p.item(), 1 - 0.1 * 2, 1e-15);
  EXPECT_EQ(q.item(), 1);
  sgd.zero_grad();
  EXPECT_FALSE(p.grad().defined());
}

TEST(Optimizer, AStridedParameterIsRefused) {
  const Tensor base = view::reshape(arange(6, DType::f64), {2, 3});
  Tensor p = view::transpose(base, 0, 1);
  p.set_requires_grad(true);
  p.set_grad(ones({3, 2}, DType::f64));
  const Values before = base.to_vector<double>();
  EXPECT_THROW(Sgd({p}, {.lr = 1}).step(), ValueError);
  EXPECT_THROW(Adam({p}, {.lr = 1}).step(), ValueError);
  EXPECT_THROW(RmsProp({p}, {.lr = 1}).step(), ValueError);
  EXPECT_EQ(base.to_vector<double>(), before);
}

TEST(Optimizer, StepIsNotRecordedAndBumpsVersions) {
  Linear linear(2, 1);
  const Tensor x = ones({1, 2});
  const Tensor y = linear(x);
  backward(y);
  Sgd sgd(linear.parameters(), {.lr = 0.1});
  const uint32_t before = linear.weight.version();
  sgd.step();
  EXPECT_GT(linear.weight.version(), before);
  EXPECT_TRUE(linear.weight.is_leaf());
}

OptimizerState without(OptimizerState state, const std::string& name) {
  std::erase_if(state, [&](const StateEntry& e) { return e.name == name; });
  return state;
}

std::string load_error(Optimizer& optimizer, const OptimizerState& state) {
  try {
    optimizer.load_state(state);
  } catch (const ValueError& e) {
    return e.what();
  }
  return "";
}

TEST(Optimizer, StateContinuesExactly) {
  const Tensor p = parameter({1, 2}), q = parameter({3}), late = parameter({4});
  const Tensor p2 = parameter({1, 2}), q2 = parameter({3}), late2 = parameter({4});
  const auto make = [](const Tensor& a, const Tensor& b, const Tensor& c) {
    return std::make_unique<Adam>(std::vector<ParameterGroup>{{{a, b}}, {{c}, 0.5, 0.1}},
                                  Adam::Options{.lr = 0.1, .weight_decay = 0.01, .amsgrad = true});
  };
  auto one = make(p, q, late), two = make(p2, q2, late2);
  const auto run = [](Optimizer& o, const Tensor& a, const Tensor& b, const Tensor& c, int from,
                      int to) {
    for (int t = from; t < to; ++t) {
      set_grad(a, {std::sin(t), std::cos(t)});
      set_grad(b, {0.1 * t});
      if (t >= 4) set_grad(c, {1.0 / t});
      o.groups()[0].lr = 0.1 / (t + 1);
      o.step();
    }
  };
  run(*one, p, q, late, 0, 6);
  run(*two, p2, q2, late2, 0, 3);
  auto three = make(p2, q2, late2);
  three->load_state(two->state());
  EXPECT_EQ(three->groups()[0].lr, 0.1 / 3);
  EXPECT_EQ(three->groups()[0].initial_lr, 0.1);
  EXPECT_EQ(three->groups()[1].lr, 0.5);
  run(*three, p2, q2, late2, 3, 6);
  EXPECT_EQ(p.to_vector<double>(), p2.to_vector<double>());
  EXPECT_EQ(q.item(), q2.item());
  EXPECT_EQ(late.item(), late2.item());
}

TEST(Optimizer, RefusesForeignStateAsAWhole) {
  const Tensor p = parameter({1, 2}), q = parameter({3});
  Sgd sgd({p, q}, {.lr = 0.1, .momentum = 0.9});
  set_grad(p, {1, 1});
  set_grad(q, {1});
  sgd.step();
  const OptimizerState good = sgd.state();
  const Values velocity = good[3].tensor.to_vector<double>();
  EXPECT_EQ(good[3].name, "0.momentum");

  Adam adam({parameter({1, 2}), parameter({3})}, {});
  const std::string foreign = load_error(adam, good);
  for (const char* part :
       {"unexpected 0.momentum", "unexpected 1.momentum", "missing 0.m", "missing 1.v"})
    EXPECT_NE(foreign.find(part), std::string::npos) << foreign;

  Sgd fewer({parameter({1, 2})}, {.momentum = 0.9});
  EXPECT_NE(load_error(fewer, good).find("unexpected 1.momentum"), std::string::npos);
  Sgd other({parameter({1, 2, 3}), parameter({3})}, {.momentum = 0.9});
  EXPECT_NE(load_error(other, good).find("mismatched 0.momentum"), std::string::npos);
  Sgd split(std::vector<ParameterGroup>{{{parameter({1, 2})}}, {{parameter({3})}}},
            {.momentum = 0.9});
  EXPECT_NE(load_error(split, good).find("1 groups"), std::string::npos);
  EXPECT_NE(load_error(sgd, without(good, "1.momentum")).find("missing 1.momentum"),
            std::string::npos);
  for (const char* name : {"x.momentum", "1x.momentum", ".momentum", "momentum", "-1.momentum",
                           "99999999999999999999.momentum", "0.other"}) {
    OptimizerState bad = good;
    bad.push_back({name, zeros({2}, DType::f64)});
    EXPECT_NE(load_error(sgd, bad).find(cat("unexpected ", name)), std::string::npos) << name;
  }
  OptimizerState negative = good;
  negative[2].tensor = from_vector(std::vector<int64_t>{1, -1});
  EXPECT_NE(load_error(sgd, negative).find("parameter 1 has made -1 steps"), std::string::npos);
  EXPECT_EQ(sgd.state()[3].tensor.to_vector<double>(), velocity);
}

TEST(ClipGradNorm, ScalesToTheJointNorm) {
  const Tensor p = parameter({0, 0}), q = parameter({0}), none = parameter({0});
  set_grad(p, {3, 0});
  set_grad(q, {-4});
  EXPECT_DOUBLE_EQ(clip_grad_norm_({p, q, none}, 10), 5);
  EXPECT_EQ(p.grad().to_vector<double>(), (Values{3, 0}));
  EXPECT_DOUBLE_EQ(clip_grad_norm_({p, q, none}, 1), 5);
  const double scale = 1 / (5 + 1e-6);  // torch's
  EXPECT_DOUBLE_EQ(p.grad().to_vector<double>()[0], 3 * scale);
  EXPECT_DOUBLE_EQ(q.grad().item(), -4 * scale);
  EXPECT_FALSE(none.grad().defined());
  EXPECT_EQ(clip_grad_norm_({none}, 1), 0);
  EXPECT_THROW(clip_grad_norm_({p}, -1), ValueError);

  set_grad(p, {std::numeric_limits<double>::infinity(), 1});
  EXPECT_TRUE(std::isinf(clip_grad_norm_({p, q}, 1)));
  EXPECT_EQ(p.grad().to_vector<double>()[1], 1);
}

// One sum gives both leaves their gradient: scaling one must not scale the other again.
TEST(ClipGradNorm, GradientsOfOneOriginAreScaledOnce) {
  const Tensor p = parameter({1, 1}), q = parameter({2, 2});
  const Tensor y = p + q;
  backward(y, from_vector<double>({3, 4}));
  EXPECT_NEAR(clip_grad_norm_({p, q}, 1), std::sqrt(50.0), 1e-12);
  EXPECT_NEAR(p.grad().to_vector<double>()[0], 3 / std::sqrt(50.0), 1e-6);
  EXPECT_NEAR(q.grad().to_vector<double>()[1], 4 / std::sqrt(50.0), 1e-6);
}

TEST(ClipGradValue, ClampsEveryElement) {
  const Tensor p = parameter({0, 0, 0}), none = parameter({0});
  set_grad(p, {-3, 0.25, 0.75});
  clip_grad_value_({p, none}, 0.5);
  EXPECT_EQ(p.grad().to_vector<double>(), (Values{-0.5, 0.25, 0.5}));
  EXPECT_THROW(clip_grad_value_({p}, -1), ValueError);
}

// 60 epochs at 0.05 (head) and 0.005 (backbone).
TEST(Schedule, ReidBaseline) {
  const SchedulePtr step = step_schedule(40, 0.1), cosine = cosine_schedule(60, 0.01 * 0.05);
  for (int64_t t : {0, 39}) EXPECT_DOUBLE_EQ(step->rate(0.05, t), 0.05);
  for (int64_t t : {40, 59}) EXPECT_NEAR(step->rate(0.05, t), 0.005, 1e-15);
  const double head[] = {0.0499660810, 0.02525, 0.0005339190};
  const double backbone[] = {0.0049969165, 0.00275, 0.0005030835};
  const int64_t epochs[] = {1, 30, 59};
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(cosine->rate(0.05, epochs[i]), head[i], 1e-10);
    EXPECT_NEAR(cosine->rate(0.005, epochs[i]), backbone[i], 1e-10);
  }
}

TEST(Schedule, PastTheEndStaysThere) {
  for (int64_t t : {10, 11, 1000}) {
    EXPECT_DOUBLE_EQ(cosine_schedule(10, 0.25)->rate(1, t), 0.25);
    EXPECT_DOUBLE_EQ(linear_schedule(0.5, 0.75, 10)->rate(2, t), 1.5);
    EXPECT_DOUBLE_EQ(polynomial_schedule(10, 2)->rate(1, t), 0);
    EXPECT_DOUBLE_EQ(one_cycle_schedule(1, 10)->rate(7, t), 1 / 25.0 / 1e4);
  }
}

TEST(Schedule, AppliesToEveryGroupAndChecks) {
  Sgd sgd(std::vector<ParameterGroup>{{{parameter({1})}}, {{parameter({1})}, 0.5}}, {.lr = 0.1});
  exponential_schedule(0.5)->apply(sgd, 2);
  EXPECT_DOUBLE_EQ(sgd.groups()[0].lr, 0.025);
  EXPECT_DOUBLE_EQ(sgd.groups()[1].lr, 0.125);
  constant_schedule()->apply(sgd, 9);  // the initial rates are kept
  EXPECT_DOUBLE_EQ(sgd.groups()[1].lr, 0.5);
  EXPECT_EQ(warmup_schedule(0.1, 0, constant_schedule(3))->rate(1, 0), 3);

  EXPECT_THROW(step_schedule(0), ValueError);
  EXPECT_THROW(multi_step_schedule({5, 2}), ValueError);
  EXPECT_THROW(cosine_schedule(0), ValueError);
  EXPECT_THROW(linear_schedule(0, 1, -1), ValueError);
  EXPECT_THROW(polynomial_schedule(0), ValueError);
  EXPECT_THROW(one_cycle_schedule(1, 1), ValueError);
  EXPECT_THROW(one_cycle_schedule(1, 10, 1.5), ValueError);
  EXPECT_THROW(cyclic_schedule(1, 0), ValueError);
  EXPECT_THROW(chained_schedule({}, {}), ValueError);
  EXPECT_THROW(chained_schedule({nullptr}, {}), ValueError);
  EXPECT_THROW(warmup_schedule(0.1, 5, nullptr), ValueError);
  EXPECT_THROW(chained_schedule({constant_schedule()}, {3}), ValueError);
  EXPECT_THROW(
      chained_schedule({constant_schedule(), constant_schedule(), constant_schedule()}, {5, 2}),
      ValueError);
}

}  // namespace
}  // namespace tessera::nn
