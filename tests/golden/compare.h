#pragma once

#include <span>
#include <string>

#include "tensor/tensor.h"
#include "tests/golden/files.h"

namespace tessera::golden {

/// Where torch's layout differs from ours, it is always in one way: images (NCHW), filters (OIHW),
/// transposed filters (IOHW) and channel-first vectors carry on axis 1 what Tessera carries last.
enum class Layout { plain, channels_second };

/// A tensor with Tessera's layout and `dtype` from torch's elements; and the elements back as f64.
Tensor from_torch(const std::vector<float>& values, const std::vector<int64_t>& shape,
                  Layout layout, DType dtype);
Reference to_torch(const Tensor& tensor, Layout layout);

/// Allowed: |got - want| <= relative * max|want| + absolute, at every element.
struct Tolerance {
  double relative = 0, absolute = 0;
};

/// Fails the running test with one line (`title`, the worst error relative to max|want|, its index
/// and both values) when the shapes or some values differ.
void expect_close(const std::string& title, const Reference& got, const Reference& want,
                  Tolerance tolerance);
void expect_close(const std::string& title, double got, double want, Tolerance tolerance);

}  // namespace tessera::golden
