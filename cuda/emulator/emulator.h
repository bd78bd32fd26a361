#pragma once

/// What a kernel's source file gets from cuda/device.h where the compiler is not nvcc: CUDA's
/// names, defined so that the kernel runs on the CPU, one block at a time, a fiber for each thread.
/// It needs nothing of the CUDA toolkit. See docs/emulator.md.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cuda/emulator/atomics.h"
#include "cuda/emulator/block.h"
#include "cuda/emulator/cuda_types.h"
#include "cuda/emulator/host_api.h"
#include "cuda/emulator/intrinsics.h"
#include "cuda/emulator/kernel_error.h"
#include "cuda/emulator/shared_variable.h"
#include "cuda/emulator/warp.h"
