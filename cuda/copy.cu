// Copies and fills on the device and between it and the host.

#include "cuda/map.cuh"
#include "tensor/view.h"

namespace tessera::cuda {
namespace {

template <class D, class S>
struct Convert {
  using Wide = compute_t<S>;
  TESSERA_HD compute_t<D> operator()(Wide v) const {
    if constexpr (std::is_same_v<D, bool>)
      return v != Wide(0);
    else
      return static_cast<compute_t<D>>(v);
  }
};

void copy_cuda(const Tensor& src, Tensor& dst) {
  if (dst.numel() == 0) return;
  if (src.dtype() == dst.dtype() && src.is_contiguous() && dst.is_contiguous())
    return copy_on_device(dst.raw_data(), src.raw_data(), static_cast<size_t>(dst.nbytes()));
  dispatch_all(dst.dtype(), "copy", [&]<class D>() {
    dispatch_all(src.dtype(), "copy", [&]<class S>() { map<D, S>(dst, Convert<D, S>{}, src); });
  });
}

template <class T>
struct Constant {
  T value;
  TESSERA_HD T operator()() const { return value; }
};

void fill_cuda(Tensor& dst, double value) {
  if (dst.numel() == 0) return;
  if (value == 0 && dst.is_contiguous())
    return fill_bytes(dst.raw_data(), 0, static_cast<size_t>(dst.nbytes()));
  dispatch_all(dst.dtype(), "fill", [&]<class D>() {
    map<D>(dst, Constant<compute_t<D>>{Convert<D, double>{}(value)});
  });
}

void transfer_cuda(const Tensor& src, Tensor& dst) {
  const auto bytes = static_cast<size_t>(src.nbytes());
  if (src.device().is_cpu())
    copy_to_device(dst.raw_data(), src.raw_data(), bytes);
  else
    copy_to_host(dst.raw_data(), src.raw_data(), bytes);
}

TESSERA_KERNEL(copy, cuda, copy_cuda);
TESSERA_KERNEL(fill, cuda, fill_cuda);
TESSERA_KERNEL(transfer, cuda, transfer_cuda);

}  // namespace
}  // namespace tessera::cuda
