#include "tensor/tensor.h"

#include <algorithm>
#include <cstring>

#include "tensor/view.h"

namespace tessera {

Storage::Storage(size_t bytes, Device device)
    : data(allocator(device).allocate(bytes)), bytes(bytes), device(device) {}

Storage::~Storage() {
  if (data) allocator(device).deallocate(data, bytes);
}

TensorImpl::TensorImpl() = default;
TensorImpl::~TensorImpl() = default;
AutogradMeta::~AutogradMeta() {
  if (node) destroy_later(std::move(node));
}

void destroy_later(std::shared_ptr<void> object) noexcept {
  thread_local std::vector<std::shared_ptr<void>>* queue = nullptr;
  if (queue) {
    queue->push_back(std::move(object));
    return;
  }
  std::vector<std::shared_ptr<void>> pending;
  queue = &pending;
  pending.push_back(std::move(object));
  while (!pending.empty()) {
    std::shared_ptr<void> next = std::move(pending.back());
    pending.pop_back();
    next.reset();  // may append to the queue
  }
  queue = nullptr;
}

int64_t Tensor::size(int64_t axis) const { return shape()[normalize_axis(axis, rank(), "size")]; }

bool Tensor::is_contiguous() const {
  const TensorImpl& t = impl();
  if (t.shape.has_zero()) return true;
  int64_t step = 1;
  for (int i = t.shape.rank() - 1; i >= 0; --i) {
    if (t.shape[i] != 1 && t.strides[i] != step) return false;
    step *= t.shape[i];
  }
  return true;
}

void* Tensor::raw_data() const {
  const TensorImpl& t = impl();
  return static_cast<std::byte*>(t.storage->data) + t.offset * size_of(t.dtype);
}

template <class T>
std::vector<T> Tensor::to_vector() const {
  Tensor source = view::contiguous(view::to(detach(), kCpu));
  std::vector<T> out(static_cast<size_t>(source.numel()));
  dispatch_all(dtype(), "to_vector", [&]<class S>() {
    const S* p = source.data<S>();
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = static_cast<T>(static_cast<compute_t<S>>(p[i]));
  });
  return out;
}
template std::vector<float> Tensor::to_vector<float>() const;
template std::vector<double> Tensor::to_vector<double>() const;
template std::vector<int64_t> Tensor::to_vector<int64_t>() const;
template std::vector<int32_t> Tensor::to_vector<int32_t>() const;
template std::vector<uint8_t> Tensor::to_vector<uint8_t>() const;

template <class T>
T Tensor::item_as() const {
  TESSERA_CHECK(ShapeError, numel() == 1, "item(): needs one element, got shape ", shape());
  return to_vector<T>()[0];
}
template double Tensor::item_as<double>() const;
template int64_t Tensor::item_as<int64_t>() const;

bool Tensor::requires_grad() const {
  const auto& meta = impl().meta;
  return meta && (meta->requires_grad || meta->node);
}

bool Tensor::is_leaf() const {
  const auto& meta = impl().meta;
  return !meta || meta->requires_grad || !meta->node;
}

Tensor& Tensor::set_requires_grad(bool value) {
  TESSERA_CHECK(Error, is_leaf(), "set_requires_grad: only a leaf can be changed; use detach()");
  TESSERA_CHECK(DTypeError, !value || is_floating(dtype()),
                "set_requires_grad: only floating tensors have gradients, this one is ", dtype());
  TensorImpl& t = impl();
  if (!value) {
    t.meta.reset();
    return *this;
  }
  if (!t.meta) t.meta = std::make_unique<AutogradMeta>();
  t.meta->requires_grad = true;
  return *this;
}

Tensor Tensor::grad() const { return impl().meta ? impl().meta->grad : Tensor(); }

void Tensor::set_grad(Tensor grad) {
  TensorImpl& t = impl();
  TESSERA_CHECK(ShapeError, !grad.defined() || grad.shape() == shape(), "set_grad: gradient is ",
                grad.shape(), ", tensor is ", shape());
  TESSERA_CHECK(DTypeError, !grad.defined() || grad.dtype() == dtype(), "set_grad: gradient is ",
                grad.dtype(), ", tensor is ", dtype());
  if (!t.meta) {
    if (!grad.defined()) return;
    t.meta = std::make_unique<AutogradMeta>();
  }
  t.meta->grad = std::move(grad);
}

Tensor Tensor::detach() const { return view::alias(*this); }

void Tensor::set_data(const Tensor& other) {
  TensorImpl& t = impl();
  const TensorImpl& o = other.impl();
  // Whatever saved this tensor for backward must find another version.
  const uint32_t newer = std::max(version(), other.version()) + 1;
  t.storage = o.storage;
  t.storage->version.store(newer, std::memory_order_relaxed);
  t.shape = o.shape;
  t.strides = o.strides;
  t.offset = o.offset;
  t.dtype = o.dtype;
  if (!t.meta) return;
  t.meta->grad = Tensor();
  if (t.meta->node) destroy_later(std::move(t.meta->node));
}

Tensor empty(const Shape& shape, DType dtype, Device device) {
  const int64_t count = numel(shape);
  auto impl = std::make_shared<TensorImpl>();
  impl->storage = std::make_shared<Storage>(static_cast<size_t>(count * size_of(dtype)), device);
  impl->shape = shape;
  impl->strides = contiguous_strides(shape);
  impl->dtype = dtype;
  return Tensor(std::move(impl));
}

Tensor full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  kernel::fill(device, t, value);
  return t;
}
Tensor zeros(const Shape& shape, DType dtype, Device device) {
  return full(shape, 0.0, dtype, device);
}
Tensor ones(const Shape& shape, DType dtype, Device device) {
  return full(shape, 1.0, dtype, device);
}
Tensor empty_like(const Tensor& like) { return empty(like.shape(), like.dtype(), like.device()); }
Tensor zeros_like(const Tensor& like) { return zeros(like.shape(), like.dtype(), like.device()); }
Tensor ones_like(const Tensor& like) { return ones(like.shape(), like.dtype(), like.device()); }
Tensor full_like(const Tensor& like, double value) {
  return full(like.shape(), value, like.dtype(), like.device());
}

