// The gradient of images of few channels: a product g (pixels, O) * w (O, KH KW C), whose rows are
// what each output pixel sends back, added to the stretches of image rows that its filter rows saw.
// Vectors run over taps and channels together, where three channels alone would fill little of one.
#include <algorithm>
#include <vector>

#include "ops/conv/conv2d_cpu.h"
#include "ops/cpu/panel_gemm.h"
#include "tensor/parallel.h"

namespace tessera::conv::scattered {
namespace {

using cpu::kPanelColumns;
using cpu::kPanelLanes;
using cpu::kPanelRows;
using cpu::Panel;

constexpr int64_t kPixels = kPanelRows;  // whose products stay in the first-level cache

// The image rows that output row `ho` sends to, as sums that are not complete yet, with columns of
// padding. Neighbouring pixels add to the same columns: they take turns among several sums of a
// row, in each of which they keep apart, so that no addition waits for the store before it.
class OpenRows {
 public:
  explicit OpenRows(const ConvShape& s)
      : s_(s),
        rows_((s.kh - 1) * s.dh + 1),
        turns_((s.kw + s.sw - 1) / s.sw),
        width_(std::max((s.wo - 1) * s.sw + s.kw, s.pw + s.w) * s.c + kPanelLanes),
        sums_(static_cast<size_t>(rows_ * turns_ * width_)) {}

  // Output rows before `ho` have all been added: rows above its first are written if they lie in
  // [begin, end) of the image. The first call just starts there.
  void start(int64_t ho) { top_ = ho * s_.sh - s_.ph; }
  void advance(int64_t ho, int64_t begin, int64_t end, float* image) {
    for (const int64_t top = ho * s_.sh - s_.ph; top_ < top; ++top_) {
      if (top_ >= begin && top_ < end) write(row(top_), image + top_ * s_.w * s_.c);
      std::fill_n(row(top_), turns_ * width_, 0.0f);
    }
  }

  // Adds `sent` (count, stride), rows (KH, KW, C), of pixels wo, wo + 1, ... of output row `ho`.
  void add(const float* sent, int64_t stride, int64_t ho, int64_t wo, int64_t count) {
    const int64_t run = s_.kw * s_.c, step = s_.sw * s_.c;
    for (int64_t kh = 0; kh < s_.kh; ++kh) {
      float* const to = row(ho * s_.sh - s_.ph + kh * s_.dh);
      const float* from = sent + kh * run;
      int64_t turn = wo % turns_;
      for (int64_t k = 0; k < count; ++k, from += stride) {
        float* at = to + turn * width_ + (wo + k) * step;
        if (++turn == turns_) turn = 0;
        int64_t i = 0;
        for (; i + kPanelLanes <= run; i += kPanelLanes)
          cpu::store_lanes(at + i, cpu::load_lanes(at + i) + cpu::load_lanes(from + i));
        if (i < run)
          cpu::store_lanes(at + i,
                           cpu::load_lanes(at + i, run - i) + cpu::load_lanes(from + i, run - i),
                           run - i);
      }
    }
  }

 private:
  float* row(int64_t h) { return sums_.data() + (h + s_.ph) % rows_ * turns_ * width_; }
  void write(const float* sums, float* out) const {
    const float* from = sums + s_.pw * s_.c;
    const int64_t length = s_.w * s_.c;
    for (int64_t i = 0; i < length; i += kPanelLanes) {  // rows have a vector to spare
      cpu::PanelRegister sum = cpu::load_lanes(from + i);
      for (int64_t t = 1; t < turns_; ++t) sum += cpu::load_lanes(from + t * width_ + i);
      if (i + kPanelLanes <= length)
        cpu::store_lanes(out + i, sum);
      else
        cpu::store_lanes(out + i, sum, length - i);
    }
  }

