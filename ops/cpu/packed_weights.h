#pragma once

#include <functional>
#include <memory>
#include <string>

#include "tensor/tensor.h"

namespace tessera::cpu {

/// `w` in the layout named `layout`, `bytes` large, as `pack` writes it. Weights that are used a
/// second time at one version of their storage get a copy of their own, which the next use after a
/// change drops; one per storage, offset, shape and layout. Others (a training step changes them
/// before each use) go through a block of the calling thread: use the result before the next call.
/// Thread-safe.
std::shared_ptr<Storage> packed_weights(const Tensor& w, const std::string& layout, size_t bytes,
                                        const std::function<void(void* target)>& pack);
/// Copies that are held now.
int64_t packed_weight_count();

}  // namespace tessera::cpu