Tensor arange(int64_t n, DType dtype, Device device) {
  TESSERA_CHECK(ValueError, n >= 0, "arange: n must not be negative, got ", n);
  std::vector<int64_t> values(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) values[static_cast<size_t>(i)] = i;
  return view::to(view::to(from_vector(values), dtype), device);
}

template <class T>
Tensor from_vector(const std::vector<T>& values, const Shape& shape, Device device) {
  TESSERA_CHECK(ShapeError, static_cast<int64_t>(values.size()) == numel(shape),
                "from_vector: ", values.size(), " values do not fill shape ", shape);
  Tensor t = empty(shape, dtype_of<T>());
  if (!values.empty()) std::memcpy(t.raw_data(), values.data(), values.size() * sizeof(T));
  return view::to(t, device);
}
template Tensor from_vector(const std::vector<float>&, const Shape&, Device);
template Tensor from_vector(const std::vector<double>&, const Shape&, Device);
template Tensor from_vector(const std::vector<int64_t>&, const Shape&, Device);
template Tensor from_vector(const std::vector<int32_t>&, const Shape&, Device);
template Tensor from_vector(const std::vector<uint8_t>&, const Shape&, Device);

Tensor from_blob(void* data, const Shape& shape, DType dtype, std::shared_ptr<void> owner) {
  struct Borrowed {
    Storage storage{0, kCpu};
    std::shared_ptr<void> owner;
    ~Borrowed() { storage.data = nullptr; }
  };
  auto borrowed = std::make_shared<Borrowed>();
  borrowed->owner = std::move(owner);
  borrowed->storage.data = data;
  borrowed->storage.bytes = static_cast<size_t>(numel(shape) * size_of(dtype));
  auto impl = std::make_shared<TensorImpl>();
  impl->storage = std::shared_ptr<Storage>(borrowed, &borrowed->storage);
  impl->shape = shape;
  impl->strides = contiguous_strides(shape);
  impl->dtype = dtype;
  return Tensor(std::move(impl));
}

}  // namespace tessera
