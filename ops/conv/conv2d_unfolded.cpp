// The weight gradient as one product: gw (O, KH KW C) = g^T (O, pixels) * the unfolded image
// (pixels, KH KW C). Panels of its columns are unfolded for a stretch of pixels at a time, which
// stays in cache while it meets all filters; g is read where it lies.
#include <algorithm>
#include <memory>

#include "ops/conv/conv2d_cpu.h"
#include "ops/cpu/panel_gemm.h"
#include "tensor/parallel.h"

namespace tessera::conv::unfolded {
namespace {

using cpu::kPanelColumns;
using cpu::kPanelLanes;
using cpu::kPanelRows;
using cpu::Panel;

constexpr int64_t kStretch = 256;  // pixels that are unfolded together
constexpr int64_t kGroup = 4;      // panels of one task, which share what they read of g

// Pixels [first, first + count) of the panel, rows stride() apart, 0 beyond the image and the
// panel.
void unfold(const ConvShape& s, const float* x, const Panel& panel, int64_t first, int64_t count,
            float* to) {
  const int64_t stride = panel.stride();
  for (int64_t k = 0; panel.width < stride && k < count; ++k)
    std::fill(to + k * stride + panel.width, to + (k + 1) * stride, 0.0f);
  for (int64_t column = panel.first; column < panel.first + panel.width;) {
    const int64_t tap = column / s.c, c = column % s.c;
    const int64_t length = std::min(s.c - c, panel.first + panel.width - column);
    const int64_t kh = tap / s.kw * s.dh - s.ph, kw = tap % s.kw * s.dw - s.pw;
    int64_t n = first / (s.ho * s.wo), ho = first / s.wo % s.ho, wo = first % s.wo;
    float* target = to + column - panel.first;
    for (int64_t k = 0; k < count; ++k, target += stride) {
      const int64_t h = ho * s.sh + kh, w = wo * s.sw + kw;
      if (h >= 0 && h < s.h && w >= 0 && w < s.w) {
        std::copy_n(x + ((n * s.h + h) * s.w + w) * s.c + c, length, target);
      } else {
        std::fill_n(target, length, 0.0f);
      }
      if (++wo < s.wo) continue;
      wo = 0;
      if (++ho < s.ho) continue;
      ho = 0;
      ++n;
    }
    column += length;
  }
}

struct Scratch {
  alignas(64) float panel[kStretch * kPanelColumns];
  alignas(64) float rest[kStretch * kPanelRows];  // the last filters, padded
  alignas(64) float tile[kPanelRows * kPanelColumns];
};

// gw's filters [begin, end) of one panel: the sums over pixels [first, first + depth), g pointing
// at the first of them, added to what is there unless `first_stretch`.
void multiply(const ConvShape& s, const float* g, int64_t depth, const Panel& panel, int64_t begin,
              int64_t end, bool first_stretch, Scratch& scratch, float* gw) {
  const int64_t columns = s.kh * s.kw * s.c, stride = panel.stride();
  const int64_t step = kPanelRows / panel.vectors();
  for (int64_t o = begin; o < end; o += step) {
    const int64_t rows = std::min(step, end - o);
    cpu::PanelRowsView view{g + o, 1, s.o};
    if (rows < step) {  // the kernel reads whole steps
      for (int64_t k = 0; k < depth; ++k) {
        std::copy_n(g + k * s.o + o, rows, scratch.rest + k * step);
        std::fill_n(scratch.rest + k * step + rows, step - rows, 0.0f);
      }
      view = {scratch.rest, 1, step};
    }
    cpu::panel_gemm(step, panel.vectors(), view, scratch.panel, stride, scratch.tile, stride,
                    depth);
    for (int64_t r = 0; r < rows; ++r) {
      float* to = gw + (o + r) * columns + panel.first;
      const float* sum = scratch.tile + r * stride;
      if (first_stretch) {
        std::copy_n(sum, panel.width, to);
      } else {
        for (int64_t c = 0; c < panel.width; ++c) to[c] += sum[c];
      }
    }
  }
}

}  // namespace

bool pays(const ConvShape& s) {
  // Unfolding costs as much for few filters as for many. Taps in one row reuse what they load in
  // oneDNN's kernels, those in several rows do not.
  if (s.groups != 1) return false;
  return s.kh * s.kw == 1 ? s.o >= s.c : s.kh > 1 && s.c >= 64 && s.o >= 64;
}

void weight_grad(const ConvShape& s, const float* g, const float* x, float* gw) {
  const int64_t pixels = s.n * s.ho * s.wo, columns = s.kh * s.kw * s.c;
  if (s.o * columns == 0) return;
  if (pixels == 0) {
    std::fill_n(gw, s.o * columns, 0.0f);
    return;
  }
  const int64_t panels = Panel::count(columns);
  const int64_t groups = (panels + kGroup - 1) / kGroup;
  const int64_t blocks = (s.o + kPanelRows - 1) / kPanelRows;  // of filters
  // Few groups: the threads share the filters of each, every one unfolding for itself.
  const int64_t parts = std::clamp<int64_t>((num_threads() + groups - 1) / groups, 1, blocks);
  parallel_for(0, groups * parts, 1, [&](int64_t task, int64_t last) {
    thread_local const auto scratch = std::make_unique_for_overwrite<Scratch>();
    for (; task < last; ++task) {
      const int64_t group = task / parts * kGroup, part = task % parts;
      const int64_t begin = blocks * part / parts * kPanelRows;
      const int64_t end = std::min(blocks * (part + 1) / parts * kPanelRows, s.o);
      for (int64_t first = 0; first < pixels; first += kStretch) {
        const int64_t depth = std::min(kStretch, pixels - first);
        const float* const from = g + first * s.o;
        for (int64_t k = 0; k < depth; ++k)
          for (int64_t o = begin; o < end; o += kPanelLanes)
            __builtin_prefetch(from + k * s.o + o, 0, 2);
        for (int64_t p = group; p < std::min(group + kGroup, panels); ++p) {
          const Panel panel = Panel::at(p, columns);
          unfold(s, x, panel, first, depth, scratch->panel);
          multiply(s, from, depth, panel, begin, end, first == 0, *scratch, gw);
        }
      }
    }
  });
}

}  // namespace tessera::conv::unfolded
