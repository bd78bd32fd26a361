#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "cuda/emulator/cuda_types.h"
#include "cuda/emulator/warp.h"

/// What cuda/tensor_core.h is on the emulator: warp operations over the documented layouts of their
/// operands' registers.
namespace tessera::cuda::emulator {

/// Fails unless a row that ldmatrix reads lies, aligned, in shared memory.
void check_matrix_row(const void* row, size_t bytes, Location where);

inline float from_bf16(unsigned bits) { return std::bit_cast<float>(bits << 16); }

struct MmaInput {
  const uint32_t* a;
  const uint32_t* b;
  const float* c;
};
struct MmaOutput {
  float d[4];
};

/// D (16 x 8) = A (16 x 16) B (16 x 8) + C. Lane l holds, with g = l / 4 and t = l % 4,
///   a[r] = A[g + 8 (r % 2)][2 t + 8 (r / 2)] and its right neighbour
///   b[r] = B[2 t + 8 r][g] and the one below
///   c[i], d[i] = [g + 8 (i / 2)][2 t + i % 2]
struct MmaBf16Op {
  TESSERA_EMULATOR_UNCHECKED static void resolve(unsigned arrived, const MmaInput* const* in,
                                                 MmaOutput* const* out) {
    if (arrived != 0xffffffffu) fail("mma.sync needs all 32 lanes of the warp");
    float a[16][16], b[16][8];
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, t = lane % 4;
      for (int r = 0; r < 4; ++r)
        for (int half = 0; half < 2; ++half)
          a[g + 8 * (r % 2)][2 * t + 8 * (r / 2) + half] =
              from_bf16(in[lane]->a[r] >> (16 * half) & 0xffffu);
      for (int r = 0; r < 2; ++r)
        for (int half = 0; half < 2; ++half)
          b[2 * t + 8 * r + half][g] = from_bf16(in[lane]->b[r] >> (16 * half) & 0xffffu);
    }
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, t = lane % 4;
      for (int i = 0; i < 4; ++i) {
        float sum = in[lane]->c[i];
        for (int k = 0; k < 16; ++k) sum += a[g + 8 * (i / 2)][k] * b[k][2 * t + i % 2];
        out[lane]->d[i] = sum;
      }
    }
  }
};

struct MatrixRegisters {
  uint32_t r[4];
};

/// Four 8 x 8 matrices of 16-bit elements: lane 8 i + j gave the address of row j of matrix i; lane
/// l gets elements 2 (l % 4) and the next of row l / 4, or of column l / 4 when transposed.
template <bool kTransposed>
struct LoadMatrixOp {
  TESSERA_EMULATOR_UNCHECKED static void resolve(unsigned arrived, const void* const* const* in,
                                                 MatrixRegisters* const* out) {
    if (arrived != 0xffffffffu) fail("ldmatrix needs all 32 lanes of the warp");
    for (int matrix = 0; matrix < 4; ++matrix)
      for (int lane = 0; lane < 32; ++lane) {
        uint32_t packed = 0;
        for (int half = 0; half < 2; ++half) {
          const int along = 2 * (lane % 4) + half, across = lane / 4;
          const int row = kTransposed ? along : across, column = kTransposed ? across : along;
          const auto* elements = static_cast<const uint16_t*>(*in[8 * matrix + row]);
          packed |= uint32_t{elements[column]} << (16 * half);
        }
        out[lane]->r[matrix] = packed;
      }
  }
};

template <bool kTransposed>
void load_matrix(uint32_t (&r)[4], const void* row, Location where) {
  check_matrix_row(row, 16, where);
  const auto loaded =
      collective<LoadMatrixOp<kTransposed>, const void*, MatrixRegisters>(0xffffffffu, row, where);
  for (int i = 0; i < 4; ++i) r[i] = loaded.r[i];
}

}  // namespace tessera::cuda::emulator
