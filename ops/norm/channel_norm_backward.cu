#include "cuda/map.cuh"
#include "cuda/rows.cuh"
#include "ops/norm/channel_norm_cuda.cuh"

namespace tessera {
namespace {

using namespace cuda;
using cuda::detail::ceil_div;
using cuda::detail::load_pack;
using cuda::detail::Pack;

// Sums of h and of h (x - mean), where h is g after the activation.
struct Products {
  double first, second;
};
struct ProductsReducer {
  using Wide = Products;
  __device__ Wide wide() const { return {0, 0}; }
  __device__ void merge(Wide& a, const Wide& b) const {
    a.first += b.first;
    a.second += b.second;
  }
  __device__ Wide finish(const Wide& a) const { return a; }
};

// What both passes read of an element; y may be null without an activation.
template <class T>
struct Sources {
  const T *g, *x, *y;
  NormActivation<compute_t<T>> activation;
};
template <int kVector, class T>
struct SourcePacks {
  Pack<T, kVector> g, x, y;

  __device__ __forceinline__ void load(const Sources<T>& from, int64_t at, bool with_x) {
    g = load_pack<kVector>(from.g + at, 1);
    if (with_x) x = load_pack<kVector>(from.x + at, 1);
    if (from.activation.kind != Activation::none) y = load_pack<kVector>(from.y + at, 1);
  }
  __device__ __forceinline__ compute_t<T> h(const Sources<T>& from, int i) const {
    using C = compute_t<T>;
    const C v = static_cast<C>(g.v[i]);
    return from.activation.kind == Activation::none
               ? v
               : from.activation.grad(v, static_cast<C>(y.v[i]));
  }
};

// Where norm_products reads its means: one per batch entry and group of channels, or, for the
// weights of a layer norm, one per row with a variance, whose deviation then divides the products.
template <class C>
struct Centres {
  const C *mean, *var;
  int64_t groups, group;
  double eps;
};

// The products of each batch entry and channel of (batch, rows, channels). Blocks as in
// cuda::reduce_columns, the blockIdx.y-th piece of `piece` rows each; 32 rows are summed in C,
// these in f64. Where `masked` is not null h is written there. Reads g, x and, with an activation,
// y once.
template <int kVector, bool kPerRow, class T>
__global__ void __launch_bounds__(kNormBlock, 1)
    norm_products(Sources<T> from, Centres<compute_t<T>> centres, int64_t packs, int64_t rows,
                  int64_t channels, int width, int64_t piece, T* masked,
                  cuda::detail::ReduceResult<Products, ProductsReducer> result) {
  using C = compute_t<T>;
  constexpr int kUnroll = kVector == 1 ? 4 : 2, kFlush = 32 / kUnroll;
  TESSERA_SHARED(Products, scratch, [kVector][kNormBlock / 2]);
  const int depth = kNormBlock / width, column = static_cast<int>(threadIdx.x) % width;
  const int behind = static_cast<int>(threadIdx.x) / width;
  const int64_t begin = blockIdx.y * piece, end = begin + piece < rows ? begin + piece : rows;
  const ProductsReducer reducer;
  for (int64_t base = int64_t{blockIdx.x} * width; base < packs;
       base += int64_t{gridDim.x} * width) {
    const bool inside = base + column < packs;
    const int64_t output = (base + column) * kVector;
    const int64_t b = output / channels, c = output - b * channels;
    Products total[kVector];
    C shift[kVector];
    TESSERA_UNROLL
    for (int k = 0; k < kVector; ++k) {
      total[k] = {0, 0};
      shift[k] =
          inside && !kPerRow ? centres.mean[b * centres.groups + (c + k) / centres.group] : 0;
    }
    const int64_t origin = b * rows * channels + c;
    for (int64_t row = begin + behind; inside && row < end;) {
      C first[kVector] = {}, second[kVector] = {};
      for (int n = 0; n < kFlush && row < end; ++n, row += kUnroll * depth) {
        SourcePacks<kVector, T> in[kUnroll];
        TESSERA_UNROLL
        for (int u = 0; u < kUnroll; ++u)
          if (row + u * depth < end) in[u].load(from, origin + (row + u * depth) * channels, true);
        TESSERA_UNROLL
        for (int u = 0; u < kUnroll; ++u) {
          const int64_t r = row + u * depth;
          if (r >= end) continue;
          const C centre = kPerRow ? centres.mean[r] : C(0);
          const C scale =
              kPerRow ? C(1) / math::sqrt(centres.var[r] + static_cast<C>(centres.eps)) : C(1);
          Pack<T, kVector> h_out;
          TESSERA_UNROLL
          for (int k = 0; k < kVector; ++k) {
            const C h = in[u].h(from, k), x = static_cast<C>(in[u].x.v[k]);
            first[k] += h;
            second[k] += kPerRow ? h * (x - centre) * scale : h * (x - shift[k]);
            h_out.v[k] = static_cast<T>(h);
          }
          if (masked) *reinterpret_cast<Pack<T, kVector>*>(masked + origin + r * channels) = h_out;
        }
      }
      TESSERA_UNROLL
      for (int k = 0; k < kVector; ++k)
        reducer.merge(total[k], {static_cast<double>(first[k]), static_cast<double>(second[k])});
    }
    cuda::detail::merge_block_rows(reducer, total, behind, depth, width, scratch);
    if (behind == 0 && inside) {
      TESSERA_UNROLL
      for (int k = 0; k < kVector; ++k) result.store(reducer, total[k], output + k);
    }
  }
}

// gx = a h + (p (x - shift) + q), each (batch, channels).
template <class C>
struct GradCoefficients {
  C *a, *p, *q, *shift;
};

// With S1 = sum h, S2 = sum h (x - mean) per channel, A = sum over the group of weight * S, n
// elements per group and r = 1 / sqrt(var + eps):
//   gx = r weight h - r^3 A2 / n (x - mean) - r A1 / n.
// `products` is null for given statistics, whose gradient has the first term alone. A few threads
// (a power of two) own a group of channels of a batch entry.
template <class C>
__global__ void __launch_bounds__(kNormBlock, 1)
    norm_grad_coefficients(const Products* products, int64_t groups, int64_t per_entry,
                           int64_t group, int threads, double n, double eps, NormAffine<C> affine,
                           const C* mean, const C* var, GradCoefficients<C> out) {
  TESSERA_SHARED(double, scratch, [kNormBlock / 32]);
  const int lane = static_cast<int>(threadIdx.x) % threads;
  const int64_t per_block = kNormBlock / threads;
  for (int64_t base = blockIdx.x * per_block; base < groups; base += gridDim.x * per_block) {
    const int64_t g = base + threadIdx.x / static_cast<unsigned>(threads);
    const bool inside = g < groups;
    const int64_t channel = g % per_entry * group;
    double a1 = 0, a2 = 0;
    if (products) {
      if (inside)
        for (int64_t k = lane; k < group; k += threads) {
          const double w = static_cast<double>(affine.w(channel + k));
          a1 += w * products[g * group + k].first;
          a2 += w * products[g * group + k].second;
        }
      a1 = group_reduce(a1, threads, SumOp{}, scratch);
      a2 = group_reduce(a2, threads, SumOp{}, scratch);
    }
    if (!inside) continue;
    const C scale = inverse_deviation(var[g], eps), m = mean[g];
    const double r = static_cast<double>(scale);
    for (int64_t k = lane; k < group; k += threads) {
      const int64_t at = g * group + k;
      out.a[at] = scale * affine.w(channel + k);
      out.p[at] = static_cast<C>(-r * r * r * a2 / n);
      out.q[at] = static_cast<C>(-r * a1 / n);
      out.shift[at] = m;
    }
  }
}

// gw = sum over the batch of r S2, gb of S1; r is 1 where var is null. One thread per channel.
template <class C>
__global__ void __launch_bounds__(kNormBlock, 1)
    norm_weight_grads(const Products* products, int64_t batch, int64_t channels, int64_t group,
                      double eps, const C* var, C* gw, C* gb) {
  const int64_t c = int64_t{blockIdx.x} * kNormBlock + threadIdx.x;
  if (c >= channels) return;
  double weight = 0, bias = 0;
  for (int64_t b = 0; b < batch; ++b) {
    const Products s = products[b * channels + c];
    const double r =
        var ? static_cast<double>(inverse_deviation(var[b * (channels / group) + c / group], eps))
            : 1.0;
    weight += r * s.second;
    bias += s.first;
  }
  gw[c] = static_cast<C>(weight);
  gb[c] = static_cast<C>(bias);
}

// gx by NormTiles. Bound by memory: each tensor once; x only where kCentred, otherwise p = q = 0.
template <int kVector, bool kCentred, class T>
__global__ void __launch_bounds__(kNormBlock, 1)
    norm_input_grad(Sources<T> from, GradCoefficients<compute_t<T>> k, NormTiles tiles, T* gx) {
  using C = compute_t<T>;
  constexpr int kUnroll = kNormUnroll / 2;
  const NormPlace at(tiles, kVector);
  if (at.row >= at.end) return;
  const int64_t of_entry = at.b * tiles.channels + at.channel;
  Pack<C, kVector> p, q, shift;
  const auto a = load_coefficients<kVector>(k.a + of_entry);
  if (kCentred) {
    p = load_coefficients<kVector>(k.p + of_entry);
    q = load_coefficients<kVector>(k.q + of_entry);
    shift = load_coefficients<kVector>(k.shift + of_entry);
  }
  const int64_t begin = at.b * tiles.rows * tiles.channels + at.channel;
  for (int64_t first = at.row; first < at.end; first += kUnroll * at.step) {
    SourcePacks<kVector, T> in[kUnroll];
    TESSERA_UNROLL
    for (int u = 0; u < kUnroll; ++u)
      if (first + u * at.step < at.end)
        in[u].load(from, begin + (first + u * at.step) * tiles.channels, kCentred);
    TESSERA_UNROLL
    for (int u = 0; u < kUnroll; ++u) {
      const int64_t row = first + u * at.step;
      if (row >= at.end) continue;
      Pack<T, kVector> out;
      TESSERA_UNROLL
      for (int i = 0; i < kVector; ++i) {
        C v = a.v[i] * in[u].h(from, i);
        if (kCentred) v += p.v[i] * (static_cast<C>(in[u].x.v[i]) - shift.v[i]) + q.v[i];
        out.v[i] = static_cast<T>(v);
      }
      *reinterpret_cast<Pack<T, kVector>*>(gx + begin + row * tiles.channels) = out;
    }
  }
}

// gx of a layer norm, a group of threads per row (RowGroups); rows that fit are read once.
template <int kVector, bool kKept, class T>
__global__ void __launch_bounds__(kRowBlock, 1)
    layer_norm_input_grad(const T* g, const T* x, RowGroups at, NormAffine<compute_t<T>> affine,
                          double eps, const compute_t<T>* mean, const compute_t<T>* var, T* gx) {
  using C = compute_t<T>;
  TESSERA_SHARED(C, scratch, [kRowBlock / 32]);
  for_rows(at, [&](int64_t row, int lane) {
    const bool inside = row < at.rows;
    const int64_t begin = row * at.n;
    const int64_t n = inside ? at.n : 0;
    const C m = inside ? mean[row] : C(0);
    const C scale = inside ? inverse_deviation(var[row], eps) : C(0);
    const RowPacks<kVector, kKept, T> from(g + begin, n, lane, at.group);
    const RowPacks<kVector, kKept, T> values(x + begin, n, lane, at.group);
    C a1 = 0, a2 = 0;
    from.with(values, [&](C h, C v, int c) {
      a1 += h * affine.w(c);
      a2 += h * affine.w(c) * (v - m);
    });
    const C inv = C(1) / static_cast<C>(at.n);
    a1 = group_reduce(a1, at.group, SumOp{}, scratch) * inv;
    a2 = group_reduce(a2, at.group, SumOp{}, scratch) * (inv * scale * scale);
    from.write_with(values, gx + begin,
                    [&](C h, C v, int c) { return scale * (h * affine.w(c) - a1 - (v - m) * a2); });
  });
}

template <class C>
struct Mask {
  NormActivation<C> activation;
  __device__ C operator()(C g, C y) const { return activation.grad(g, y); }
};

template <class T>
struct Backward {
  using C = compute_t<T>;
  static constexpr int kVector = cuda::detail::kMapVector<T>;

