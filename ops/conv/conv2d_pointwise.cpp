// A 1 x 1 convolution is a product of pixels and filters: y (pixels, O) = x (pixels, C) * w^T. The
// filters are packed in panels of columns; a block of pixels, read where it lies, meets one panel
// after the other, and bias, residual and activation are applied to the sums in registers.
#include <algorithm>
#include <vector>

#include "ops/conv/conv2d_cpu.h"
#include "ops/cpu/packed_weights.h"
#include "ops/cpu/panel_gemm.h"
#include "tensor/parallel.h"

namespace tessera::conv::pointwise {
namespace {

using cpu::kPanelColumns;
using cpu::kPanelLanes;
using cpu::kPanelRows;
using cpu::Panel;
using cpu::PanelRegister;
using cpu::round_up;

constexpr int64_t kBlockFloats = int64_t{1} << 16;  // of pixels that stay in the second-level cache

// The product's sizes: a (rows, depth) * b (depth, columns).
struct Product {
  int64_t rows, depth, columns;

  int64_t panels() const { return Panel::count(columns); }
  size_t packed_bytes() const {
    return static_cast<size_t>(depth * round_up(columns, kPanelLanes)) * sizeof(float);
  }
};

// b's element (depth, column) lies at data[depth * depth_stride + column * column_stride], one of
// the strides being 1. Packed: panels one after the other, their rows padded to whole vectors.
struct Operand {
  const float* data;
  int64_t depth_stride, column_stride;
};

void pack(const Product& p, const Operand& b, float* packed) {
  constexpr int64_t kSide = 16;  // of the squares that are turned
  const int64_t steps = (p.depth + kSide - 1) / kSide;
  parallel_for(0, p.panels() * steps, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Panel panel = Panel::at(i / steps, p.columns);
      const int64_t first = panel.first, width = panel.width, stride = panel.stride();
      const int64_t d0 = i % steps * kSide, d1 = std::min(d0 + kSide, p.depth);
      float* to = packed + first * p.depth;
      if (b.column_stride == 1) {
        for (int64_t d = d0; d < d1; ++d)
          std::copy_n(b.data + d * b.depth_stride + first, width, to + d * stride);
      } else {
        for (int64_t c = 0; c < width; ++c)
          for (int64_t d = d0; d < d1; ++d)
            to[d * stride + c] = b.data[(first + c) * b.column_stride + d];
      }
      for (int64_t d = d0; width < stride && d < d1; ++d)
        std::fill(to + d * stride + width, to + (d + 1) * stride, 0.0f);
    }
  });
}

// Pointers to the first column of the panel; bias and residual may be null.
struct Output {
  float* y;
  const float *bias, *residual;
  Clamp<float> clamp;
};

// `count` rows of one panel. a is read to the end of the last kRows rows; rows that no panel has
// met yet are prefetched.
template <int Vectors>
void multiply(const cpu::PanelRowsView& a, int64_t count, const float* panel, int64_t depth,
              int64_t width, int64_t columns, bool new_rows, const Output& out) {
  constexpr int kRows = cpu::kPanelAccumulators / Vectors;
  constexpr int64_t kWidth = Vectors * kPanelLanes;
  for (int64_t first = 0; first < count; first += kRows) {
    const int64_t rows = std::min<int64_t>(kRows, count - first);
    // What the next rows need arrives while these are computed.
    const int64_t next = first + kRows, ahead = std::clamp<int64_t>(count - next, 0, kRows);
    if (out.residual)
      for (int64_t r = 0; r < ahead; ++r)
        for (int v = 0; v < Vectors; ++v)
          __builtin_prefetch(out.residual + (next + r) * columns + v * kPanelLanes);
    const float* const later = a.data + next * a.row_stride;
    // Inlined, since GCC drops calls of functions that only prefetch.
    const auto prefetch = [&](int64_t d) __attribute__((always_inline)) {
      if (new_rows)
        for (int64_t r = 0; r < ahead; ++r) __builtin_prefetch(later + r * a.row_stride + d);
    };
    const auto run = [&]<bool Whole>() {
      cpu::panel_block<kRows, Vectors>(
          {a.data + first * a.row_stride, a.row_stride, a.depth_stride}, panel, kWidth, depth,
          prefetch, [&](int r, int v, const PanelRegister& sums) {
            const int64_t column = v * kPanelLanes, at = (first + r) * columns + column;
            PanelRegister value = sums;
            if constexpr (Whole) {
              if (out.bias) value += cpu::load_lanes(out.bias + column);
              if (out.residual) value += cpu::load_lanes(out.residual + at);
              cpu::store_lanes(out.y + at, out.clamp(value));
            } else {
              if (r >= rows) return;
              const int64_t lanes = std::min<int64_t>(width - column, kPanelLanes);
              if (out.bias) value += cpu::load_lanes(out.bias + column, lanes);
              if (out.residual) value += cpu::load_lanes(out.residual + at, lanes);
              cpu::store_lanes(out.y + at, out.clamp(value), lanes);
            }
          });
    };
    if (rows == kRows && width == kWidth) {
      run.template operator()<true>();
    } else {
      run.template operator()<false>();
    }
  }
}

