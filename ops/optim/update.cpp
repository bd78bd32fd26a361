#include "ops/optim/update.h"

#include <algorithm>
#include <cmath>

#include "autograd/node.h"
#include "ops/optim/update_formulas.h"
#include "tensor/parallel.h"
#include "tensor/view.h"

namespace tessera {
namespace {

constexpr int64_t kGrain = 32768;

// Calls body(tensor index, begin, end) over all elements of all tensors, in parallel across tensor
// borders, so that many small parameters cost one parallel region.
template <class Body>
void for_each_element(const Tensors& tensors, Body&& body) {
  std::vector<int64_t> start{0};
  for (const Tensor& t : tensors) start.push_back(start.back() + t.numel());
  parallel_for(0, start.back(), kGrain, [&](int64_t begin, int64_t end) {
    size_t i = static_cast<size_t>(std::upper_bound(start.begin(), start.end(), begin) -
                                   start.begin() - 1);
    while (begin < end) {
      const int64_t stop = std::min(end, start[i + 1]);
      if (stop > begin) body(i, begin - start[i], stop - start[i]);
      begin = stop;
      ++i;
    }
  });
}

template <class T>
std::vector<T*> pointers(const Tensors& tensors) {
  std::vector<T*> out;
  for (const Tensor& t : tensors) out.push_back(t.data<T>());
  return out;
}

// A function of its own with the step inlined, for the compiler to believe in __restrict__ and
// vectorise the loop.
template <class T, class Step, class... State>
[[gnu::noinline, gnu::flatten]] void run_steps(const Step& step, int64_t n, T* __restrict__ x,
                                               const T* __restrict__ g,
                                               State* __restrict__... state) {
  const Step local = step;
  for (int64_t i = 0; i < n; ++i) local(x[i], g[i], state[i]...);
}

template <class T, class Step, class... State>
void update_all(const Step& step, const Tensors& p, const Tensors& g, const State&... state) {
  const std::vector<T*> x = pointers<T>(p), slope = pointers<T>(g);
  [&](const auto&... s) {
    for_each_element(p, [&](size_t k, int64_t begin, int64_t end) {
      run_steps(step, end - begin, x[k] + begin, slope[k] + begin, s[k] + begin...);
    });
  }(pointers<T>(state)...);
}

void sgd_cpu(const Tensors& p, const Tensors& g, const Tensors& velocity, const SgdUpdate& u) {
  dispatch_float(p[0].dtype(), "sgd", [&]<class T>() {
    const math::SgdStep<T> step(u);
    velocity.empty() ? update_all<T>(step, p, g) : update_all<T>(step, p, g, velocity);
  });
}
void adam_cpu(const Tensors& p, const Tensors& g, const Tensors& m, const Tensors& v,
              const Tensors& v_max, const AdamUpdate& u) {
  dispatch_float(p[0].dtype(), "adam", [&]<class T>() {
    const math::AdamStep<T> step(u);
    v_max.empty() ? update_all<T>(step, p, g, m, v) : update_all<T>(step, p, g, m, v, v_max);
  });
}
void rmsprop_cpu(const Tensors& p, const Tensors& g, const Tensors& s, const Tensors& a,
                 const Tensors& b, const RmspropUpdate& u) {
  dispatch_float(p[0].dtype(), "rmsprop", [&]<class T>() {
    math::with_rmsprop_step<T>(u, s, a, b, [&](const auto& step, const auto&... state) {
      update_all<T>(step, p, g, state...);
    });
  });
}

// The lists agree with the parameters in number, shape and dtype, and all are contiguous. Optional
// ones may be empty.
void check_lists(std::string_view op, const Tensors& p, std::vector<const Tensors*> lists,
                 std::initializer_list<const Tensors*> optional) {
  for (const Tensors* list : optional)
    if (!list->empty()) lists.push_back(list);
  for (const Tensors* list : lists) {
    TESSERA_CHECK(ValueError, list->size() == p.size(), op, ": ", p.size(), " parameters but ",
                  list->size(), " gradients or states");
    for (size_t i = 0; i < p.size(); ++i) {
      TESSERA_CHECK(ShapeError, (*list)[i].shape() == p[i].shape(), op, ": parameter ", i, " is ",
                    p[i].shape(), ", its gradient or state ", (*list)[i].shape());
      TESSERA_CHECK(DTypeError, (*list)[i].dtype() == p[0].dtype() && p[i].dtype() == p[0].dtype(),
                    op, ": parameter ", i, " is ", p[i].dtype(), ", its gradient or state ",
                    (*list)[i].dtype(), ", the first parameter ", p[0].dtype());
      TESSERA_CHECK(ValueError, (*list)[i].is_contiguous() && p[i].is_contiguous(), op,
                    ": parameter ", i, " of shape ", p[i].shape(),
                    " or its state is not contiguous");
    }
  }
}

Tensors contiguous_all(const Tensors& tensors) {
  Tensors out;
  for (const Tensor& t : tensors) out.push_back(view::contiguous(t.detach()));
  return out;
}

void bump_all(std::initializer_list<const Tensors*> lists) {
  for (const Tensors* list : lists)
    for (const Tensor& t : *list) t.bump_version();
}

}  // namespace

constinit KernelSlot<void(const Tensors&, const Tensors&, const Tensors&, const SgdUpdate&)>
    kernel::sgd_update{"sgd_update"};
constinit KernelSlot<void(const Tensors&, const Tensors&, const Tensors&, const Tensors&,
                          const Tensors&, const AdamUpdate&)>
    kernel::adam_update{"adam_update"};
constinit KernelSlot<void(const Tensors&, const Tensors&, const Tensors&, const Tensors&,
                          const Tensors&, const RmspropUpdate&)>
    kernel::rmsprop_update{"rmsprop_update"};
TESSERA_KERNEL(sgd_update, cpu, sgd_cpu);
TESSERA_KERNEL(adam_update, cpu, adam_cpu);
TESSERA_KERNEL(rmsprop_update, cpu, rmsprop_cpu);

void sgd_update_(const Tensors& p, const Tensors& g, const Tensors& velocities,
                 const SgdUpdate& update) {
  if (p.empty()) return;
  const Tensors grads = contiguous_all(g);
  check_lists("sgd", p, {&grads}, {&velocities});
  kernel::sgd_update(p[0].device(), p, grads, velocities, update);
  bump_all({&p, &velocities});
}

void adam_update_(const Tensors& p, const Tensors& g, const Tensors& m, const Tensors& v,
                  const Tensors& v_max, const AdamUpdate& update) {
  if (p.empty()) return;
  const Tensors grads = contiguous_all(g);
  check_lists("adam", p, {&grads, &m, &v}, {&v_max});
  kernel::adam_update(p[0].device(), p, grads, m, v, v_max, update);
  bump_all({&p, &m, &v, &v_max});
}

void rmsprop_update_(const Tensors& p, const Tensors& g, const Tensors& s, const Tensors& a,
                     const Tensors& b, const RmspropUpdate& update) {
  if (p.empty()) return;
  const Tensors grads = contiguous_all(g);
  check_lists("rmsprop", p, {&grads, &s}, {&a, &b});
  kernel::rmsprop_update(p[0].device(), p, grads, s, a, b, update);
  bump_all({&p, &s, &a, &b});
}

}  // namespace tessera
