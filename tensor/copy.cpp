#include <cstring>

#include "tensor/stream.h"
#include "tensor/strided_loop.h"
#include "tensor/view.h"

namespace tessera {
namespace {

template <class D, class S>
D convert(S value) {
  if constexpr (std::is_same_v<D, S>) return value;
  const auto wide = static_cast<compute_t<S>>(value);
  if constexpr (std::is_same_v<D, bool>)
    return wide != 0;
  else
    return static_cast<D>(static_cast<compute_t<D>>(wide));
}

// Past the caches. memcpy would decide by the bytes of one thread's range, not by the tensor's.
template <class D, class S>
void copy_streaming(D* to, const S* from, int64_t count) {
  if constexpr (std::is_same_v<D, S>) {
    constexpr int64_t kSize = sizeof(D);
    const int64_t head = std::min(elements_to_line(to), count);
    const int64_t lines = (count - head) / (kStreamLine / kSize) * (kStreamLine / kSize);
    std::copy_n(from, head, to);
    stream_copy(to + head, from + head, lines * kSize);
    std::copy_n(from + head + lines, count - head - lines, to + head + lines);
  } else {
    stream_pieces(to, count, [from](D* __restrict__ p, int64_t first, int64_t n) {
      for (int64_t i = 0; i < n; ++i) p[i] = convert<D>(from[first + i]);
    });
  }
}

template <class D, class S>
void copy_typed(const Tensor& src, Tensor& dst) {
  const S* s = src.data<S>();
  D* d = dst.data<D>();
  const StridedLoop<2> loop(dst.shape(), {dst.strides(), src.strides()});
  const int64_t sd = loop.inner_stride(0), ss = loop.inner_stride(1);
  if (sd == 1 && ss == 1 && worth_streaming(dst.nbytes())) {
    const auto body = [=](const std::array<int64_t, 2>& at, int64_t count) {
      copy_streaming(d + at[0], s + at[1], count);
    };
    return loop.run(body, 16384, stream_fence);
  }
  loop.run([&](const std::array<int64_t, 2>& at, int64_t count) {
    D* out = d + at[0];
    const S* in = s + at[1];
    if (sd == 1 && ss == 1) {
      if constexpr (std::is_same_v<D, S>) {
        std::memcpy(out, in, static_cast<size_t>(count) * sizeof(D));
      } else {
        for (int64_t i = 0; i < count; ++i) out[i] = convert<D>(in[i]);
      }
    } else {
      for (int64_t i = 0; i < count; ++i) out[i * sd] = convert<D>(in[i * ss]);
    }
  });
}

void copy_cpu(const Tensor& src, Tensor& dst) {
  dispatch_all(dst.dtype(), "copy", [&]<class D>() {
    dispatch_all(src.dtype(), "copy", [&]<class S>() { copy_typed<D, S>(src, dst); });
  });
}

void fill_cpu(Tensor& dst, double value) {
  if (value == 0 && dst.is_contiguous() && dst.nbytes() <= 65536) {
    if (dst.numel() > 0) std::memset(dst.raw_data(), 0, static_cast<size_t>(dst.nbytes()));
    return;
  }
  dispatch_all(dst.dtype(), "fill", [&]<class D>() {
    const D typed = convert<D>(value);
    D* d = dst.data<D>();
    const StridedLoop<1> loop(dst.shape(), {dst.strides()});
    const int64_t step = loop.inner_stride(0);
    loop.run([&](const std::array<int64_t, 1>& at, int64_t count) {
      for (int64_t i = 0; i < count; ++i) d[at[0] + i * step] = typed;
    });
  });
}

}  // namespace

constinit KernelSlot<void(const Tensor&, Tensor&)> kernel::copy{"copy"};
constinit KernelSlot<void(Tensor&, double)> kernel::fill{"fill"};
constinit KernelSlot<void(const Tensor&, Tensor&)> kernel::transfer{"transfer"};
TESSERA_KERNEL(copy, cpu, copy_cpu);
TESSERA_KERNEL(fill, cpu, fill_cpu);

void copy_(Tensor& dst, const Tensor& src) {
  const Tensor local = view::to(src, dst.device());
  Tensor shaped = view::broadcast_to(local, dst.shape());
  if (shaped.shares_storage(dst)) shaped = view::clone(shaped);  // they may overlap
  if (dst.numel() > 0) kernel::copy(dst.device(), shaped, dst);
  dst.bump_version();
}

void fill_(Tensor& dst, double value) {
  if (dst.numel() > 0) kernel::fill(dst.device(), dst, value);
  dst.bump_version();
}

}  // namespace tessera