  Tensor g;
  const Tensor &x, &y;
  const NormLayout& l;
  NormAffine<C> affine;
  double eps;
  bool given;
  Activation activation;
  const C *mean, *var;

  Sources<T> sources() const {
    return {g.data<T>(),
            x.data<T>(),
            activation == Activation::none ? nullptr : y.data<T>(),
            {activation}};
  }

  void run(NormGradients& out) {
    const bool centred = !given && out.x.defined();
    T* masked = out.residual.defined() ? out.residual.data<T>() : nullptr;
    Tensor products;
    if (centred || out.weight.defined()) {
      products = reduce<false>(l.batch, l.spatial, masked);
      weight_grads(products, l.batch, var, out);
    } else if (masked) {
      cuda::map<T, T, T>(out.residual, Mask<C>{{activation}}, g, y);
    }
    if (!out.x.defined()) return;
    if (masked) {
      g = out.residual;
      activation = Activation::none;
    }
    input_grad(centred ? products : Tensor(), out.x);
  }

  void run_layer_norm(NormGradients& out) {
    if (out.weight.defined()) weight_grads(reduce<true>(1, l.batch, nullptr), 1, nullptr, out);
    if (!out.x.defined()) return;
    T* gx = out.x.data<T>();
    with_row_groups<kVector>(l.batch, l.channels,
                             rows_pack(l.channels, kVector, g.data<T>(), x.data<T>(), gx),
                             [&]<int kWidth, bool kKept>(const RowGroups& at) {
                               launch(layer_norm_input_grad<kWidth, kKept, T>, at.config(),
                                      g.data<T>(), x.data<T>(), at, affine, eps, mean, var, gx);
                             });
  }