// y (rows, columns) = epilogue(a * b); row(i, count) points at rows [i, i + count) of a, dense.
template <class Rows>
void run(const Product& p, const Rows& row, const float* packed, const Output& whole) {
  if (p.rows == 0 || p.columns == 0) return;
  const int64_t most =
      std::max(kPanelRows, kBlockFloats / std::max<int64_t>(1, p.depth) / kPanelRows * kPanelRows);
  const int64_t groups = (p.rows + kPanelRows - 1) / kPanelRows;
  const int64_t blocks = std::min(
      groups, round_up((p.rows + most - 1) / most, std::min<int64_t>(num_threads(), groups)));
  // Few pixels: the threads share the panels of a block.
  const int64_t parts = std::clamp<int64_t>((num_threads() + blocks - 1) / blocks, 1, p.panels());
  parallel_for(0, blocks * parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t block = task / parts, part = task % parts;
      const int64_t first = groups * block / blocks * kPanelRows;
      const int64_t count = std::min(groups * (block + 1) / blocks * kPanelRows, p.rows) - first;
      const float* a = row(first, count);
      const int64_t begin_panel = p.panels() * part / parts;
      for (int64_t i = begin_panel; i < p.panels() * (part + 1) / parts; ++i) {
        const Panel panel = Panel::at(i, p.columns);
        const int64_t column = panel.first;
        Output out = whole;
        out.y += first * p.columns + column;
        if (out.bias) out.bias += column;
        if (out.residual) out.residual += first * p.columns + column;
        cpu::with_panel_vectors(panel.vectors(), [&]<int Vectors>() {
          multiply<Vectors>({a, p.depth, 1}, count, packed + column * p.depth, p.depth, panel.width,
                            p.columns, i == begin_panel, out);
        });
      }
    }
  });
}

// Images (N, H, W, C) of which every step-th pixel is a row. They are handed out where they lie, or
// copied where the step leaves pixels out or the kernel would read past the end of the last image.
class Pixels {
 public:
  Pixels(const float* x, int64_t h, int64_t w, int64_t channels, int64_t step_h, int64_t step_w,
         int64_t rows)
      : x_(x), h_(h), w_(w), channels_(channels), step_h_(step_h), step_w_(step_w), rows_(rows) {}

  const float* operator()(int64_t first, int64_t count) const {
    if (step_h_ == 1 && step_w_ == 1 && first + round_up(count, kPanelRows) <= rows_)
      return x_ + first * channels_;
    thread_local std::vector<float> copy;
    copy.resize(static_cast<size_t>(round_up(count, kPanelRows) * channels_));
    const int64_t ho = (h_ - 1) / step_h_ + 1, wo = (w_ - 1) / step_w_ + 1;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t n = (first + i) / (ho * wo);
      const int64_t h = (first + i) / wo % ho * step_h_, w = (first + i) % wo * step_w_;
      std::copy_n(x_ + ((n * h_ + h) * w_ + w) * channels_, channels_, copy.data() + i * channels_);
    }
    return copy.data();
  }

 private:
  const float* x_;
  int64_t h_, w_, channels_, step_h_, step_w_, rows_;
};

// gx (N, H, W, C) := dense (N, Ho, Wo, C) at the pixels that the stride visits, 0 elsewhere.
void spread(const ConvShape& s, const float* dense, float* gx) {
  parallel_for(0, s.n * s.h, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t n = r / s.h, h = r % s.h;
      float* row = gx + r * s.w * s.c;
      if (h % s.sh != 0 || h / s.sh >= s.ho) {
        std::fill_n(row, s.w * s.c, 0.0f);
        continue;
      }
      const float* source = dense + (n * s.ho + h / s.sh) * s.wo * s.c;
      for (int64_t w = 0; w < s.w; ++w) {
        if (w % s.sw == 0 && w / s.sw < s.wo) {
          std::copy_n(source + w / s.sw * s.c, s.c, row + w * s.c);
        } else {
          std::fill_n(row + w * s.c, s.c, 0.0f);
        }
      }
    }
  });
}

std::shared_ptr<Storage> packed(const Tensor& w, const char* layout, const Product& p,
                                const Operand& b) {
  return cpu::packed_weights(w, layout, p.packed_bytes(),
                             [&](void* to) { pack(p, b, static_cast<float*>(to)); });
}

}  // namespace

bool applies(const ConvShape& s) {
  return s.kh == 1 && s.kw == 1 && s.ph == 0 && s.pw == 0 && s.groups == 1;
}

void forward(const ConvShape& s, const float* x, const Tensor& w, const ConvEpilogue& epilogue,
             float* y) {
  const Product p{s.n * s.ho * s.wo, s.c, s.o};
  const auto filters = packed(w, "panels forward", p, {w.data<float>(), 1, s.c});
  run(p, Pixels(x, s.h, s.w, s.c, s.sh, s.sw, p.rows), static_cast<const float*>(filters->data),
      {y, epilogue.bias.defined() ? epilogue.bias.data<float>() : nullptr,
       epilogue.residual.defined() ? epilogue.residual.data<float>() : nullptr,
       Clamp<float>(epilogue.activation)});
}

void input_grad(const ConvShape& s, const float* g, const Tensor& w, float* gx) {
  const Product p{s.n * s.ho * s.wo, s.o, s.c};
  const auto filters = packed(w, "panels input_grad", p, {w.data<float>(), s.c, 1});
  const bool dense = s.ho == s.h && s.wo == s.w;
  const Tensor result = dense ? Tensor() : empty({p.rows, s.c});
  float* to = dense ? gx : result.data<float>();
  run(p, Pixels(g, s.ho, s.wo, s.o, 1, 1, p.rows), static_cast<const float*>(filters->data),
      {to, nullptr, nullptr, {}});
  if (!dense) spread(s, to, gx);
}

}  // namespace tessera::conv::pointwise
