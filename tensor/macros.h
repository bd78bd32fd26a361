#pragma once

/// Marks a function that both the CPU kernels and the CUDA kernels include.
#if defined(__CUDACC__)
#define TESSERA_HD __host__ __device__
#else
#define TESSERA_HD
#endif

#define TESSERA_CAT_INNER(a, b) a##b
#define TESSERA_CAT(a, b) TESSERA_CAT_INNER(a, b)
