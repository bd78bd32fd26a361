// PyTorch's optimizers and schedulers, as golden/make_optim.py recorded them.

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "nn/optim/optimizer.h"
#include "nn/optim/schedule.h"
#include "tensor/view.h"

namespace tessera::nn {
namespace {

using nlohmann::json;
using Values = std::vector<double>;

const json& golden() {
  static const json value = [] {
    std::ifstream file(TESSERA_SOURCE_DIR "/tests/nn/golden/optim.json");
    return json::parse(file);
  }();
  return value;
}

std::unique_ptr<Optimizer> make(const json& c, const Tensors& parameters) {
  const json &o = c["options"], &second = c["second_group"];
  std::vector<ParameterGroup> groups{
      {{parameters[0], parameters[1]}},
      {{parameters[2]}, second["lr"].get<double>(), second["weight_decay"].get<double>()}};
  const auto number = [&](const char* key, double otherwise) { return o.value(key, otherwise); };
  const std::string kind = c["kind"];
  const double lr = o["lr"];
  if (kind == "sgd")
    return std::make_unique<Sgd>(groups, Sgd::Options{.lr = lr,
                                                      .momentum = number("momentum", 0),
                                                      .dampening = number("dampening", 0),
                                                      .weight_decay = number("weight_decay", 0),
                                                      .nesterov = o.value("nesterov", false)});
  if (kind == "rmsprop")
    return std::make_unique<RmsProp>(groups,
                                     RmsProp::Options{.lr = lr,
                                                      .alpha = number("alpha", 0.99),
                                                      .eps = number("eps", 1e-8),
                                                      .weight_decay = number("weight_decay", 0),
                                                      .momentum = number("momentum", 0),
                                                      .centered = o.value("centered", false)});
  const Values betas = o.value("betas", Values{0.9, 0.999});
  return std::make_unique<Adam>(groups, Adam::Options{.lr = lr,
                                                      .beta1 = betas[0],
                                                      .beta2 = betas[1],
                                                      .eps = number("eps", 1e-8),
                                                      .weight_decay = number("weight_decay", 0),
                                                      .amsgrad = o.value("amsgrad", false),
                                                      .decoupled = kind == "adamw"});
}

class TorchOptimizer : public ::testing::TestWithParam<size_t> {};

// The first parameter that is off by more than `tolerance`, relative to 1 + |value|.
void run(const json& c, DType dtype, double tolerance) {
  Tensors parameters;
  for (const json& start : c["start"]) {
    const Values values = start;
    Tensor p = empty({static_cast<int64_t>(values.size())}, dtype);
    copy_(p, from_vector(values));
    p.set_requires_grad(true);
    parameters.push_back(p);
  }
  const auto optimizer = make(c, parameters);
  for (size_t t = 0; t < c["steps"].size(); ++t) {
    for (size_t k = 0; k < parameters.size(); ++k) {
      const json& given = c["grads"][t][k];
      Tensor g;
      if (!given.is_null()) {
        g = empty(parameters[k].shape(), dtype);
        copy_(g, from_vector(given.get<Values>()));
      }
      parameters[k].set_grad(g);
    }
    optimizer->step();
    for (size_t k = 0; k < parameters.size(); ++k) {
      const Values have = parameters[k].to_vector<double>(), want = c["steps"][t][k];
      for (size_t i = 0; i < want.size(); ++i)
        ASSERT_NEAR(have[i], want[i], tolerance * (1 + std::abs(want[i])))
            << "step " << t << ", parameter " << k << ", element " << i;
    }
  }
}

// 7 steps of about 10 operations each: some tens of roundings of 1.1e-16; in f32 RMSprop and Adam
// divide by square roots of sums whose relative rounding is 6e-8.
TEST_P(TorchOptimizer, Float64) { run(golden()["optimizers"][GetParam()], DType::f64, 1e-14); }
TEST_P(TorchOptimizer, Float32) { run(golden()["optimizers"][GetParam()], DType::f32, 3e-6); }

INSTANTIATE_TEST_SUITE_P(All, TorchOptimizer,
                         ::testing::Range(size_t{0}, golden()["optimizers"].size()),
                         [](const ::testing::TestParamInfo<size_t>& info) {
                           return golden()["optimizers"][info.param]["name"].get<std::string>();
                         });

SchedulePtr make_schedule(const json& s) {
  const json& a = s["arguments"];
  const auto number = [&](const char* key) { return a.at(key).get<double>(); };
  const auto count = [&](const char* key) { return a.at(key).get<int64_t>(); };
  const auto counts = [&](const char* key) { return a.at(key).get<std::vector<int64_t>>(); };
  const std::string kind = s["kind"];
  if (kind == "step") return step_schedule(count("step_size"), number("gamma"));
  if (kind == "multi_step") return multi_step_schedule(counts("milestones"), number("gamma"));
  if (kind == "exponential") return exponential_schedule(number("gamma"));
  if (kind == "cosine") return cosine_schedule(count("total"), number("eta_min"));
  if (kind == "linear") return linear_schedule(number("start"), number("end"), count("total"));
  if (kind == "polynomial") return polynomial_schedule(count("total"), number("power"));
  if (kind == "one_cycle")
    return one_cycle_schedule(number("max_rate"), count("total"), number("warm"), number("div"),
                              number("final_div"), a.at("cosine").get<bool>());
  if (kind == "cyclic") return cyclic_schedule(number("max_rate"), count("half"), number("decay"));
  if (kind == "warmup_cosine")
    return warmup_schedule(number("start"), count("steps"), cosine_schedule(count("total")));
  if (kind == "warmup_step")
    return warmup_schedule(number("start"), count("steps"),
                           step_schedule(count("step_size"), number("gamma")));
  if (kind == "chain")
    return chained_schedule(
        {constant_schedule(0.5), exponential_schedule(0.7), linear_schedule(0.2, 1, 5)},
        counts("milestones"));
  throw ValueError(cat("no schedule of kind ", kind));
}

// torch multiplies step by step, so its own rounding adds up.
TEST(TorchSchedule, Rates) {
  for (const json& s : golden()["schedules"]) {
    const SchedulePtr schedule = make_schedule(s);
    const Values initial = s["initial"];
    for (size_t t = 0; t < s["rates"].size(); ++t)
      for (size_t g = 0; g < initial.size(); ++g)
        EXPECT_NEAR(schedule->rate(initial[g], static_cast<int64_t>(t)),
                    s["rates"][t][g].get<double>(), 1e-14)
            << s["kind"] << " " << s["arguments"] << " step " << t << " group " << g;
  }
}

}  // namespace
}  // namespace tessera::nn
