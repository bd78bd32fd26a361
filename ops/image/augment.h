#pragma once

#include <vector>

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

struct AugmentOptions {
  int64_t height = 0, width = 0;  ///< of the result
  /// Per channel, of values in [0, 1]; empty: 0 and 1.
  std::vector<double> mean{}, stddev{};
  /// What erased elements become, per channel, in the result's units; empty: 0.
  std::vector<double> erase_value{};
};

/// Crops, mirrors, normalises and erases a batch of 8-bit images in one pass, as data/transform.h
/// does one by one on the host.
///   images     u8 (N, H, W, C)
///   placement  i32 (N, 7): top and left of the crop in the image (negative or beyond it: padding
///              with 0); 1 to mirror the crop, else 0; top, left, height and width of the rectangle
///              of the result that is erased (height or width 0: none)
///   returns    f32 (N, height, width, C): (x / 255 - mean) / stddev
/// No gradient. Throws ShapeError (ranks, N, 7 columns, lengths of the options), DTypeError,
/// DeviceError, ValueError (sizes < 1, stddev 0). Traffic: reads the crop, writes the result.
Tensor augment_images(const Tensor& images, const Tensor& placement, const AugmentOptions& options);

namespace kernel {
/// constants: f32 (3, C): 1 / (255 stddev), -mean / stddev, erase_value. Contiguous tensors.
extern KernelSlot<void(const Tensor& images, const Tensor& placement, const Tensor& constants,
                       Tensor& y)>
    augment_images;
}  // namespace kernel

}  // namespace tessera
