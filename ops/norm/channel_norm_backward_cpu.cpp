#include <type_traits>

#include "ops/norm/channel_norm_cpu.h"

namespace tessera {
namespace {

using namespace cpu;

// h is g after the activation, whose result is y; without one, y is not read. Both treat n
// elements; functions of their own, so that the compiler believes in __restrict__.
//
// Adds h and h (x - shift) to s1 and s2. Writes h to `masked` where kStore.
template <bool kStore, class Formula, class T, class C>
[[gnu::noinline]] void add_products(const T* __restrict__ g, const T* __restrict__ x,
                                    const T* __restrict__ y, const C* __restrict__ shift,
                                    math::Args<C> args, int64_t n, C* __restrict__ s1,
                                    C* __restrict__ s2, T* __restrict__ masked) {
  for (int64_t c = 0; c < n; ++c) {
    const C h = Formula::grad(static_cast<C>(g[c]), static_cast<C>(y[c]), args);
    if constexpr (kStore) masked[c] = static_cast<T>(h);
    s1[c] += h;
    s2[c] += h * (static_cast<C>(x[c]) - shift[c]);
  }
}

// gx = a h + p (x - shift) + q, see combine_products. kCentred is false when p = q = 0.
template <bool kCentred, class Formula, class T, class C>
[[gnu::noinline]] void add_terms(const T* __restrict__ g, const T* __restrict__ x,
                                 const T* __restrict__ y, const C* __restrict__ a,
                                 const C* __restrict__ p, const C* __restrict__ q,
                                 const C* __restrict__ shift, math::Args<C> args, int64_t n,
                                 T* __restrict__ gx) {
  for (int64_t c = 0; c < n; ++c) {
    const C h = Formula::grad(static_cast<C>(g[c]), static_cast<C>(y[c]), args);
    if constexpr (kCentred)
      gx[c] = static_cast<T>(a[c] * h + (p[c] * (static_cast<C>(x[c]) - shift[c]) + q[c]));
    else
      gx[c] = static_cast<T>(a[c] * h);
  }
}

template <bool kX, class Formula, class T>
[[gnu::always_inline]] inline void prefetch_operands(int64_t n, const T* g, const T* x,
                                                     const T* y) {
  prefetch_ahead(n, g);
  if constexpr (kX) prefetch_ahead(n, x);
  if constexpr (!std::is_same_v<Formula, Identity>) prefetch_ahead(n, y);
}

template <bool kCentred, class Formula, class T, class C>
void input_gradient(const T* g, const T* x, const T* y, const NormLayout& l,
                    const Scratch<C>& coefficients, math::Args<C> args, T* gx) {
  const int64_t width = rows_at_once(l.channels) * l.channels;
  for_rows_from_the_end(l, [&](int64_t b, int64_t r, int64_t rows) {
    for_tiles(rows * l.channels, [&](int64_t c, int64_t n) {
      const int64_t at = r * l.channels + c;
      prefetch_operands<kCentred, Formula>(n, g + at, x + at, y + at);
      const C* k = coefficients.row(4 * b) + c;
      add_terms<kCentred, Formula>(g + at, x + at, y + at, k, k + width, k + 2 * width,
                                   k + 3 * width, args, n, gx + at);
    });
  });
}

template <class Formula, class T, class C>
void mask_rows(const T* g_, const T* y_, const NormLayout& l, math::Args<C> args, T* out_) {
  parallel_for(0, l.batch * l.spatial * l.channels, 16384, [&](int64_t begin, int64_t end) {
    const T* __restrict__ g = g_;
    const T* __restrict__ y = y_;
    T* __restrict__ out = out_;
    for (int64_t i = begin; i < end; ++i)
      out[i] = static_cast<T>(Formula::grad(static_cast<C>(g[i]), static_cast<C>(y[i]), args));
  });
}

template <class T>
class Backward {
  using C = compute_t<T>;

 public:
  // y is looked at by the formulas of an activation only; without one it may be any tensor.
  Backward(const Tensor& g, const Tensor& x, const Tensor& y, const NormLayout& l,
           const Tensor& weight, double eps, bool given, const Tensor& mean, const Tensor& var)
      : g_(g.data<T>()),
        x_(x.data<T>()),
        y_(y.data<T>()),
        l_(l),
        affine_(weight, Tensor()),
        given_(given),
        mean_(mean.data<C>()),
        coefficients_(4 * l.batch, rows_at_once(l.channels) * l.channels) {
    for (int64_t i = 0; i < l.batch * l.groups(); ++i)
      rstd_.push_back(inverse_deviation(var.data<C>()[i], eps));
    for (int64_t b = 0; b < l.batch; ++b) {
      for (int64_t c = 0; c < l.channels; ++c) {
        const int64_t i = b * l.groups() + c / l.group;
        coefficients_.row(4 * b)[c] = rstd_[static_cast<size_t>(i)] * affine_.w(c);
        coefficients_.row(4 * b + 3)[c] = mean_[i];
      }
      repeat(coefficients_.row(4 * b), l.channels);
      repeat(coefficients_.row(4 * b + 3), l.channels);
    }
  }

