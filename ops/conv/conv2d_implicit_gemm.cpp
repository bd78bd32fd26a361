#include <vector>

#include "ops/conv/conv2d_cpu.h"
#include "ops/cpu/blocked_gemm.h"
#include "tensor/tensor.h"

namespace tessera::conv::implicit_gemm {
namespace {

// Elements [k, k + depth) of a row of the unfolded image, whose elements are (kh, kw, channel).
// pixel(tap) points at the channels of one filter tap, or is null outside the image.
template <class T, class Pixel>
void unfold(int64_t channels, int64_t k, int64_t depth, const Pixel& pixel, T* dst) {
  int64_t tap = k / channels, first = k % channels;
  while (depth > 0) {
    const int64_t count = std::min(channels - first, depth);
    const T* source = pixel(tap);
    if (source) {
      std::copy_n(source + first, count, dst);
    } else {
      std::fill_n(dst, count, T(0));
    }
    dst += count;
    depth -= count;
    first = 0;
    ++tap;
  }
}

// Part of row p (an output pixel) of the unfolded input: what the filter sees there.
template <class T>
void unfold_input(const ConvShape& s, const T* x, int64_t group, int64_t p, int64_t k,
                  int64_t depth, T* dst) {
  const int64_t n = p / (s.ho * s.wo);
  const int64_t h0 = p / s.wo % s.ho * s.sh - s.ph, w0 = p % s.wo * s.sw - s.pw;
  unfold(
      s.cg(), k, depth,
      [&](int64_t tap) -> const T* {
        const int64_t h = h0 + tap / s.kw * s.dh, w = w0 + tap % s.kw * s.dw;
        if (h < 0 || h >= s.h || w < 0 || w >= s.w) return nullptr;
        return x + ((n * s.h + h) * s.w + w) * s.c + group * s.cg();
      },
      dst);
}

// Part of row p (an input pixel) of the unfolded output gradient: what had seen that pixel.
template <class T>
void unfold_gradient(const ConvShape& s, const T* g, int64_t group, int64_t p, int64_t k,
                     int64_t depth, T* dst) {
  const int64_t n = p / (s.h * s.w), h = p / s.w % s.h, w = p % s.w;
  unfold(
      s.og(), k, depth,
      [&](int64_t tap) -> const T* {
        const int64_t hs = h + s.ph - tap / s.kw * s.dh, ws = w + s.pw - tap % s.kw * s.dw;
        if (hs < 0 || ws < 0 || hs % s.sh != 0 || ws % s.sw != 0) return nullptr;
        const int64_t ho = hs / s.sh, wo = ws / s.sw;
        if (ho >= s.ho || wo >= s.wo) return nullptr;
        return g + ((n * s.ho + ho) * s.wo + wo) * s.o + group * s.og();
      },
      dst);
}

template <class T>
void copy_rows(const T* source, int64_t stride, int64_t rows, int64_t cols, T* dst, int64_t ld) {
  for (int64_t r = 0; r < rows; ++r) std::copy_n(source + r * stride, cols, dst + r * ld);
}

}  // namespace

// y (pixels, O) = unfolded x (pixels, KH KW C) * w^T
template <class T>
void forward(const ConvShape& s, const T* x, const T* w, const T* bias, T* y) {
  const int64_t og = s.og(), depth_all = s.kh * s.kw * s.cg();
  const Tensor transposed = empty({s.groups, depth_all, og}, dtype_of<T>());
  T* wt = transposed.data<T>();
  parallel_for(0, s.groups * depth_all, 256, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t group = r / depth_all, k = r % depth_all;
      for (int64_t o = 0; o < og; ++o) wt[r * og + o] = w[(group * og + o) * depth_all + k];
    }
  });
  cpu::blocked_gemm<T>(
      s.groups, s.n * s.ho * s.wo, og, depth_all,
      [&](int64_t group, int64_t m, int64_t rows, int64_t k, int64_t depth, T* dst, int64_t ld) {
        for (int64_t r = 0; r < rows; ++r) unfold_input(s, x, group, m + r, k, depth, dst + r * ld);
      },
      [&](int64_t group, int64_t k, int64_t depth, int64_t n, int64_t cols, T* dst, int64_t ld) {
        copy_rows(wt + (group * depth_all + k) * og + n, og, depth, cols, dst, ld);
      },
      [&](int64_t group, int64_t m, int64_t rows, int64_t n, int64_t cols, const T* c, int64_t ld) {
        const T* b = bias ? bias + group * og + n : nullptr;
        for (int64_t r = 0; r < rows; ++r) {
          T* out = y + (m + r) * s.o + group * og + n;
          for (int64_t i = 0; i < cols; ++i) out[i] = c[r * ld + i] + (b ? b[i] : T(0));
        }
      });
}

