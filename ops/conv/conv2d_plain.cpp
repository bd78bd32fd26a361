#include <algorithm>

#include "ops/conv/conv2d_cpu.h"
#include "tensor/parallel.h"

namespace tessera::conv {
namespace plain {
namespace {

// Calls fn(x, w) for the taps of filter o that lie inside the image at output pixel p (of all
// images): where their cg() neighbouring channels start in the input and in the filters.
template <class Fn>
void for_each_tap(const ConvShape& s, int64_t p, int64_t o, const Fn& fn) {
  const int64_t n = p / (s.ho * s.wo), ho = p / s.wo % s.ho, wo = p % s.wo;
  for (int64_t kh = 0; kh < s.kh; ++kh) {
    const int64_t h = ho * s.sh - s.ph + kh * s.dh;
    if (h < 0 || h >= s.h) continue;
    for (int64_t kw = 0; kw < s.kw; ++kw) {
      const int64_t v = wo * s.sw - s.pw + kw * s.dw;
      if (v < 0 || v >= s.w) continue;
      fn(((n * s.h + h) * s.w + v) * s.c + o / s.og() * s.cg(),
         ((o * s.kh + kh) * s.kw + kw) * s.cg());
    }
  }
}

}  // namespace

template <class T>
void forward(const ConvShape& s, const T* x, const T* w, const T* bias, T* y) {
  const int64_t cg = s.cg();
  parallel_for(0, s.n * s.ho * s.wo, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      for (int64_t o = 0; o < s.o; ++o) {
        T sum = bias ? bias[o] : T(0);
        for_each_tap(s, p, o, [&](int64_t xi, int64_t wi) {
          for (int64_t i = 0; i < cg; ++i) sum += x[xi + i] * w[wi + i];
        });
        y[p * s.o + o] = sum;
      }
    }
  });
}

// Scatters each output gradient; images are independent, so they are what runs in parallel.
template <class T>
void input_grad(const ConvShape& s, const T* g, const T* w, T* gx) {
  const int64_t cg = s.cg();
  std::fill_n(gx, s.n * s.h * s.w * s.c, T(0));
  parallel_for(0, s.n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin * s.ho * s.wo; p < end * s.ho * s.wo; ++p) {
      for (int64_t o = 0; o < s.o; ++o) {
        const T gy = g[p * s.o + o];
        for_each_tap(s, p, o, [&](int64_t xi, int64_t wi) {
          for (int64_t i = 0; i < cg; ++i) gx[xi + i] += gy * w[wi + i];
        });
      }
    }
  });
}

template <class T>
void weight_grad(const ConvShape& s, const T* g, const T* x, T* gw) {
  const int64_t cg = s.cg();
  parallel_for(0, s.o, 1, [&](int64_t begin, int64_t end) {
    std::fill(gw + begin * s.kh * s.kw * cg, gw + end * s.kh * s.kw * cg, T(0));
    for (int64_t o = begin; o < end; ++o) {
      for (int64_t p = 0; p < s.n * s.ho * s.wo; ++p) {
        const T gy = g[p * s.o + o];
        for_each_tap(s, p, o, [&](int64_t xi, int64_t wi) {
          for (int64_t i = 0; i < cg; ++i) gw[wi + i] += gy * x[xi + i];
        });
      }
    }
  });
}

template void forward(const ConvShape&, const float*, const float*, const float*, float*);
template void forward(const ConvShape&, const double*, const double*, const double*, double*);
template void input_grad(const ConvShape&, const float*, const float*, float*);
template void input_grad(const ConvShape&, const double*, const double*, double*);
template void weight_grad(const ConvShape&, const float*, const float*, float*);
template void weight_grad(const ConvShape&, const double*, const double*, double*);

}  // namespace plain
}  // namespace tessera::conv
