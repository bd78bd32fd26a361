#include "cuda/moments.cuh"
#include "cuda/rows.cuh"
#include "ops/norm/channel_norm_cuda.cuh"

namespace tessera {
namespace {

using namespace cuda;
using cuda::detail::load_pack;
using cuda::detail::Pack;

// y = (x - shift) * scale + offset, each (batch, channels).
template <class C>
struct Coefficients {
  C *shift, *scale, *offset;
};

// Mean, variance and coefficients from the moments of each batch entry and channel, or the
// coefficients alone where `moments` is null. A few threads (a power of two) own a group of
// channels of a batch entry; a block strides over the groups. A few bytes per channel.
template <class C>
__global__ void __launch_bounds__(kNormBlock, 1)
    norm_coefficients(const Moments<C>* moments, int64_t groups, int64_t per_entry, int64_t group,
                      int threads, double eps, NormAffine<C> affine, C* mean, C* var,
                      Coefficients<C> out) {
  TESSERA_SHARED(Moments<C>, scratch, [kNormBlock / 32]);
  TESSERA_SHARED(Moments<C>, results, [kNormBlock]);
  const int lane = static_cast<int>(threadIdx.x) % threads;
  const int slot = static_cast<int>(threadIdx.x) / threads;
  const int64_t per_block = kNormBlock / threads;
  for (int64_t base = blockIdx.x * per_block; base < groups; base += gridDim.x * per_block) {
    const int64_t g = base + slot;
    const bool inside = g < groups;
    if (moments) {
      Moments<C> total(ShiftedSums<C>{});
      if (inside)
        for (int64_t k = lane; k < group; k += threads) total.merge(moments[g * group + k]);
      const MomentsReducer<C, C> r;
      total =
          group_reduce(total, threads, cuda::detail::ReduceMerge<MomentsReducer<C, C>>{r}, scratch);
      if (lane == 0) results[slot] = total;  // merging is not commutative in the last bit
      __syncthreads();
      total = results[slot];
      __syncthreads();
      if (lane == 0 && inside) {
        mean[g] = static_cast<C>(total.mean);
        var[g] = static_cast<C>(total.m2 / total.count);
      }
      __syncthreads();
    }
    if (!inside) continue;
    const C m = mean[g], scale = inverse_deviation(var[g], eps);
    for (int64_t k = lane; k < group; k += threads) {
      const int64_t at = g * group + k, c = g % per_entry * group + k;
      out.shift[at] = m;
      out.scale[at] = scale * affine.w(c);
      out.offset[at] = affine.b(c);
    }
  }
}

// y = activation((x - shift) * scale + offset + residual) by NormTiles. Bound by memory: each
// tensor once.
template <int kVector, class T>
__global__ void __launch_bounds__(kNormBlock, 1)
    norm_apply(const T* x, const T* residual, Coefficients<compute_t<T>> k, NormTiles tiles,
               NormActivation<compute_t<T>> activation, T* y) {
  using C = compute_t<T>;
  const NormPlace at(tiles, kVector);
  if (at.row >= at.end) return;
  const int64_t of_entry = at.b * tiles.channels + at.channel;
  const auto shift = load_coefficients<kVector>(k.shift + of_entry);
  const auto scale = load_coefficients<kVector>(k.scale + of_entry);
  const auto offset = load_coefficients<kVector>(k.offset + of_entry);
  const int64_t begin = at.b * tiles.rows * tiles.channels + at.channel;
  for (int64_t first = at.row; first < at.end; first += kNormUnroll * at.step) {
    Pack<T, kVector> in[kNormUnroll], more[kNormUnroll];
    TESSERA_UNROLL
    for (int u = 0; u < kNormUnroll; ++u) {
      const int64_t row = first + u * at.step, p = begin + row * tiles.channels;
      if (row >= at.end) continue;
      in[u] = load_pack<kVector>(x + p, 1);
      if (residual) more[u] = load_pack<kVector>(residual + p, 1);
    }
    TESSERA_UNROLL
    for (int u = 0; u < kNormUnroll; ++u) {
      const int64_t row = first + u * at.step;
      if (row >= at.end) continue;
      Pack<T, kVector> out;
      TESSERA_UNROLL
      for (int i = 0; i < kVector; ++i) {
        C v = (static_cast<C>(in[u].v[i]) - shift.v[i]) * scale.v[i] + offset.v[i];
        if (residual) v += static_cast<C>(more[u].v[i]);
        out.v[i] = static_cast<T>(activation.value(v));
      }
      *reinterpret_cast<Pack<T, kVector>*>(y + begin + row * tiles.channels) = out;
    }
  }
}

// Layer norm of rows with everything that follows. A group of threads owns a row (RowGroups); rows
// that fit are read once.
template <int kVector, bool kKept, class T>
__global__ void __launch_bounds__(kRowBlock, 1)
    layer_norm_rows(const T* x, const T* residual, RowGroups at, NormAffine<compute_t<T>> affine,
                    double eps, NormActivation<compute_t<T>> activation, compute_t<T>* mean,
                    compute_t<T>* var, T* y) {
  using C = compute_t<T>;
  TESSERA_SHARED(C, scratch, [kRowBlock / 32]);
  for_rows(at, [&](int64_t row, int lane) {
    const bool inside = row < at.rows;
    const int64_t begin = row * at.n;
    const RowPacks<kVector, kKept, T> r(x + begin, inside ? at.n : 0, lane, at.group);
    C sum = 0, squares = 0;
    r.each([&](C v, int) { sum += v; });
    const C m = group_reduce(sum, at.group, SumOp{}, scratch) / static_cast<C>(at.n);
    r.each([&](C v, int) { squares += (v - m) * (v - m); });
    const C s = group_reduce(squares, at.group, SumOp{}, scratch) / static_cast<C>(at.n);
    if (lane == 0 && inside) {
      mean[row] = m;
      var[row] = s;
    }
    const C scale = inverse_deviation(s, eps);
    r.write(y + begin, [&](C v, int c) {
      C out = (v - m) * scale * affine.w(c) + affine.b(c);
      if (residual) out += static_cast<C>(residual[begin + c]);
      return activation.value(out);
    });
  });
}

template <class T>
struct Forward {
  using C = compute_t<T>;
  static constexpr int kVector = cuda::detail::kMapVector<T>;

