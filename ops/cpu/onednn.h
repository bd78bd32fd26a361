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
enum class Scratch { scratchpad, result, weights };
const std::shared_ptr<Storage>& scratch(Scratch purpose, size_t bytes);

/// `w` in the layout `to`, converted from the layout `from` it is stored in by `reorder`. The copy
/// is kept while w's storage lives and made again when the storage's version has changed; only one
/// is kept per storage, offset and pair of layouts. Weights that change before every use (training)
/// get no copy of their own after a while, they go through the thread's scratch block: use the
/// result before the next call. Thread-safe.
std::shared_ptr<Storage> packed_weights(const Tensor& w, const dnnl::memory::desc& from,
                                        const dnnl::memory::desc& to, const dnnl::reorder& reorder);
/// Copies that are held now.
int64_t packed_weight_count();

}  // namespace tessera::cpu::onednn

#endif
