#include "ops/image/separable.h"

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "autograd/apply.h"
#include "ops/cpu/vector.h"
#include "ops/image/lane_map.h"
#include "tensor/parallel.h"
#include "tensor/view.h"

namespace tessera {

void AxisMap::tap(int64_t input, double w) {
  if (w == 0) return;
  for (size_t t = static_cast<size_t>(begin.back()); t < index.size(); ++t)
    if (index[t] == input) {
      weight[t] += w;
      return;
    }
  index.push_back(input);
  weight.push_back(w);
}

void AxisMap::next() {
  begin.push_back(static_cast<int64_t>(index.size()));
  ++out;
}

AxisMap AxisMap::transposed() const {
  AxisMap t;
  t.in = out;
  t.out = in;
  std::vector<int64_t> count(static_cast<size_t>(in) + 1, 0);
  for (int64_t i : index) ++count[static_cast<size_t>(i) + 1];
  for (size_t i = 1; i < count.size(); ++i) count[i] += count[i - 1];
  t.begin = count;
  t.index.resize(index.size());
  t.weight.resize(index.size());
  for (int64_t o = 0; o < out; ++o)
    for (int64_t k = begin[static_cast<size_t>(o)]; k < begin[static_cast<size_t>(o) + 1]; ++k) {
      const auto at =
          static_cast<size_t>(count[static_cast<size_t>(index[static_cast<size_t>(k)])]++);
      t.index[at] = o;
      t.weight[at] = weight[static_cast<size_t>(k)];
    }
  return t;
}

namespace {

struct Separable {
  static constexpr std::string_view name = "separable";
  AxisMapPtr rows, columns;

  Tensor forward(Ctx&, const Tensor& x) const {
    Tensor y = empty({x.shape()[0], rows->out, columns->out, x.shape()[3]}, x.dtype(), x.device());
    kernel::separable(x.device(), view::contiguous(x), *rows, *columns, y);
    return y;
  }
  Grads backward(const Ctx&, const Tensor& g) const {
    return {separable(g, std::make_shared<AxisMap>(rows->transposed()),
                      std::make_shared<AxisMap>(columns->transposed()))};
  }
};

/// dst := sum of weight[t] * (row index[t] of src), rows of `n` elements.
template <class T>
struct Combination {
  const T* src;
  const int64_t* index;
  const T* weight;
  int64_t taps, n;

  bool copies() const { return taps == 1 && weight[0] == 1; }
  const T* row(int64_t t) const { return src + index[t] * n; }

  template <class L, int U>
  void lanes(int64_t c, T* dst) const {
    typename L::Type sum[U] = {};
    for (int64_t t = 0; t < taps; ++t) {
      const T* from = row(t) + c;
      for (int u = 0; u < U; ++u) sum[u] += weight[t] * L::load(from + u * L::kLanes);
    }
    for (int u = 0; u < U; ++u) L::store(dst + c + u * L::kLanes, sum[u]);
  }
  void into(T* dst) const {
    using Lanes = cpu::Vector<T>;
    int64_t c = 0;
    for (; c + 4 * Lanes::kLanes <= n; c += 4 * Lanes::kLanes) lanes<Lanes, 4>(c, dst);
    for (; c + Lanes::kLanes <= n; c += Lanes::kLanes) lanes<Lanes, 1>(c, dst);
    for (; c < n; ++c) lanes<cpu::Scalar<T>, 1>(c, dst);
  }
};

/// An axis' map with weights in T.
template <class T>
class Taps {
 public:
  explicit Taps(const AxisMap& map) : map_(map), weight_(map.weight.begin(), map.weight.end()) {}

  Combination<T> of(int64_t output, const T* src, int64_t n) const {
    const auto from = static_cast<size_t>(map_.begin[static_cast<size_t>(output)]);
    const auto to = static_cast<size_t>(map_.begin[static_cast<size_t>(output) + 1]);
    return {src, map_.index.data() + from, weight_.data() + from, static_cast<int64_t>(to - from),
            n};
  }