  const Tensor& x;
  const NormLayout& l;
  NormAffine<C> affine;
  double eps;
  const T* residual;
  NormActivation<C> activation;
  C *mean, *var;
  T* y;

  void rows() const {
    with_row_groups<kVector>(l.batch, l.channels, rows_pack(l.channels, kVector, x.data<T>(), y),
                             [&]<int kWidth, bool kKept>(const RowGroups& at) {
                               launch(layer_norm_rows<kWidth, kKept, T>, at.config(), x.data<T>(),
                                      residual, at, affine, eps, activation, mean, var, y);
                             });
  }

  void channels(bool given) const {
    Tensor moments;
    Moments<C>* per_channel = nullptr;
    if (!given) {
      const int64_t bytes = l.batch * l.channels * static_cast<int64_t>(sizeof(Moments<C>));
      moments = empty({bytes}, DType::u8, x.device());
      per_channel = static_cast<Moments<C>*>(moments.raw_data());
      cuda::reduce<T>(view::reshape(x, {l.batch, l.spatial, l.channels}),
                      Shape{l.batch, 1, l.channels}, MomentsReducer<T>{}, per_channel);
    }
    const int64_t size = l.batch * l.channels, groups = l.batch * l.groups();
    const Tensor memory = empty({3 * size}, dtype_of<C>(), x.device());
    C* const k = memory.data<C>();
    const Coefficients<C> coefficients{k, k + size, k + 2 * size};
    const int threads = norm_group_threads(l);
    launch(norm_coefficients<C>, {grid_for(groups, kNormBlock / threads), kNormBlock}, per_channel,
           groups, l.groups(), l.group, threads, eps, affine, mean, var, coefficients);
    if (norm_packs(l, kVector, x.data<T>(), residual, y))
      apply<kVector>(coefficients);
    else
      apply<1>(coefficients);
  }

  template <int kWidth>
  void apply(const Coefficients<C>& coefficients) const {
    const NormTiles tiles(l, kWidth);
    launch(norm_apply<kWidth, T>, {tiles.count, kNormBlock}, x.data<T>(), residual, coefficients,
           tiles, activation, y);
  }
};

void channel_norm_cuda(const Tensor& x, const NormLayout& l, const Tensor& weight,
                       const Tensor& bias, double eps, bool given, const NormEpilogue& epilogue,
                       Tensor& mean, Tensor& var, Tensor& y) {
  if (x.numel() == 0) return;
  dispatch_floating(x.dtype(), "channel_norm", [&]<class T>() {
    using C = compute_t<T>;
    const NormWeights<C> weights(weight, bias);
    const T* residual = epilogue.residual.defined() ? epilogue.residual.data<T>() : nullptr;
    const Forward<T> forward{x,
                             l,
                             weights.affine(),
                             eps,
                             residual,
                             {epilogue.activation},
                             mean.data<C>(),
                             var.data<C>(),
                             y.data<T>()};
    if (!given && is_layer_norm(l))
      forward.rows();
    else
      forward.channels(given);
  });
}

TESSERA_KERNEL(channel_norm, cuda, channel_norm_cuda);

}  // namespace
}  // namespace tessera
