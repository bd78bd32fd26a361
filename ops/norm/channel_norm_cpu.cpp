#include "ops/norm/channel_norm_cpu.h"

namespace tessera {
namespace {

using namespace cpu;

// sum[i % width] += f(x[i]), four rows of `width` to a step: a quarter of the traffic on sum and a
// shallower addition tree.
template <bool kPrefetch, class T, class C, class F>
void add_rows(const T* __restrict__ x, int64_t count, int64_t width, C* __restrict__ sum,
              const F& f) {
  int64_t at = 0;
  for (; at + 4 * width <= count; at += 4 * width) {
    for_tiles(width, [=](int64_t first, int64_t n) {
      const T* __restrict__ p = x + at + first;
      if constexpr (kPrefetch)
        for (int64_t k = 0; k < 4; ++k) prefetch_ahead(n, p + k * width);
      for (int64_t i = 0; i < n; ++i) {
        const int64_t c = first + i;
        sum[c] += (f(static_cast<C>(p[i]), c) + f(static_cast<C>(p[i + width]), c)) +
                  (f(static_cast<C>(p[i + 2 * width]), c) + f(static_cast<C>(p[i + 3 * width]), c));
      }
    });
  }
  for (; at < count; at += width) {
    const T* __restrict__ p = x + at;
    for (int64_t c = 0; c < std::min(width, count - at); ++c) sum[c] += f(static_cast<C>(p[c]), c);
  }
}

// mean and m2 have room for rows_at_once(channels) rows.
template <class T, class C>
void block_moments(const T* x, int64_t rows, int64_t channels, C* __restrict__ mean, C* m2) {
  const int64_t width = rows_at_once(channels) * channels;
  std::fill(mean, mean + width, C(0));
  std::fill(m2, m2 + width, C(0));
  add_rows<true>(x, rows * channels, width, mean, [](C v, int64_t) { return v; });
  fold(mean, channels);
  const C scale = C(1) / static_cast<C>(rows);
  for (int64_t c = 0; c < channels; ++c) mean[c] *= scale;
  repeat(mean, channels);
  add_rows<false>(x, rows * channels, width, m2, [mean](C v, int64_t c) {
    const C d = v - mean[c];
    return d * d;
  });
  fold(m2, channels);
}

// Chan et al.'s combination of block means and squared deviations, in f64.
template <class C>
void combine_moments(const NormLayout& l, const Scratch<C>& means, const Scratch<C>& m2s, int64_t b,
                     C* mean, C* var) {
  const int64_t blocks = blocks_per_entry(l), rows = block_rows(l.channels);
  const double n = static_cast<double>(l.count());
  const auto channels = static_cast<size_t>(l.channels);
  std::vector<double> sum(channels), center(channels), m2(channels);
  for (int64_t k = 0; k < blocks; ++k) {
    const double size = static_cast<double>(std::min(rows, l.spatial - k * rows));
    const C* m = means.row(b * blocks + k);
    for (size_t c = 0; c < channels; ++c) sum[c] += size * static_cast<double>(m[c]);
  }
  const auto group = static_cast<size_t>(l.group);
  for (size_t c = 0; c < channels; c += group) {
    double total = 0;
    for (size_t k = c; k < c + group; ++k) total += sum[k];
    std::fill_n(center.begin() + static_cast<int64_t>(c), group, total / n);
  }
  for (int64_t k = 0; k < blocks; ++k) {
    const double size = static_cast<double>(std::min(rows, l.spatial - k * rows));
    const C *m = means.row(b * blocks + k), *s = m2s.row(b * blocks + k);
    for (size_t c = 0; c < channels; ++c) {
      const double d = static_cast<double>(m[c]) - center[c];
      m2[c] += static_cast<double>(s[c]) + size * d * d;
    }
  }
  for (size_t c = 0, g = 0; c < channels; c += group, ++g) {
    double total = 0;
    for (size_t k = c; k < c + group; ++k) total += m2[k];
    mean[g] = static_cast<C>(center[c]);
    var[g] = static_cast<C>(total / n);
  }
}

template <class T, class C>
void statistics(const T* x, const NormLayout& l, C* mean, C* var) {
  const int64_t blocks = l.batch * blocks_per_entry(l);
  const int64_t width = rows_at_once(l.channels) * l.channels;
  const Scratch<C> means(blocks, width), m2s(blocks, width);
  for_blocks(l, [&](int64_t b, int64_t first, int64_t rows, int64_t i) {
    block_moments(x + (b * l.spatial + first) * l.channels, rows, l.channels, means.row(i),
                  m2s.row(i));
  });
  parallel_for(0, l.batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      combine_moments(l, means, m2s, b, mean + b * l.groups(), var + b * l.groups());
  });
}

// y = f((x - shift) * scale + offset + residual) for n elements. A function of its own, so
// that the compiler believes in __restrict__.
template <bool kResidual, class Formula, class T, class C>
[[gnu::noinline]] void normalize_tile(const T* __restrict__ x, const T* __restrict__ residual,
                                      const C* __restrict__ shift, const C* __restrict__ scale,
                                      const C* __restrict__ offset, math::Args<C> args, int64_t n,
                                      T* __restrict__ y) {
  for (int64_t c = 0; c < n; ++c) {
    C v = (static_cast<C>(x[c]) - shift[c]) * scale[c] + offset[c];
    if constexpr (kResidual) v += static_cast<C>(residual[c]);
    y[c] = static_cast<T>(Formula::value(v, args));
  }
}

template <bool kResidual, class Formula, class T, class C>
void normalize_rows(const T* x, const T* residual, const NormLayout& l, const Scratch<C>& shifts,
                    const Scratch<C>& scales, const Scratch<C>& offsets, math::Args<C> args, T* y) {
  for_rows_from_the_end(l, [&](int64_t b, int64_t r, int64_t rows) {
    for_tiles(rows * l.channels, [&](int64_t c, int64_t n) {
      const int64_t at = r * l.channels + c;
      const T* more = kResidual ? residual + at : nullptr;
      if constexpr (kResidual)
        prefetch_ahead(n, x + at, more);
      else
        prefetch_ahead(n, x + at);
      normalize_tile<kResidual, Formula>(x + at, more, shifts.row(b) + c, scales.row(b) + c,
                                         offsets.row(b) + c, args, n, y + at);
    });
  });
}

// One coefficient of each kind per batch entry and channel.
template <class T, class C>
void normalize(const T* x, const NormEpilogue& epilogue, const NormLayout& l,
               const Affine<C>& affine, double eps, const C* mean, const C* var, T* y) {
  const int64_t width = rows_at_once(l.channels) * l.channels;
  const Scratch<C> shifts(l.batch, width), scales(l.batch, width), offsets(l.batch, width);
  for (int64_t b = 0; b < l.batch; ++b) {
    for (int64_t c = 0; c < l.channels; ++c) {
      const int64_t g = b * l.groups() + c / l.group;
      shifts.row(b)[c] = mean[g];
      scales.row(b)[c] = inverse_deviation(var[g], eps) * affine.w(c);
      offsets.row(b)[c] = affine.b(c);
    }
    for (C* row : {shifts.row(b), scales.row(b), offsets.row(b)}) repeat(row, l.channels);
  }
  with_formula<C>(epilogue.activation, [&]<class Formula>(Formula, math::Args<C> args) {
    if (epilogue.residual.defined())
      normalize_rows<true, Formula>(x, epilogue.residual.data<T>(), l, shifts, scales, offsets,
                                    args, y);
    else
      normalize_rows<false, Formula>(x, x, l, shifts, scales, offsets, args, y);
  });
}

template <class T, class C>
void layer_norm_rows(const T* x, const NormLayout& l, const Affine<C>& affine, double eps, C* mean,
                     C* var, T* y) {
  const int64_t n = l.channels;
  parallel_for(0, l.batch, row_grain(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* __restrict__ p = x + r * n;
      T* __restrict__ to = y + r * n;
      const C m =
          lane_sum<C>(n, [p](int64_t i) { return static_cast<C>(p[i]); }) / static_cast<C>(n);
      const C v = lane_sum<C>(n,
                              [p, m](int64_t i) {
                                const C d = static_cast<C>(p[i]) - m;
                                return d * d;
                              }) /
                  static_cast<C>(n);
      const C scale = inverse_deviation(v, eps);
      mean[r] = m;
      var[r] = v;
      if (affine.weight && affine.bias) {
        const C* __restrict__ w = affine.weight;
        const C* __restrict__ b = affine.bias;
        for (int64_t i = 0; i < n; ++i)
          to[i] = static_cast<T>((static_cast<C>(p[i]) - m) * scale * w[i] + b[i]);
      } else {
        for (int64_t i = 0; i < n; ++i)
          to[i] = static_cast<T>((static_cast<C>(p[i]) - m) * scale * affine.w(i) + affine.b(i));
      }
    }
  });
}

void channel_norm_cpu(const Tensor& x, const NormLayout& l, const Tensor& weight,
                      const Tensor& bias, double eps, bool given, const NormEpilogue& epilogue,
                      Tensor& mean, Tensor& var, Tensor& y) {
  if (x.numel() == 0) return;
  const bool plain = !epilogue.residual.defined() && epilogue.activation == Activation::none;
  dispatch_floating(x.dtype(), "channel_norm", [&]<class T>() {
    using C = compute_t<T>;
    const Affine<C> affine(weight, bias);
    const T* from = x.data<T>();
    if (!given && plain && is_layer_norm(l))
      return layer_norm_rows(from, l, affine, eps, mean.data<C>(), var.data<C>(), y.data<T>());
    if (!given) statistics(from, l, mean.data<C>(), var.data<C>());
    normalize(from, epilogue, l, affine, eps, mean.data<C>(), var.data<C>(), y.data<T>());
  });
}

}  // namespace

TESSERA_KERNEL(channel_norm, cpu, channel_norm_cpu);

}  // namespace tessera
