#include "ops/image/separable.h"

#include <algorithm>
#include <cstring>

#include "autograd/apply.h"
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
void combine(const T* src, const int64_t* index, const double* weight, int64_t taps, int64_t n,
             T* __restrict dst) {
  const auto row = [&](int64_t t) { return src + index[t] * n; };
  const auto w = [&](int64_t t) { return static_cast<T>(weight[t]); };
  int64_t done = 0;
  if (taps == 0) {
    std::fill_n(dst, n, T(0));
  } else if (taps == 1) {
    const T* a = row(0);
    const T wa = w(0);
    for (int64_t c = 0; c < n; ++c) dst[c] = wa * a[c];
  } else if (taps < 4) {
    const T *a = row(0), *b = row(1);
    const T wa = w(0), wb = w(1);
    for (int64_t c = 0; c < n; ++c) dst[c] = wa * a[c] + wb * b[c];
    done = 2;
  } else {
    const T *a = row(0), *b = row(1), *d = row(2), *e = row(3);
    const T wa = w(0), wb = w(1), wd = w(2), we = w(3);
    for (int64_t c = 0; c < n; ++c) dst[c] = wa * a[c] + wb * b[c] + wd * d[c] + we * e[c];
    done = 4;
  }
  for (int64_t t = std::max<int64_t>(done, 1); t < taps; ++t) {
    const T* a = row(t);
    const T wa = w(t);
    for (int64_t c = 0; c < n; ++c) dst[c] += wa * a[c];
  }
}

/// Each output row: first the rows of the image are combined into one, which stays in cache, then
/// its pixels. Both loops run over channels (the first over a whole row).
template <class T>
void separable_typed(const T* x, const AxisMap& rows, const AxisMap& columns, int64_t images,
                     int64_t channels, T* y) {
  const int64_t in_row = columns.in * channels, out_row = columns.out * channels;
  const int64_t grain = std::max<int64_t>(1, 16384 / (out_row + in_row));
  parallel_for(0, images * rows.out, grain, [&](int64_t begin, int64_t end) {
    std::vector<T> buffer(static_cast<size_t>(in_row));
    for (int64_t r = begin; r < end; ++r) {
      const int64_t n = r / rows.out, o = r % rows.out;
      const T* image = x + n * rows.in * in_row;
      const auto first = static_cast<size_t>(rows.begin[static_cast<size_t>(o)]);
      const int64_t taps = rows.begin[static_cast<size_t>(o) + 1] - static_cast<int64_t>(first);
      const T* row = buffer.data();
      if (taps == 1 && rows.weight[first] == 1)
        row = image + rows.index[first] * in_row;
      else
        combine(image, rows.index.data() + first, rows.weight.data() + first, taps, in_row,
                buffer.data());
      T* dst = y + r * out_row;
      for (int64_t p = 0; p < columns.out; ++p, dst += channels) {
        const auto from = static_cast<size_t>(columns.begin[static_cast<size_t>(p)]);
        const int64_t count =
            columns.begin[static_cast<size_t>(p) + 1] - static_cast<int64_t>(from);
        if (count == 1 && columns.weight[from] == 1)
          std::copy_n(row + columns.index[from] * channels, channels, dst);
        else
          combine(row, columns.index.data() + from, columns.weight.data() + from, count, channels,
                  dst);
      }
    }
  });
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
