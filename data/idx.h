#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "data/dataset.h"

namespace tessera::data {

/// An array of bytes from an IDX file, row-major.
struct IdxArray {
  std::vector<int64_t> shape;
  std::vector<uint8_t> values;
};

/// Reads an IDX file of unsigned bytes, plain or gzip (by content): magic 0, 0, 8, rank; then one
/// big-endian u32 per axis; then the values. Source: the MNIST database's format description.
/// Throws IoError naming the file for another magic or type, a rank outside 1 to 4, more than
/// max_values values, truncated or surplus data, or a damaged gzip stream. Memory grows with what
/// the file really holds, not with what its header claims.
IdxArray read_idx(const std::filesystem::path& path, int64_t max_values = int64_t{1} << 31);

/// MNIST or Fashion-MNIST from `folder`: {train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz], as
/// 28 x 28 grey images in memory with labels 0 to 9. The pipeline's first mean and std apply; the
/// usual values are 0.1307, 0.3081 (MNIST) and 0.2860, 0.3530 (Fashion-MNIST).
/// Throws IoError when a file is missing or damaged, counts differ or a label is above 9.
std::shared_ptr<MemoryDataset> load_mnist(const std::filesystem::path& folder, bool train,
                                          Pipeline pipeline);

}  // namespace tessera::data
