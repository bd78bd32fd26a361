#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace tessera::cuda::emulator {

/// What the access checker remembers of a few neighbouring bytes. Blocks are numbered over all
/// launches, from 1; epochs are the stretches between a block's barriers, times those between a
/// warp's __syncwarp(); threads are numbered within their block.
struct Cell {
  uint32_t writer_block, writer_epoch, writer_time;
  uint32_t reader_block, reader_epoch, reader_time;
  uint32_t reader_lanes;  // of reader_warp, at reader_time or before and not yet ordered since
  uint16_t writer_thread;
  uint8_t reader_warp;
  uint8_t written : 1, by_atomic : 1, many_warps_read : 1, many_blocks_read : 1, in_flight : 1;
};
static_assert(sizeof(Cell) == 32);

/// Cells of a stretch of memory. Each stands for 4 bytes until an access is finer or not aligned;
/// then they are split to 2 bytes or 1, for the whole stretch: nobody has to say how large the
/// elements of an allocation are.
class Cells {
 public:
  static constexpr size_t kCoarsest = 4;

  /// Forgets everything. `granule`: 1, 2 or 4.
  void reset(size_t bytes, size_t granule = kCoarsest) {
    bytes_ = bytes;
    granule_ = granule;
    const size_t count = (bytes + granule - 1) / granule;
    if (count > capacity_) {
      cells_ = make(count);
      capacity_ = count;
    } else if (count > 0) {
      std::memset(static_cast<void*>(cells_.get()), 0, count * sizeof(Cell));
    }
  }
  void release() {
    cells_.reset();
    bytes_ = capacity_ = 0;
  }

  /// f(cell) for each cell of [offset, offset + count), which lies within the stretch.
  template <class F>
  void each(size_t offset, size_t count, F&& f) {
    if (((offset | count) & (granule_ - 1)) != 0) [[unlikely]]
      split((offset | count) & 1 ? 1 : 2);
    const size_t last = (offset + count - 1) / granule_;
    for (size_t i = offset / granule_; i <= last; ++i) f(cells_[i]);
  }

  /// Takes over what is known of another stretch's bytes being written at all.
  void copy_written(size_t offset, Cells& from, size_t from_offset, size_t count) {
    const size_t granule =
        std::min({granule_, from.granule_, aligned_to(offset | count), aligned_to(from_offset)});
    split(granule);
    from.split(granule);
    const auto* source = from.cells_.get() + from_offset / granule;
    auto* target = cells_.get() + offset / granule;
    const size_t cells = (count + granule - 1) / granule;
    const bool up = this == &from && target > source;
    for (size_t k = 0; k < cells; ++k) {
      const size_t i = up ? cells - 1 - k : k;
      const uint8_t written = source[i].written;
      target[i] = Cell{};
      target[i].written = written;
    }
  }

  size_t granule() const { return granule_; }

 private:
  struct Free {
    void operator()(Cell* cells) const { std::free(cells); }
  };
  using Memory = std::unique_ptr<Cell[], Free>;

  static Memory make(size_t count) {  // calloc: what is never touched costs nothing
    auto* cells = static_cast<Cell*>(std::calloc(count, sizeof(Cell)));
    if (!cells) throw std::bad_alloc();
    return Memory(cells);
  }
  static size_t aligned_to(size_t offset) { return offset & 1 ? 1 : offset & 2 ? 2 : 4; }

  void split(size_t granule) {
    if (granule >= granule_) return;
    const size_t count = (bytes_ + granule - 1) / granule, parts = granule_ / granule;
    Memory finer = make(count);
    for (size_t i = 0; i < count; ++i) finer[i] = cells_[i / parts];
    cells_ = std::move(finer);
    capacity_ = count;
    granule_ = granule;
  }

  Memory cells_;
  size_t bytes_ = 0, capacity_ = 0, granule_ = kCoarsest;
};

}  // namespace tessera::cuda::emulator