 private:
  // (batch, channels) Products, as bytes.
  template <bool kPerRow>
  Tensor reduce(int64_t batch, int64_t rows, T* masked) const {
    const int64_t outputs = batch * l.channels;
    Tensor bytes = empty({outputs * static_cast<int64_t>(sizeof(Products))}, DType::u8, x.device());
    auto* sums = static_cast<Products*>(bytes.raw_data());
    const Sources<T> from = sources();
    constexpr int kPack = std::min(4, kVector);
    if (norm_packs(l, kPack, from.g, from.x, from.y, masked))
      reduce_packs<kPack, kPerRow>(from, batch, rows, masked, sums);
    else
      reduce_packs<1, kPerRow>(from, batch, rows, masked, sums);
    return bytes;
  }

  template <int kWidth, bool kPerRow>
  void reduce_packs(const Sources<T>& from, int64_t batch, int64_t rows, T* masked,
                    Products* sums) const {
    using Result = cuda::detail::ReduceResult<Products, ProductsReducer>;
    const int64_t outputs = batch * l.channels, packs = outputs / kWidth;
    const Centres<C> centres{mean, var, l.groups(), l.group, eps};
    const int width = cuda::detail::column_width(packs, rows);
    const auto pass = [&](unsigned pieces, int64_t piece, Products* partial) {
      launch(norm_products<kWidth, kPerRow, T>, {dim3(grid_for(packs, width), pieces), kNormBlock},
             from, centres, packs, rows, l.channels, width, piece, masked,
             Result{sums, partial, outputs});
    };
    cuda::detail::reduce_in_pieces(cuda::detail::kReduceBlocks / ceil_div(packs, width),
                                   8 * kNormBlock / width, rows, outputs, ProductsReducer{},
                                   x.device(), sums, pass);
  }

