#pragma once

#include <functional>

#include "tensor/tensor.h"

namespace tessera {

/// Activation checkpointing: runs fn(inputs) without recording and runs it again during backward,
/// so only the inputs are held in between. `parameters` lists the leaves fn uses besides its
/// inputs; they receive their gradients as usual. The thread's default generator is put back for
/// the second run, so dropout draws the same mask; other side effects (running statistics) happen
/// twice. Differentiable to any order. Throws ValueError for a parameter that is no leaf. Source:
/// Chen et al., arXiv 1604.06174.
Tensors checkpoint(std::function<Tensors(const Tensors&)> fn, const Tensors& inputs,
                   const Tensors& parameters = {});

}  // namespace tessera
