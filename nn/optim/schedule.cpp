#include "nn/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

namespace tessera::nn {
namespace {

class Formula final : public Schedule {
 public:
  explicit Formula(std::function<double(double, int64_t)> fn) : fn_(std::move(fn)) {}
  double rate(double initial, int64_t t) const override { return fn_(initial, t); }

 private:
  std::function<double(double, int64_t)> fn_;
};

template <class Fn>
SchedulePtr make(Fn fn) {
  return std::make_shared<Formula>(std::move(fn));
}

void check_positive(const char* what, int64_t steps) {
  TESSERA_CHECK(ValueError, steps > 0, what, ": the number of steps must be positive, got ", steps);
}

double ratio(int64_t t, int64_t total) {
  return std::clamp(static_cast<double>(t) / static_cast<double>(total), 0.0, 1.0);
}

double cosine_between(double from, double to, double x) {
  return to + (from - to) * (1 + std::cos(std::numbers::pi * x)) / 2;
}

}  // namespace

void Schedule::apply(Optimizer& optimizer, int64_t t) const {
  for (Optimizer::Group& group : optimizer.groups()) group.lr = rate(group.initial_lr, t);
}

SchedulePtr constant_schedule(double factor) {
  return make([=](double initial, int64_t) { return initial * factor; });
}

SchedulePtr step_schedule(int64_t step_size, double gamma) {
  check_positive("step_schedule", step_size);
  return make([=](double initial, int64_t t) {
    return initial * std::pow(gamma, static_cast<double>(t / step_size));
  });
}

SchedulePtr multi_step_schedule(std::vector<int64_t> milestones, double gamma) {
  TESSERA_CHECK(ValueError, std::is_sorted(milestones.begin(), milestones.end()),
                "multi_step_schedule: milestones must ascend");
  return make([=](double initial, int64_t t) {
    const auto passed = std::upper_bound(milestones.begin(), milestones.end(), t);
    return initial * std::pow(gamma, static_cast<double>(passed - milestones.begin()));
  });
}

SchedulePtr exponential_schedule(double gamma) {
  return make(
      [=](double initial, int64_t t) { return initial * std::pow(gamma, static_cast<double>(t)); });
}

SchedulePtr cosine_schedule(int64_t total, double eta_min) {
  check_positive("cosine_schedule", total);
  return make(
      [=](double initial, int64_t t) { return cosine_between(initial, eta_min, ratio(t, total)); });
}

SchedulePtr linear_schedule(double start, double end, int64_t total) {
  check_positive("linear_schedule", total);
  return make([=](double initial, int64_t t) {
    return initial * (start + (end - start) * ratio(t, total));
  });
}

SchedulePtr polynomial_schedule(int64_t total, double power) {
  check_positive("polynomial_schedule", total);
  return make(
      [=](double initial, int64_t t) { return initial * std::pow(1 - ratio(t, total), power); });
}

SchedulePtr one_cycle_schedule(double max_rate, int64_t total, double warm, double div,
                               double final_div, bool cosine) {
  TESSERA_CHECK(ValueError, total > 1 && warm > 0 && warm < 1 && div > 0 && final_div > 0,
                "one_cycle_schedule: needs total > 1, 0 < warm < 1 and positive divisors, got ",
                total, ", ", warm, ", ", div, ", ", final_div);
  const double first = max_rate / div, last = first / final_div;
  const double peak = warm * static_cast<double>(total) - 1, end = static_cast<double>(total) - 1;
  return make([=](double, int64_t t) {
    const auto x = static_cast<double>(t);
    const bool rising = x <= peak;
    const double part =
        rising ? (peak > 0 ? x / peak : 1.0) : std::min(1.0, (x - peak) / (end - peak));
    const double from = rising ? first : max_rate, to = rising ? max_rate : last;
    return cosine ? cosine_between(from, to, part) : from + (to - from) * part;
  });
}

SchedulePtr cyclic_schedule(double max_rate, int64_t half, double decay) {
  check_positive("cyclic_schedule", half);
  return make([=](double initial, int64_t t) {
    const int64_t cycle = t / (2 * half);
    const auto place = static_cast<double>(t - cycle * 2 * half);
    const auto h = static_cast<double>(half);
    const double height = place <= h ? place / h : 2 - place / h;
    return initial + (max_rate - initial) * height * std::pow(decay, static_cast<double>(cycle));
  });
}

SchedulePtr warmup_schedule(double start, int64_t steps, SchedulePtr rest) {
  if (steps <= 0) return rest;
  return chained_schedule({linear_schedule(start, 1, steps), std::move(rest)}, {steps});
}

SchedulePtr chained_schedule(std::vector<SchedulePtr> parts, std::vector<int64_t> milestones) {
  TESSERA_CHECK(ValueError,
                !parts.empty() && milestones.size() + 1 == parts.size() &&
                    std::is_sorted(milestones.begin(), milestones.end()),
                "chained_schedule: ", parts.size(), " schedules need ", parts.size(),
                " - 1 ascending milestones, got ", milestones.size());
  for (const SchedulePtr& part : parts)
    TESSERA_CHECK(ValueError, part, "chained_schedule: a schedule is null");
  return make([=](double initial, int64_t t) {
    const auto passed = std::upper_bound(milestones.begin(), milestones.end(), t);
    const auto i = static_cast<size_t>(passed - milestones.begin());
    return parts[i]->rate(initial, i == 0 ? t : t - milestones[i - 1]);
  });
}

}  // namespace tessera::nn
