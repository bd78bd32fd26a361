#pragma once

#include <memory>
#include <vector>

#include "nn/optim/optimizer.h"

namespace tessera::nn {

/// A learning-rate schedule: the factor by which a group's initial learning rate is multiplied at
/// step t (epochs or iterations, as the caller counts them), t >= 0. Pure functions of t, so a
/// resumed run needs only t. Values agree with the torch schedulers of the same names in closed
/// form.
class Schedule {
 public:
  virtual ~Schedule() = default;
  /// The rate at step t of a group that started with `initial`.
  virtual double rate(double initial, int64_t t) const = 0;
  /// Sets the learning rate of every group of `optimizer` for step t.
  void apply(Optimizer& optimizer, int64_t t) const;
};
using SchedulePtr = std::shared_ptr<const Schedule>;

/// Always the initial rate times `factor`.
SchedulePtr constant_schedule(double factor = 1);
/// Times gamma every `step_size` steps.
SchedulePtr step_schedule(int64_t step_size, double gamma = 0.1);
/// Times gamma at each milestone (ascending).
SchedulePtr multi_step_schedule(std::vector<int64_t> milestones, double gamma = 0.1);
/// Times gamma every step.
SchedulePtr exponential_schedule(double gamma);
/// eta + (initial - eta)(1 + cos(pi t / total)) / 2, eta at and past `total`. arXiv 1608.03983.
SchedulePtr cosine_schedule(int64_t total, double eta_min = 0);
/// Factor from `start` to `end` over `total` steps, then `end`.
SchedulePtr linear_schedule(double start, double end, int64_t total);
/// Factor (1 - t / total)^power, 0 past `total`.
SchedulePtr polynomial_schedule(int64_t total, double power = 1);
/// One cycle (arXiv 1708.07120): from max / div up to max over `warm` * total steps, then down to
/// max / div / final_div; cosine or linear. The initial rate is not used.
SchedulePtr one_cycle_schedule(double max_rate, int64_t total, double warm = 0.3, double div = 25,
                               double final_div = 1e4, bool cosine = true);
/// Triangular wave between the initial rate and max_rate; each half lasts `half` steps; `decay`
/// multiplies the amplitude every cycle. arXiv 1506.01186.
SchedulePtr cyclic_schedule(double max_rate, int64_t half, double decay = 1);
/// Factor from `start` to 1 over `steps`, then `rest` from its own step 0.
SchedulePtr warmup_schedule(double start, int64_t steps, SchedulePtr rest);
/// Schedules one after another: the next takes over at its milestone, counting from 0 there.
SchedulePtr chained_schedule(std::vector<SchedulePtr> parts, std::vector<int64_t> milestones);

}  // namespace tessera::nn