 private:
  const AxisMap& map_;
  std::vector<T> weight_;
};

/// Each output row: first the rows of the image are combined into one, which stays in cache, then
/// its pixels. Both loops run over channels (the first over a whole row).
template <class T>
void separable_wide(const T* x, const AxisMap& row_map, const AxisMap& column_map, int64_t images,
                    int64_t channels, T* y) {
  const Taps<T> rows(row_map), columns(column_map);
  const int64_t in_row = column_map.in * channels, out_row = column_map.out * channels;
  const int64_t grain = std::max<int64_t>(1, 16384 / (out_row + in_row));
  parallel_for(0, images * row_map.out, grain, [&](int64_t begin, int64_t end) {
    std::vector<T> buffer(static_cast<size_t>(in_row));
    for (int64_t r = begin; r < end; ++r) {
      const T* image = x + r / row_map.out * row_map.in * in_row;
      const Combination<T> vertical = rows.of(r % row_map.out, image, in_row);
      const T* row = vertical.copies() ? vertical.row(0) : buffer.data();
      if (!vertical.copies()) vertical.into(buffer.data());
      T* dst = y + r * out_row;
      for (int64_t p = 0; p < column_map.out; ++p, dst += channels) {
        const Combination<T> horizontal = columns.of(p, row, channels);
        if (horizontal.copies())
          std::copy_n(horizontal.row(0), channels, dst);
        else
          horizontal.into(dst);
      }
    }
  });
}

/// The same for few channels: the second step by a LaneMap, several rows together.
void separable_narrow(const float* x, const AxisMap& row_map, const AxisMap& column_map,
                      int64_t images, int64_t channels, float* y) {
  constexpr int64_t kRows = 4;
  const Taps<float> rows(row_map);
  const LaneMap columns(column_map, channels);
  const int64_t in_row = column_map.in * channels, out_row = column_map.out * channels;
  const int64_t stride = std::max<int64_t>(in_row, cpu::kPanelLanes);
  const int64_t all = images * row_map.out, groups = (all + kRows - 1) / kRows;
  const int64_t grain = std::max<int64_t>(1, 16384 / (kRows * (out_row + in_row)));
  parallel_for(0, groups, grain, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(static_cast<size_t>(kRows * stride));
    for (int64_t r = begin * kRows; r < std::min(all, end * kRows); r += kRows) {
      const int64_t count = std::min(kRows, all - r);
      for (int64_t i = 0; i < count; ++i) {
        const float* image = x + (r + i) / row_map.out * row_map.in * in_row;
        rows.of((r + i) % row_map.out, image, in_row).into(buffer.data() + i * stride);
      }
      float* dst = y + r * out_row;
      if (count == kRows) {
        columns.apply<kRows>(buffer.data(), stride, dst, out_row);
        continue;
      }
      for (int64_t i = 0; i < count; ++i)
        columns.apply<1>(buffer.data() + i * stride, stride, dst + i * out_row, out_row);
    }
  });
}

template <class T>
void separable_typed(const T* x, const AxisMap& rows, const AxisMap& columns, int64_t images,
                     int64_t channels, T* y) {
  if constexpr (std::is_same_v<T, float>) {
    // Making the steps costs about as much as a few rows of the loop over pixels.
    const bool many = images * rows.out >= 8 && columns.in * channels <= INT32_MAX;
    if (channels < cpu::kPanelLanes && many)
      return separable_narrow(x, rows, columns, images, channels, y);
  }
  separable_wide(x, rows, columns, images, channels, y);
}

void separable_cpu(const Tensor& x, const AxisMap& rows, const AxisMap& columns, Tensor& y) {
  if (y.numel() == 0) return;
  dispatch_float(x.dtype(), "resize", [&]<class T>() {
    separable_typed(x.data<T>(), rows, columns, x.shape()[0], x.shape()[3], y.data<T>());
  });
}

}  // namespace

namespace kernel {
constinit KernelSlot<void(const Tensor&, const AxisMap&, const AxisMap&, Tensor&)> separable{
    "separable"};
}
TESSERA_KERNEL(separable, cpu, separable_cpu);

Tensor separable(const Tensor& x, const AxisMapPtr& rows, const AxisMapPtr& columns) {
  TESSERA_CHECK(ShapeError,
                x.rank() == 4 && x.shape()[1] == rows->in && x.shape()[2] == columns->in,
                "separable: maps of ", rows->in, " rows and ", columns->in,
                " columns do not fit the image ", x.shape());
  return apply(Separable{rows, columns}, x);
}

}  // namespace tessera