  const ConvShape& s_;
  int64_t rows_, turns_, width_;
  int64_t top_ = 0;
  std::vector<float> sums_;
};

// The filters with rows of whole vectors.
std::vector<float> padded_filters(const ConvShape& s, const float* w, int64_t stride) {
  const int64_t columns = s.kh * s.kw * s.c;
  std::vector<float> filters(static_cast<size_t>(s.o * stride));
  for (int64_t o = 0; o < s.o; ++o)
    std::copy_n(w + o * columns, columns, filters.data() + o * stride);
  return filters;
}

struct Product {
  const ConvShape& s;
  const float* filters;
  int64_t stride;                // of filters and products, in whole vectors
  std::vector<float> rows = {};  // pixels at the end of g, padded
  std::vector<float> sent = {};

  // (count, stride) for pixels [first, first + count) of g, which has `pixels`. count <= kPixels.
  const float* operator()(const float* g, int64_t first, int64_t count, int64_t pixels) {
    sent.resize(static_cast<size_t>(kPixels * stride));
    const float* from = g + first * s.o;
    const int64_t whole = cpu::round_up(count, kPanelRows);  // what the product reads
    if (first + whole > pixels) {
      rows.assign(static_cast<size_t>(whole * s.o), 0.0f);
      std::copy_n(from, count * s.o, rows.data());
      from = rows.data();
    }
    for (int64_t k = kPixels * s.o; k < 2 * kPixels * s.o; k += kPanelLanes)  // of the next call
      __builtin_prefetch(g + first * s.o + k, 0, 2);
    const int64_t columns = s.kh * s.kw * s.c;
    for (int64_t p = 0; p < Panel::count(columns); ++p) {
      const Panel panel = Panel::at(p, columns);
      cpu::panel_gemm(count, panel.vectors(), {from, s.o, 1}, filters + panel.first, stride,
                      sent.data() + panel.first, stride, s.o);
    }
    return sent.data();
  }
};

}  // namespace

bool applies(const ConvShape& s) { return s.groups == 1 && s.dw == 1 && s.o > 0; }

bool pays(const ConvShape& s) {
  // The sums over filters must outweigh what is added afterwards. From a vector of channels on
  // oneDNN's vectors are full.
  return applies(s) && s.c < kPanelLanes && s.o >= 16 && s.o >= 2 * s.c;
}

void input_grad(const ConvShape& s, const float* g, const float* w, float* gx) {
  const int64_t stride = cpu::round_up(s.kh * s.kw * s.c, kPanelLanes);
  const std::vector<float> filters = padded_filters(s, w, stride);
  const int64_t pixels = s.n * s.ho * s.wo, row = s.w * s.c;
  if (pixels == 0 || s.c == 0) {
    std::fill_n(gx, s.n * s.h * row, 0.0f);
    return;
  }
  const int64_t grain = std::max<int64_t>(1, s.kh * s.dh);  // less would mostly be halo
  parallel_for(0, s.n * s.h, grain, [&](int64_t begin, int64_t end) {
    Product product{s, filters.data(), stride};
    OpenRows rows(s);
    while (begin < end) {
      const int64_t n = begin / s.h, top = begin % s.h;
      const int64_t bottom = std::min(s.h, top + end - begin);
      float* const image = gx + n * s.h * row;
      // Output rows that saw rows [top, bottom), and one past which all of those are complete.
      const int64_t above = top + s.ph - (s.kh - 1) * s.dh;
      const int64_t first = above <= 0 ? 0 : (above + s.sh - 1) / s.sh;
      const int64_t last = std::min(s.ho, (bottom - 1 + s.ph) / s.sh + 1);
      std::fill_n(image + top * row, (bottom - top) * row, 0.0f);
      rows.start(first);
      for (int64_t p = first * s.wo; p < last * s.wo;) {
        const int64_t count = std::min(kPixels, last * s.wo - p);
        const float* sent = product(g, n * s.ho * s.wo + p, count, pixels);
        for (int64_t k = 0; k < count;) {
          const int64_t ho = (p + k) / s.wo, wo = (p + k) % s.wo;
          const int64_t length = std::min(s.wo - wo, count - k);
          rows.advance(ho, top, bottom, image);
          rows.add(sent + k * stride, stride, ho, wo, length);
          k += length;
        }
        p += count;
      }
      rows.advance(last + (s.kh * s.dh + s.sh - 1) / s.sh, top, bottom, image);
      begin += bottom - top;
    }
  });
}

}  // namespace tessera::conv::scattered
