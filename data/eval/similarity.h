#pragma once

#include <cstdint>
#include <functional>
#include <span>

namespace tessera::data {

/// All inner products of two sets of float32 vectors, row-major:
///   a (rows, dim)   b (cols, dim)   out (rows, cols), out[i, j] = sum over k of a[i, k] * b[j, k]
/// Each sum is one float32 chain in the order of k, product and addition rounded separately. So the
/// result has the same bits on every processor, for every number of threads, with a and b swapped,
/// and whichever other rows are computed along with it: equal features get equal scores, and a
/// score computed again later is the same score. dim >= 1; the sizes of the spans must be
/// consistent (ShapeError). Runs on all threads; needs 64 * dim bytes of scratch per thread.
void inner_products(std::span<const float> a, std::span<const float> b, int64_t dim,
                    std::span<float> out);

/// One inner product, with the bits that inner_products gives.
float inner_product(const float* a, const float* b, int64_t dim);

/// Calls use(row, similarities) for every row of the matrix of inner products of `features`
/// (rows, dim) with itself, on all threads at once; `similarities` (rows) may be overwritten.
/// Blocks of rows of at most 64 MiB, or one row, are held at a time.
void for_each_similarity_row(std::span<const float> features, int64_t dim,
                             const std::function<void(int64_t, std::span<float>)>& use);

}  // namespace tessera::data
