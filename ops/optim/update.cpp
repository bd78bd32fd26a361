#include "ops/optim/update.h"

#include <algorithm>
#include <cmath>

#include "autograd/node.h"
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
std::vector<T*> pointers(const Tensors& tensors, size_t count) {
  std::vector<T*> out(count, nullptr);
  for (size_t i = 0; i < tensors.size(); ++i) out[i] = tensors[i].data<T>();
  return out;
}

template <class T>
void sgd_typed(const Tensors& p, const Tensors& g, const Tensors& velocity, const SgdUpdate& u) {
  const auto ps = pointers<T>(p, p.size()), gs = pointers<T>(g, p.size()),
             vs = pointers<T>(velocity, p.size());
  const T lr = static_cast<T>(u.lr), momentum = static_cast<T>(u.momentum),
          decay = static_cast<T>(u.weight_decay), take = static_cast<T>(1 - u.dampening);
  const bool has_velocity = !velocity.empty(), nesterov = u.nesterov, first = u.first;
  for_each_element(p, [&](size_t k, int64_t begin, int64_t end) {
    T* __restrict__ x = ps[k];
    const T* __restrict__ grad = gs[k];
    T* __restrict__ v = vs[k];
    if (!has_velocity) {
      for (int64_t i = begin; i < end; ++i) x[i] -= lr * (grad[i] + decay * x[i]);
      return;
    }
    for (int64_t i = begin; i < end; ++i) {
      const T d = grad[i] + decay * x[i];
      const T next = first ? d : momentum * v[i] + take * d;
      v[i] = next;
      x[i] -= lr * (nesterov ? d + momentum * next : next);
    }
  });
}

template <class T>
void adam_typed(const Tensors& p, const Tensors& g, const Tensors& m, const Tensors& v,
                const Tensors& v_max, const AdamUpdate& u) {
  const auto ps = pointers<T>(p, p.size()), gs = pointers<T>(g, p.size()),
             ms = pointers<T>(m, p.size()), vs = pointers<T>(v, p.size()),
             tops = pointers<T>(v_max, p.size());
  const auto step = static_cast<double>(u.step);
  const T rate = static_cast<T>(u.lr / (1 - std::pow(u.beta1, step)));
  const T root = static_cast<T>(std::sqrt(1 - std::pow(u.beta2, step)));
  const T keep = static_cast<T>(1 - u.beta1), beta2 = static_cast<T>(u.beta2),
          rest = static_cast<T>(1 - u.beta2), eps = static_cast<T>(u.eps);
  const T shrink = static_cast<T>(u.decoupled ? 1 - u.lr * u.weight_decay : 1.0);
  const T decay = static_cast<T>(u.decoupled ? 0.0 : u.weight_decay);
  const bool amsgrad = !v_max.empty();
  for_each_element(p, [&](size_t k, int64_t begin, int64_t end) {
    T* __restrict__ x = ps[k];
    T* __restrict__ first = ms[k];
    T* __restrict__ second = vs[k];
    T* __restrict__ top = tops[k];
    const T* __restrict__ grad = gs[k];
    for (int64_t i = begin; i < end; ++i) {
      const T w = x[i] * shrink;
      const T d = grad[i] + decay * w;
      const T mean = first[i] + keep * (d - first[i]);
      const T square = beta2 * second[i] + rest * d * d;
      first[i] = mean;
      second[i] = square;
      T used = square;
      if (amsgrad) used = top[i] = std::max(top[i], square);
      x[i] = w - rate * mean / (std::sqrt(used) / root + eps);
    }
  });
}

template <class T>
void rmsprop_typed(const Tensors& p, const Tensors& g, const Tensors& s, const Tensors& a,
                   const Tensors& b, const RmspropUpdate& u) {
  const auto ps = pointers<T>(p, p.size()), gs = pointers<T>(g, p.size()),
             ss = pointers<T>(s, p.size()), as = pointers<T>(a, p.size()),
             bs = pointers<T>(b, p.size());
  const T lr = static_cast<T>(u.lr), alpha = static_cast<T>(u.alpha),
          rest = static_cast<T>(1 - u.alpha), eps = static_cast<T>(u.eps),
          decay = static_cast<T>(u.weight_decay), momentum = static_cast<T>(u.momentum);
  const bool centered = !a.empty(), has_momentum = !b.empty();
  for_each_element(p, [&](size_t k, int64_t begin, int64_t end) {
    T* __restrict__ x = ps[k];
    const T* __restrict__ grad = gs[k];
    T* __restrict__ square = ss[k];
    T* __restrict__ mean = as[k];
    T* __restrict__ buffer = bs[k];
    for (int64_t i = begin; i < end; ++i) {
      const T d = grad[i] + decay * x[i];
      T second = square[i] = alpha * square[i] + rest * d * d;
      if (centered) {
        mean[i] += rest * (d - mean[i]);
        second -= mean[i] * mean[i];
      }
      const T update = d / (std::sqrt(second) + eps);
      if (has_momentum)
        x[i] -= lr * (buffer[i] = momentum * buffer[i] + update);
      else
        x[i] -= lr * update;
    }
  });
}

void sgd_cpu(const Tensors& p, const Tensors& g, const Tensors& velocity, const SgdUpdate& u) {
  dispatch_float(p[0].dtype(), "sgd", [&]<class T>() { sgd_typed<T>(p, g, velocity, u); });
}
void adam_cpu(const Tensors& p, const Tensors& g, const Tensors& m, const Tensors& v,
              const Tensors& v_max, const AdamUpdate& u) {
  dispatch_float(p[0].dtype(), "adam", [&]<class T>() { adam_typed<T>(p, g, m, v, v_max, u); });
}
void rmsprop_cpu(const Tensors& p, const Tensors& g, const Tensors& s, const Tensors& a,
                 const Tensors& b, const RmspropUpdate& u) {
  dispatch_float(p[0].dtype(), "rmsprop", [&]<class T>() { rmsprop_typed<T>(p, g, s, a, b, u); });
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
