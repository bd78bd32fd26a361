#pragma once

#include <cstddef>
#include <vector>

#include "cuda/emulator/device_memory.h"
#include "cuda/emulator/options.h"

namespace tessera::cuda::testing {

/// Elements in the emulated device's memory.
template <class T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(size_t size)
      : data_(static_cast<T*>(emulator::device_malloc(size * sizeof(T)))), size_(size) {}
  explicit DeviceBuffer(const std::vector<T>& values) : DeviceBuffer(values.size()) {
    emulator::copy_in(data_, values.data(), size_ * sizeof(T));
  }
  ~DeviceBuffer() { emulator::device_free(data_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  T* data() const { return data_; }
  size_t size() const { return size_; }
  void fill_zero() const { emulator::device_memset(data_, 0, size_ * sizeof(T)); }
  std::vector<T> values() const {
    std::vector<T> out(size_);
    emulator::copy_out(out.data(), data_, size_ * sizeof(T));
    return out;
  }

 private:
  T* data_;
  size_t size_;
};

/// Other options while this lives.
class WithOptions {
 public:
  explicit WithOptions(const emulator::Options& changed) : before_(emulator::options()) {
    emulator::options() = changed;
  }
  ~WithOptions() { emulator::options() = before_; }
  WithOptions(const WithOptions&) = delete;
  WithOptions& operator=(const WithOptions&) = delete;

 private:
  const emulator::Options before_;
};

/// body() in every order that threads can take turns in, random with three seeds.
template <class Body>
void in_every_order(const Body& body) {
  using emulator::Order;
  for (const auto& [order, seeds] : {std::pair{Order::forward, 1}, std::pair{Order::reverse, 1},
                                     std::pair{Order::depth_first, 1}, std::pair{Order::random, 3}})
    for (int seed = 1; seed <= seeds; ++seed) {
      emulator::Options changed = emulator::options();
      changed.order = order;
      changed.seed = static_cast<uint64_t>(seed);
      const WithOptions with(changed);
      body();
    }
}

/// "plain", "asan" or "check".
const char* emulator_mode();

}  // namespace tessera::cuda::testing
