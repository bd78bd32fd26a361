#pragma once

#include "tensor/error.h"

namespace tessera::cuda::emulator {

/// A fault of a kernel, or of a call of the host. The emulator stays usable.
struct KernelError : CudaError {
  using CudaError::CudaError;
};

}  // namespace tessera::cuda::emulator
