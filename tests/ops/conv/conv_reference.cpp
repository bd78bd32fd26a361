#include "tests/ops/conv/conv_reference.h"

namespace tessera::testing {
namespace {

// Row-major index of (a, b, c, d).
size_t at(const Shape& s, int64_t a, int64_t b, int64_t c, int64_t d) {
  return static_cast<size_t>(((a * s[1] + b) * s[2] + c) * s[3] + d);
}

}  // namespace

void for_each_product(const Shape& x, const Shape& w, const Shape& y, const Conv2dOptions& o,
                      const std::function<void(size_t, size_t, size_t)>& fn) {
  for (int64_t n = 0; n < y[0]; ++n)
    for (int64_t ho = 0; ho < y[1]; ++ho)
      for (int64_t wo = 0; wo < y[2]; ++wo)
        for (int64_t f = 0; f < y[3]; ++f)
          for (int64_t kh = 0; kh < w[1]; ++kh)
            for (int64_t kw = 0; kw < w[2]; ++kw)
              for (int64_t i = 0; i < w[3]; ++i) {
                const int64_t h = ho * o.stride.h + kh * o.dilation.h - o.padding.h;
                const int64_t v = wo * o.stride.w + kw * o.dilation.w - o.padding.w;
                if (h < 0 || h >= x[1] || v < 0 || v >= x[2]) continue;
                const int64_t group = f / (w[0] / o.groups);
                fn(at(y, n, ho, wo, f), at(x, n, h, v, group * w[3] + i), at(w, f, kh, kw, i));
              }
}

Shape conv_output_shape(const Shape& x, const Shape& w, const Conv2dOptions& o) {
  const auto windows = [](int64_t size, int64_t k, int64_t stride, int64_t padding,
                          int64_t dilation) {
    int64_t count = 0;
    for (int64_t first = -padding; first + (k - 1) * dilation < size + padding; first += stride)
      ++count;
    return count;
  };
  return {x[0], windows(x[1], w[1], o.stride.h, o.padding.h, o.dilation.h),
          windows(x[2], w[2], o.stride.w, o.padding.w, o.dilation.w), w[0]};
}

Tensor reference_conv2d(const Tensor& x, const Tensor& w, const Tensor& bias,
                        const Conv2dOptions& options) {
  const Shape shape = conv_output_shape(x.shape(), w.shape(), options);
  const std::vector<double> a = x.to_vector<double>(), b = w.to_vector<double>();
  std::vector<double> y(static_cast<size_t>(numel(shape)));
  if (bias.defined()) {
    const std::vector<double> c = bias.to_vector<double>();
    for (size_t i = 0; i < y.size(); ++i) y[i] = c[i % c.size()];
  }
  for_each_product(x.shape(), w.shape(), shape, options,
                   [&](size_t yi, size_t xi, size_t wi) { y[yi] += a[xi] * b[wi]; });
  return from_vector(y, shape);
}

Tensor reference_input_grad(const Tensor& g, const Tensor& w, const Shape& input_shape,
                            const Conv2dOptions& options) {
  const std::vector<double> a = g.to_vector<double>(), b = w.to_vector<double>();
  std::vector<double> gx(static_cast<size_t>(numel(input_shape)));
  for_each_product(input_shape, w.shape(), g.shape(), options,
                   [&](size_t yi, size_t xi, size_t wi) { gx[xi] += a[yi] * b[wi]; });
  return from_vector(gx, input_shape);
}

Tensor reference_weight_grad(const Tensor& g, const Tensor& x, const Shape& weight_shape,
                             const Conv2dOptions& options) {
  const std::vector<double> a = g.to_vector<double>(), b = x.to_vector<double>();
  std::vector<double> gw(static_cast<size_t>(numel(weight_shape)));
  for_each_product(x.shape(), weight_shape, g.shape(), options,
                   [&](size_t yi, size_t xi, size_t wi) { gw[wi] += a[yi] * b[xi]; });
  return from_vector(gw, weight_shape);
}

int64_t conv_flops(const Shape& w, const Shape& y) { return 2 * numel(y) * w[1] * w[2] * w[3]; }

}  // namespace tessera::testing