  void run(Activation activation, NormGradients& out) {
    const bool centred = !given_ && out.x.defined(), sums = centred || out.weight.defined();
    T* masked = out.residual.defined() ? out.residual.data<T>() : nullptr;
    with_formula<C>(activation, [&]<class Formula>(Formula, math::Args<C> args) {
      if (sums)
        write_weights(
            masked ? reduce<true, Formula>(args, masked) : reduce<false, Formula>(args, nullptr),
            out);
      else if (masked)
        mask_rows<Formula>(g_, y_, l_, args, masked);
    });
    if (!out.x.defined()) return;
    if (masked) {
      g_ = masked;
      activation = Activation::none;
    }
    with_formula<C>(activation, [&]<class Formula>(Formula, math::Args<C> args) {
      const auto pass =
          centred ? input_gradient<true, Formula, T, C> : input_gradient<false, Formula, T, C>;
      pass(g_, x_, y_, l_, coefficients_, args, out.x.data<T>());
    });
  }

 private:
  void write_weights(const std::vector<double>& sums, NormGradients& out) const {
    if (!out.weight.defined()) return;
    C *gw = out.weight.data<C>(), *gb = out.bias.data<C>();
    for (int64_t c = 0; c < l_.channels; ++c) {
      gw[c] = static_cast<C>(sums[static_cast<size_t>(c)]);
      gb[c] = static_cast<C>(sums[static_cast<size_t>(l_.channels + c)]);
    }
  }

  // Completes the coefficients; returns the gradients of weight and bias, one after the other.
  template <bool kStore, class Formula>
  std::vector<double> reduce(math::Args<C> args, T* masked) {
    const int64_t blocks = blocks_per_entry(l_), channels = l_.channels;
    const int64_t width = rows_at_once(channels) * channels;
    const Scratch<C> s1(l_.batch * blocks, width), s2(l_.batch * blocks, width);
    for_blocks(l_, [&](int64_t b, int64_t first, int64_t rows, int64_t i) {
      C *u = s1.row(i), *v = s2.row(i);
      const C* shift = coefficients_.row(4 * b + 3);
      std::fill_n(u, width, C(0));
      std::fill_n(v, width, C(0));
      const int64_t begin = (b * l_.spatial + first) * channels, end = begin + rows * channels;
      for (int64_t row = begin; row < end; row += width) {
        for_tiles(std::min(width, end - row), [&](int64_t c, int64_t n) {
          const int64_t at = row + c;
          prefetch_operands<true, Formula>(n, g_ + at, x_ + at, y_ + at);
          add_products<kStore, Formula>(g_ + at, x_ + at, y_ + at, shift + c, args, n, u + c, v + c,
                                        kStore ? masked + at : nullptr);
        });
      }
      fold(u, channels);
      fold(v, channels);
    });
    std::vector<double> weight_sums(static_cast<size_t>(2 * l_.channels));
    std::vector<double> sums(static_cast<size_t>(2 * l_.channels));
    for (int64_t b = 0; b < l_.batch; ++b) {
      std::fill(sums.begin(), sums.end(), 0.0);
      for (int64_t k = b * blocks; k < (b + 1) * blocks; ++k) {
        const C *p = s1.row(k), *q = s2.row(k);
        double *u = sums.data(), *v = sums.data() + l_.channels;
        for (int64_t c = 0; c < l_.channels; ++c) {
          u[c] += static_cast<double>(p[c]);
          v[c] += static_cast<double>(q[c]);
        }
      }
      combine_products(b, sums, weight_sums);
    }
    return weight_sums;
  }

  // With S1 = sum g, S2 = sum g (x - mean) per channel, A = sum over the group of weight * S,
  // n elements per group and r = 1 / sqrt(var + eps):
  //   gx = r weight g - r^3 A2 / n (x - mean) - r A1 / n,   gw = r S2,   gb = S1.
  void combine_products(int64_t b, const std::vector<double>& sums,
                        std::vector<double>& weight_sums) {
    const double n = static_cast<double>(l_.count());
    for (int64_t first = 0; first < l_.channels; first += l_.group) {
      const double r =
          static_cast<double>(rstd_[static_cast<size_t>(b * l_.groups() + first / l_.group)]);
      double a1 = 0, a2 = 0;
      for (int64_t c = first; c < first + l_.group; ++c) {
        const double s1 = sums[static_cast<size_t>(c)];
        const double s2 = sums[static_cast<size_t>(l_.channels + c)];
        a1 += static_cast<double>(affine_.w(c)) * s1;
        a2 += static_cast<double>(affine_.w(c)) * s2;
        weight_sums[static_cast<size_t>(c)] += r * s2;
        weight_sums[static_cast<size_t>(l_.channels + c)] += s1;
      }
      const int64_t row = 4 * b;
      std::fill_n(coefficients_.row(row + 1) + first, l_.group,
                  static_cast<C>(-r * r * r * a2 / n));
      std::fill_n(coefficients_.row(row + 2) + first, l_.group, static_cast<C>(-r * a1 / n));
    }
    repeat(coefficients_.row(4 * b + 1), l_.channels);
    repeat(coefficients_.row(4 * b + 2), l_.channels);
  }

