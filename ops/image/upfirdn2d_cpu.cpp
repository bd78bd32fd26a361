#include <algorithm>
#include <vector>

#include "ops/cpu/vector.h"
#include "ops/image/upfirdn2d.h"
#include "tensor/parallel.h"
#include "tensor/view.h"

namespace tessera {
namespace {

/// The pixels of one axis under the filter at one output: source, source + 1, ... meet the taps
/// tap, tap + up, ... Those outside of the image are left out.
struct Reach {
  int64_t source = 0, tap = 0, count = 0;
};

std::vector<Reach> reaches(int64_t in, int64_t out, int64_t taps, int64_t up, int64_t down,
                           int64_t padding) {
  std::vector<Reach> all(static_cast<size_t>(out));
  for (int64_t o = 0; o < out; ++o) {
    const int64_t first = o * down - padding;  // of the filter, among pixels and zeros
    const int64_t source = std::max<int64_t>(0, first > 0 ? (first + up - 1) / up : 0);
    const int64_t tap = source * up - first;
    if (tap >= taps || source >= in) continue;
    const int64_t count = std::min(in - source, (taps - tap + up - 1) / up);
    all[static_cast<size_t>(o)] = {source, tap, count};
  }
  return all;
}

template <class T>
struct Plan {
  Shape in, out;  // (N, H, W, C)
  std::vector<Reach> rows, columns;
  std::vector<T> filter;  // as it is correlated, with the gain
  int64_t taps_w;
  Size2 up;

  Plan(Shape x, const Tensor& f, const Upfirdn2dArgs& args, Shape y)
      : in(std::move(x)), out(std::move(y)), taps_w(f.size(1)), up(args.up) {
    rows = reaches(in[1], out[1], f.size(0), up.h, args.down.h, args.top);
    columns = reaches(in[2], out[2], taps_w, up.w, args.down.w, args.left);
    const float* p = f.data<float>();
    for (int64_t i = 0, n = f.numel(); i < n; ++i)
      filter.push_back(static_cast<T>(double{p[args.flip_filter ? i : n - 1 - i]} * args.gain));
  }

  /// Calls fn(element of x relative to that under the first taps, weight) for the taps of an output
  /// pixel, in order.
  template <class Fn>
  void for_taps(const Reach& row, const Reach& column, Fn&& fn) const {
    const T* w = filter.data() + row.tap * taps_w + column.tap;
    for (int64_t a = 0; a < row.count; ++a)
      for (int64_t b = 0; b < column.count; ++b)
        fn((a * in[2] + b) * in[3], w[a * up.h * taps_w + b * up.w]);
  }

  /// `count` neighbouring elements of y from those of x at the same distances, kWide vectors at a
  /// time; returns how many are done.
  template <class V, int kWide>
  int64_t run(const Reach& row, const Reach& column, const T* x, T* y, int64_t done,
              int64_t count) const {
    constexpr int64_t kStep = V::kLanes * kWide;
    for (; done + kStep <= count; done += kStep) {
      typename V::Type sum[kWide] = {};
      for_taps(row, column, [&](int64_t at, T weight) {
        for (int k = 0; k < kWide; ++k) sum[k] += V::load(x + at + done + k * V::kLanes) * weight;
      });
      for (int k = 0; k < kWide; ++k) V::store(y + done + k * V::kLanes, sum[k]);
    }
    return done;
  }

  void pixels(const Reach& row, const Reach& column, const T* x, T* y, int64_t count) const {
    int64_t done = run<cpu::Vector<T>, 4>(row, column, x, y, 0, count);
    done = run<cpu::Vector<T>, 1>(row, column, x, y, done, count);
    run<cpu::Scalar<T>, 1>(row, column, x, y, done, count);
  }

  /// How many output pixels first, first + step, ... lie as far from each other as the pixels they
  /// are made from and meet the same taps.
  int64_t alike(int64_t first, int64_t step) const {
    const auto reach = [&](int64_t o) { return columns[static_cast<size_t>(o)]; };
    const Reach start = reach(first);
    int64_t n = 1;
    for (int64_t o = first + step; o < out[2]; o += step, ++n)
      if (reach(o).tap != start.tap || reach(o).count != start.count ||
          reach(o).source != start.source + n)
        break;
    return n;
  }
};

/// Output pixels of a row that are made as if they were one with more channels.
struct Stretch {
  int64_t first, step, count;
};

// Where a pixel's channels do not fill a vector, those of an enlarged row that meet the same taps
// are put together, though they do not lie together.
template <class T>
std::vector<Stretch> stretches(const Plan<T>& plan, int64_t down) {
  const bool few = plan.out[3] < cpu::Vector<T>::kLanes;
  const int64_t step = few && down == 1 ? plan.up.w : 1;
  std::vector<Stretch> all;
  for (int64_t phase = 0; phase < std::min(step, plan.out[2]); ++phase)
    for (int64_t o = phase; o < plan.out[2]; o += step * all.back().count)
      all.push_back({o, step, plan.alike(o, step)});
  return all;
}

template <class T>
void upfirdn2d_typed(const Plan<T>& plan, int64_t down, const T* x, T* y) {
  const int64_t height = plan.out[1], width = plan.out[2], channels = plan.out[3];
  const std::vector<Stretch> together = stretches(plan, down);
  const int64_t taps = static_cast<int64_t>(plan.filter.size()) / (plan.up.h * plan.up.w) + 1;
  const int64_t grain = std::max<int64_t>(1, 65536 / (width * channels * taps));
  parallel_for(0, plan.out[0] * height, grain, [&](int64_t begin, int64_t end) {
    std::vector<T> apart;  // pixels of a stretch whose places are `step` apart
    for (int64_t r = begin; r < end; ++r) {
      const Reach& row = plan.rows[static_cast<size_t>(r % height)];
      const T* image = x + (r / height * plan.in[1] + row.source) * plan.in[2] * channels;
      for (const Stretch& s : together) {
        const Reach& column = plan.columns[static_cast<size_t>(s.first)];
        const T* from = image + column.source * channels;
        T* to = y + (r * width + s.first) * channels;
        if (s.step == 1 || s.count == 1) {
          plan.pixels(row, column, from, to, s.count * channels);
          continue;
        }
        apart.resize(static_cast<size_t>(s.count * channels));
        plan.pixels(row, column, from, apart.data(), s.count * channels);
        const T* pixel = apart.data();
        for (int64_t i = 0; i < s.count; ++i)
          for (int64_t c = 0; c < channels; ++c) to[i * s.step * channels + c] = *pixel++;
      }
    }
  });
}

void upfirdn2d_cpu(const Tensor& x, const Tensor& filter, const Upfirdn2dArgs& args, Tensor& y) {
  if (y.numel() == 0) return;
  if (size_of(y.dtype()) == 2) {
    Tensor wide = empty(y.shape(), DType::f32);
    upfirdn2d_cpu(view::to(x, DType::f32), filter, args, wide);
    return copy_(y, wide);
  }
  dispatch_float(y.dtype(), "upfirdn2d", [&]<class T>() {
    upfirdn2d_typed(Plan<T>(x.shape(), filter, args, y.shape()), args.down.w, x.data<T>(),
                    y.data<T>());
  });
}

}  // namespace

TESSERA_KERNEL(upfirdn2d, cpu, upfirdn2d_cpu);

}  // namespace tessera
