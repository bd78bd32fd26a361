#pragma once

#include "tensor/tensor.h"

namespace tessera {

/// Pixels added at each side of an image.
struct ImagePad {
  int64_t left = 0, right = 0, top = 0, bottom = 0;
};

/// What the new pixels hold: a constant; the image mirrored without repeating the edge (pad <
/// size); the edge pixel; the image repeated (pad <= size).
enum class PadMode { constant, reflect, replicate, circular };

/// Pads images x (N, H, W, C). Any dtype. Differentiable, any order. `value` is used by
/// PadMode::constant only. Throws ShapeError (rank, a pad too large for the mode), ValueError
/// (negative pad; slice() crops).
Tensor pad(const Tensor& x, const ImagePad& pads, PadMode mode = PadMode::constant,
           double value = 0);

/// Adds before[i] and after[i] elements of `value` to each axis i of any tensor. Any dtype.
/// Differentiable, any order: the gradient is a slice. ShapeError for a count that is not x's rank,
/// ValueError for negative entries.
Tensor pad_constant(const Tensor& x, const Dims& before, const Dims& after, double value = 0);

}  // namespace tessera
