#pragma once

#include <atomic>
#include <iosfwd>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "tensor/allocator.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace tessera {

class Node;  // a step of the autograd graph; see autograd/node.h
class Tensor;
using Tensors = std::vector<Tensor>;

/// A block of device memory shared by the tensors that view it. `version` counts in-place writes.
struct Storage {
  Storage(size_t bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data;
  size_t bytes;
  Device device;
  std::atomic<uint32_t> version{0};
};

struct AutogradMeta;

/// What a Tensor handle points to. Code outside tensor/ and autograd/ uses Tensor.
struct TensorImpl {
  std::shared_ptr<Storage> storage;
  Shape shape;
  Strides strides;
  int64_t offset = 0;  // in elements
  DType dtype = DType::f32;
  std::unique_ptr<AutogradMeta> meta;  // only where a gradient is involved

  TensorImpl();
  ~TensorImpl();
};

/// A cheap handle on strided memory: copies share the elements and the autograd state. A default
/// constructed tensor is undefined. Images are (N, H, W, C), filters (O, KH, KW, I), matrices (M,
/// N).
///
/// The functions that compute with tensors are free functions in ops/; the ones in tensor/view.h
/// are the raw views kernels use and are not recorded for differentiation.
class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(std::shared_ptr<TensorImpl> impl) : impl_(std::move(impl)) {}

  bool defined() const { return impl_ != nullptr; }
  const Shape& shape() const { return impl().shape; }
  const Strides& strides() const { return impl().strides; }
  int rank() const { return shape().rank(); }
  /// Size of one axis; negative counts from the end. Throws ValueError out of range.
  int64_t size(int64_t axis) const;
  int64_t numel() const { return tessera::numel(shape()); }
  DType dtype() const { return impl().dtype; }
  Device device() const { return impl().storage->device; }
  bool is_contiguous() const;
  /// Bytes of the elements, without the gaps of a strided view.
  int64_t nbytes() const { return numel() * size_of(dtype()); }

  /// Pointer to element 0 in device memory. T must match dtype() (DTypeError otherwise).
  template <class T>
  T* data() const {
    TESSERA_CHECK(DTypeError, dtype() == dtype_of<T>(), "data(): tensor is ", to_string(dtype()),
                  ", asked for ", to_string(dtype_of<T>()));
    return static_cast<T*>(raw_data());
  }
  void* raw_data() const;
  /// The single element as T; ShapeError when numel() != 1. Copies from the device.
  template <class T = double>
  T item() const {
    constexpr bool integer = std::is_integral_v<T> && !std::is_same_v<T, bool>;
    return static_cast<T>(item_as<std::conditional_t<integer, int64_t, double>>());
  }
  /// All elements, row-major, converted to T (exact for every dtype but huge i64 to floating).
  template <class T>
  std::vector<T> to_vector() const;

  /// Autograd state. A leaf is a tensor that no recorded operator produced.
  bool requires_grad() const;
  /// Only for leaves of a floating dtype (Error / DTypeError otherwise).
  Tensor& set_requires_grad(bool value);
  bool is_leaf() const;
  /// The gradient accumulated by backward(); undefined before.
  Tensor grad() const;
  /// Replaces it. ShapeError / DTypeError unless it is undefined or like the tensor.
  void set_grad(Tensor grad);
  /// The same elements without autograd state.
  Tensor detach() const;
  /// In-place writes so far, counted per storage.
  uint32_t version() const { return impl().storage->version.load(std::memory_order_relaxed); }
  void bump_version() const { impl().storage->version.fetch_add(1, std::memory_order_relaxed); }
  /// Replaces elements, shape, dtype and device of this tensor, for every handle that shares it;
  /// keeps requires_grad and drops the gradient. Counts as an in-place write.
  void set_data(const Tensor& other);

  bool shares_storage(const Tensor& other) const { return impl().storage == other.impl().storage; }
  const std::shared_ptr<TensorImpl>& impl_ptr() const { return impl_; }

 private:
  TensorImpl& impl() const {
    TESSERA_CHECK(Error, impl_, "use of an undefined tensor");
    return *impl_;
  }
  template <class T>
  T item_as() const;
  std::shared_ptr<TensorImpl> impl_;
};

/// Autograd state of a tensor: where its gradient goes.
struct AutogradMeta {
  bool requires_grad = false;  // set by the user on a leaf
  std::shared_ptr<Node> node;  // producer, or the leaf's accumulator once it has been used
  uint32_t slot = 0;           // which output of `node`
  Tensor grad;
  ~AutogradMeta();
};

/// Destroys `object` without recursion: objects released while another is being destroyed wait in a
/// queue, so that freeing a chain of a million graph nodes does not overflow the stack.
void destroy_later(std::shared_ptr<void> object) noexcept;

/// Uninitialised contiguous tensor.
Tensor empty(const Shape& shape, DType dtype = DType::f32, Device device = kCpu);
Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = kCpu);
Tensor ones(const Shape& shape, DType dtype = DType::f32, Device device = kCpu);
Tensor full(const Shape& shape, double value, DType dtype = DType::f32, Device device = kCpu);
/// 0, 1, ..., n - 1.
Tensor arange(int64_t n, DType dtype = DType::i64, Device device = kCpu);
/// Contiguous tensors of the shape, dtype and device of `like`.
Tensor empty_like(const Tensor& like);
Tensor zeros_like(const Tensor& like);
Tensor ones_like(const Tensor& like);
Tensor full_like(const Tensor& like, double value);
/// A tensor that holds a copy of `values`. ShapeError when the count does not fit the shape.
template <class T>
Tensor from_vector(const std::vector<T>& values, const Shape& shape, Device device = kCpu);
template <class T>
Tensor from_vector(const std::vector<T>& values) {
  return from_vector(values, Shape{static_cast<int64_t>(values.size())});
}
/// A tensor over memory it does not own (host); `owner` is kept alive with it. The memory must hold
/// numel(shape) elements, row-major.
Tensor from_blob(void* data, const Shape& shape, DType dtype, std::shared_ptr<void> owner);

/// NumPy-like text: nested brackets, shortened past 1000 elements, then shape and dtype if not f32.
std::string to_string(const Tensor& tensor);
std::ostream& operator<<(std::ostream& out, const Tensor& tensor);

}  // namespace tessera
