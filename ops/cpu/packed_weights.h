#pragma once

#include <functional>
#include <memory>
#include <string>

#include "tensor/tensor.h"

namespace tessera::cpu {

/// `w` in the layout named `layout`, `bytes` large, as `pack` writes it. The copy is kept while w's
/// storage lives and made again when the storage's version has changed; one is kept per storage,
/// offset and layout. Weights that change before every use (training) get no copy of their own
/// after a while, they go through a block of the calling thread: use the result before the next
/// call. Thread-safe.
std::shared_ptr<Storage> packed_weights(const Tensor& w, const std::string& layout, size_t bytes,
                                        const std::function<void(void* target)>& pack);
/// Copies that are held now.
int64_t packed_weight_count();

}  // namespace tessera::cpu
