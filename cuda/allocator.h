#pragma once

#include "tensor/allocator.h"

namespace tessera::cuda {

/// The allocator of one GPU. Freed memory is kept and reused: blocks are cut from segments of the
/// runtime's, joined with their free neighbours when they are given back, and whole segments go
/// back to the runtime where a request would fail without. As all kernels of a GPU are queued on
/// one stream, memory may be reused as soon as it is freed: what used it before runs first. Blocks
/// are aligned to 512 bytes. The limit is TESSERA_CUDA_MEMORY_LIMIT (bytes); without one the GPU's
/// memory is the limit.
///
/// On the emulator every block is the runtime's own, so that guards lie around each tensor.
Allocator& allocator_of(int device);

}  // namespace tessera::cuda
