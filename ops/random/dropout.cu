#include "ops/random/dropout.h"

#include "ops/random/random_math.h"
#include "ops/random/words.cuh"

namespace tessera {
namespace {

// A draw for every element. Bytes: x and y once.
template <class T>
struct DropoutGroup {
  const T* x;
  T scale;
  uint32_t threshold;
  bool aligned;

  __device__ cuda::Group<T, 4> operator()(const uint32_t* w, int64_t first, int64_t left) const {
    cuda::Group<T, 4> v = cuda::load_group<4>(x + first, left, aligned);
    TESSERA_UNROLL
    for (int k = 0; k < 4; ++k) v.v[k] = w[k] >> 8 >= threshold ? v.v[k] * scale : T(0);
    return v;
  }
};

// A draw for every `run` consecutive elements. A thread takes kCount neighbours, and more a grid's
// stride away; it draws once unless a border lies among them. Index counts elements: 64 bits only
// where there are too many for 32, since it is divided. Bytes: x and y once.
template <class T, class Index>
__global__ void __launch_bounds__(cuda::kDrawBlock, 1)
    dropout_runs(RandomDraw draw, uint32_t threshold, T scale, Index run, Index n, bool aligned,
                 const T* __restrict__ x, T* __restrict__ y) {
  constexpr int kCount = 16 / sizeof(T);
  const auto kept = [&](Index sample) {
    const uint64_t block = draw.block + sample / 4;
    const Philox::Words words = Philox::block(draw.seed, block, draw.stream);
    const uint32_t pick = sample % 4;
    const uint32_t low = pick == 0 ? words.v[0] : words.v[1];
    const uint32_t high = pick == 2 ? words.v[2] : words.v[3];
    return (pick < 2 ? low : high) >> 8 >= threshold;
  };
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  int64_t group = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  for (; group * kCount < static_cast<int64_t>(n); group += step) {
    const int64_t first = group * kCount, left = static_cast<int64_t>(n) - first;
    cuda::Group<T, kCount> v = cuda::load_group<kCount>(x + first, left, aligned);
    Index sample = static_cast<Index>(first) / run, inside = static_cast<Index>(first) % run;
    bool keep = kept(sample);
    TESSERA_UNROLL
    for (int k = 0; k < kCount; ++k) {
      if (inside == run) {
        inside = 0;
        keep = kept(++sample);
      }
      ++inside;
      v.v[k] = keep ? v.v[k] * scale : T(0);
    }
    cuda::store_group<kCount>(v, y + first, left, aligned);
  }
}

template <class T>
void dropout_typed(const Tensor& x, const RandomDraw& draw, double p, int64_t run, Tensor& y) {
  const T scale = static_cast<T>(1.0 / (1.0 - p));
  const uint32_t threshold = math::word_threshold(p);
  const T* in = x.data<T>();
  if (run == 1)
    return cuda::draw<1, T>(draw, DropoutGroup<T>{in, scale, threshold, cuda::group_aligned<4>(in)},
                            y);
  constexpr int kCount = 16 / sizeof(T);
  T* out = y.data<T>();
  const int64_t n = y.numel();
  const bool aligned = cuda::group_aligned<kCount>(in) && cuda::group_aligned<kCount>(out);
  const cuda::LaunchConfig config{cuda::grid_for(n, cuda::kDrawBlock * kCount), cuda::kDrawBlock};
  if (n <= INT32_MAX)
    cuda::launch(dropout_runs<T, uint32_t>, config, draw, threshold, scale,
                 static_cast<uint32_t>(run), static_cast<uint32_t>(n), aligned, in, out);
  else
    cuda::launch(dropout_runs<T, uint64_t>, config, draw, threshold, scale,
                 static_cast<uint64_t>(run), static_cast<uint64_t>(n), aligned, in, out);
}

void dropout_cuda(const Tensor& x, const RandomDraw& draw, double p, int64_t run, Tensor& y) {
  if (y.numel() == 0) return;
  dispatch_float(x.dtype(), "dropout", [&]<class T>() { dropout_typed<T>(x, draw, p, run, y); });
}

TESSERA_KERNEL(dropout, cuda, dropout_cuda);

}  // namespace
}  // namespace tessera