// gx (pixels, C) = unfolded g (pixels, KH KW O) * w, its filters reordered to (KH KW O, C)
template <class T>
void input_grad(const ConvShape& s, const T* g, const T* w, T* gx) {
  const int64_t cg = s.cg(), og = s.og(), taps = s.kh * s.kw;
  cpu::blocked_gemm<T>(
      s.groups, s.n * s.h * s.w, cg, taps * og,
      [&](int64_t group, int64_t m, int64_t rows, int64_t k, int64_t depth, T* dst, int64_t ld) {
        for (int64_t r = 0; r < rows; ++r)
          unfold_gradient(s, g, group, m + r, k, depth, dst + r * ld);
      },
      [&](int64_t group, int64_t k, int64_t depth, int64_t n, int64_t cols, T* dst, int64_t ld) {
        for (int64_t d = 0; d < depth; ++d) {
          const int64_t tap = (k + d) / og, o = group * og + (k + d) % og;
          std::copy_n(w + (o * taps + tap) * cg + n, cols, dst + d * ld);
        }
      },
      [&](int64_t group, int64_t m, int64_t rows, int64_t n, int64_t cols, const T* c, int64_t ld) {
        copy_rows(c, ld, rows, cols, gx + m * s.c + group * cg + n, s.c);
      });
}

// gw (O, KH KW C) = g^T (O, pixels) * unfolded x (pixels, KH KW C)
template <class T>
void weight_grad(const ConvShape& s, const T* g, const T* x, T* gw) {
  const int64_t og = s.og(), width = s.kh * s.kw * s.cg();
  cpu::blocked_gemm<T>(
      s.groups, og, width, s.n * s.ho * s.wo,
      [&](int64_t group, int64_t m, int64_t rows, int64_t k, int64_t depth, T* dst, int64_t ld) {
        for (int64_t d = 0; d < depth; ++d) {
          const T* source = g + (k + d) * s.o + group * og + m;
          for (int64_t r = 0; r < rows; ++r) dst[r * ld + d] = source[r];
        }
      },
      [&](int64_t group, int64_t k, int64_t depth, int64_t n, int64_t cols, T* dst, int64_t ld) {
        for (int64_t d = 0; d < depth; ++d) unfold_input(s, x, group, k + d, n, cols, dst + d * ld);
      },
      [&](int64_t group, int64_t m, int64_t rows, int64_t n, int64_t cols, const T* c, int64_t ld) {
        copy_rows(c, ld, rows, cols, gw + (group * og + m) * width + n, width);
      });
}

template void forward(const ConvShape&, const float*, const float*, const float*, float*);
template void forward(const ConvShape&, const double*, const double*, const double*, double*);
template void input_grad(const ConvShape&, const float*, const float*, float*);
template void input_grad(const ConvShape&, const double*, const double*, double*);
template void weight_grad(const ConvShape&, const float*, const float*, float*);
template void weight_grad(const ConvShape&, const double*, const double*, double*);

}  // namespace tessera::conv::implicit_gemm
