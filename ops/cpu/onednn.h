#pragma once

#if !defined(TESSERA_REFERENCE)

#include <dnnl.hpp>

#include <memory>

#include "tensor/tensor.h"

/// What operators that call oneDNN share.
namespace tessera::cpu::onednn {

const dnnl::engine& engine();
/// The calling thread's stream. Execution is synchronous.
dnnl::stream& stream();

/// Makes oneDNN split its work over num_threads() threads, or run on the calling thread inside a
/// parallel region; returns that number. To be called before a primitive is made and before it
/// runs; a cached primitive's key holds the number.
int use_our_threads();

/// Memory that a thread reuses from call to call, one growing block per purpose.
enum class Scratch { scratchpad, result };
const std::shared_ptr<Storage>& scratch(Scratch purpose, size_t bytes);

}  // namespace tessera::cpu::onednn

#endif
