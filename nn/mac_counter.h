#pragma once

#include <cstdint>

namespace tessera::nn {

/// Counts the multiply-adds per image of the convolution and linear layers that run on this thread
/// while it lives. They depend on the shapes alone: an empty batch is enough. Counters nest: the
/// innermost counts.
class MacCounter {
 public:
  MacCounter() : outer_(current_) { current_ = this; }
  ~MacCounter() { current_ = outer_; }
  MacCounter(const MacCounter&) = delete;
  MacCounter& operator=(const MacCounter&) = delete;

  int64_t macs() const { return macs_; }
  /// Called by the layers, with what one image of the batch takes; does nothing when nobody counts.
  static void add(int64_t macs) {
    if (current_) current_->macs_ += macs;
  }

 private:
  static inline thread_local MacCounter* current_ = nullptr;
  MacCounter* outer_;
  int64_t macs_ = 0;
};

}  // namespace tessera::nn