  const T *g_, *x_, *y_;
  NormLayout l_;
  Affine<C> affine_;
  bool given_;
  const C* mean_;
  std::vector<C> rstd_;
  Scratch<C> coefficients_;  // per batch entry: a, p, q, shift
};

// One block of rows per task: gx row by row, gw and gb summed per block and combined in f64.
template <class T>
void layer_norm_backward(const Tensor& g_, const Tensor& x_, const NormLayout& l,
                         const Tensor& weight, double eps, const Tensor& mean, const Tensor& var,
                         Tensor& gx_, Tensor& gw_, Tensor& gb_) {
  using C = compute_t<T>;
  const int64_t n = l.channels;
  const NormLayout rows_as_space{1, l.batch, n, n};
  const Affine<C> affine(weight, Tensor());
  const std::vector<C> unit(affine.weight ? 0 : static_cast<size_t>(n), C(1));
  const C* __restrict__ w = affine.weight ? affine.weight : unit.data();
  const int64_t blocks = gw_.defined() ? blocks_per_entry(rows_as_space) : 0;
  const Scratch<C> weights(blocks, n), biases(blocks, n);
  for_blocks(rows_as_space, [&](int64_t, int64_t first, int64_t rows, int64_t i) {
    if (gw_.defined()) {
      std::fill_n(weights.row(i), n, C(0));
      std::fill_n(biases.row(i), n, C(0));
    }
    for (int64_t r = first; r < first + rows; ++r) {
      const T* __restrict__ g = g_.data<T>() + r * n;
      const T* __restrict__ x = x_.data<T>() + r * n;
      const C m = mean.data<C>()[r], scale = inverse_deviation(var.data<C>()[r], eps);
      if (gx_.defined()) {
        T* __restrict__ gx = gx_.data<T>() + r * n;
        const C inv = C(1) / static_cast<C>(n);
        const C a1 = inv * lane_sum<C>(n, [=](int64_t k) { return static_cast<C>(g[k]) * w[k]; });
        const C a2 = inv * scale * scale * lane_sum<C>(n, [=](int64_t k) {
                       return static_cast<C>(g[k]) * w[k] * (static_cast<C>(x[k]) - m);
                     });
        for (int64_t k = 0; k < n; ++k)
          gx[k] = static_cast<T>(
              scale * (static_cast<C>(g[k]) * w[k] - a1 - (static_cast<C>(x[k]) - m) * a2));
      }
      if (gw_.defined()) {
        C* __restrict__ sw = weights.row(i);
        C* __restrict__ sb = biases.row(i);
        for (int64_t k = 0; k < n; ++k) {
          sw[k] += static_cast<C>(g[k]) * (static_cast<C>(x[k]) - m) * scale;
          sb[k] += static_cast<C>(g[k]);
        }
      }
    }
  });
  if (!gw_.defined()) return;
  for (int64_t k = 0; k < n; ++k) {
    double sw = 0, sb = 0;
    for (int64_t i = 0; i < blocks; ++i) {
      sw += static_cast<double>(weights.row(i)[k]);
      sb += static_cast<double>(biases.row(i)[k]);
    }
    gw_.data<C>()[k] = static_cast<C>(sw);
    gb_.data<C>()[k] = static_cast<C>(sb);
  }
}

void channel_norm_backward_cpu(const Tensor& g, const Tensor& x, const Tensor& y,
                               const NormLayout& l, const Tensor& weight, double eps, bool given,
                               Activation activation, const Tensor& mean, const Tensor& var,
                               NormGradients& out) {
  if (x.numel() == 0) {
    if (out.weight.defined()) fill_(out.weight, 0), fill_(out.bias, 0);
    return;
  }
  const bool active = activation != Activation::none;
  dispatch_floating(x.dtype(), "channel_norm_backward", [&]<class T>() {
    if (!given && !active && is_layer_norm(l))
      return layer_norm_backward<T>(g, x, l, weight, eps, mean, var, out.x, out.weight, out.bias);
    Backward<T>(g, x, active ? y : x, l, weight, eps, given, mean, var).run(activation, out);
  });
}

}  // namespace

TESSERA_KERNEL(channel_norm_backward, cpu, channel_norm_backward_cpu);

}  // namespace tessera