  void weight_grads(const Tensor& products, int64_t batch, const C* variances,
                    NormGradients& out) const {
    if (!out.weight.defined()) return;
    const auto blocks = static_cast<unsigned>(ceil_div(l.channels, kNormBlock));
    launch(norm_weight_grads<C>, {blocks, kNormBlock},
           static_cast<const Products*>(products.raw_data()), batch, l.channels, l.group, eps,
           variances, out.weight.data<C>(), out.bias.data<C>());
  }

  void input_grad(const Tensor& products, Tensor& gx) const {
    const int64_t size = l.batch * l.channels, groups = l.batch * l.groups();
    const Tensor memory = empty({4 * size}, dtype_of<C>(), x.device());
    C* const k = memory.data<C>();
    const GradCoefficients<C> coefficients{k, k + size, k + 2 * size, k + 3 * size};
    const int threads = norm_group_threads(l);
    const auto* sums =
        products.defined() ? static_cast<const Products*>(products.raw_data()) : nullptr;
    launch(norm_grad_coefficients<C>, {grid_for(groups, kNormBlock / threads), kNormBlock}, sums,
           groups, l.groups(), l.group, threads, static_cast<double>(l.count()), eps, affine, mean,
           var, coefficients);
    const bool centred = products.defined();
    const Sources<T> from = sources();
    T* to = gx.data<T>();
    const auto apply = [&]<int kWidth, bool kCentred>() {
      const NormTiles tiles(l, kWidth);
      launch(norm_input_grad<kWidth, kCentred, T>, {tiles.count, kNormBlock}, from, coefficients,
             tiles, to);
    };
    const bool packed = norm_packs(l, kVector, from.g, from.x, from.y, to);
    if (packed && centred) return apply.template operator()<kVector, true>();
    if (packed) return apply.template operator()<kVector, false>();
    if (centred) return apply.template operator()<1, true>();
    apply.template operator()<1, false>();
  }
};

void channel_norm_backward_cuda(const Tensor& g, const Tensor& x, const Tensor& y,
                                const NormLayout& l, const Tensor& weight, double eps, bool given,
                                Activation activation, const Tensor& mean, const Tensor& var,
                                NormGradients& out) {
  if (x.numel() == 0) {
    if (out.weight.defined()) fill_(out.weight, 0), fill_(out.bias, 0);
    return;
  }
  const bool active = activation != Activation::none;
  dispatch_floating(x.dtype(), "channel_norm_backward", [&]<class T>() {
    using C = compute_t<T>;
    const NormWeights<C> weights(weight, Tensor());
    Backward<T> pass{
        g, x, y, l, weights.affine(), eps, given, activation, mean.data<C>(), var.data<C>()};
    if (!given && !active && is_layer_norm(l))
      pass.run_layer_norm(out);
    else
      pass.run(out);
  });
}

TESSERA_KERNEL(channel_norm_backward, cuda, channel_norm_backward_cuda);

}  // namespace
}  // namespace tessera
