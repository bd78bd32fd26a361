// The device's memory as the host sees it.

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "cuda/emulator/machine.h"
#include "cuda/launch.h"
#include "tensor/dtype.h"
#include "tests/cuda/device_buffer.h"

namespace tessera::cuda::testing {
namespace {

using emulator::machine;

bool checks() { return std::string(emulator_mode()) == "check"; }

TEST(Memory, AlignedCopiedFilledAndFreed) {
  const size_t live = machine().heap.live_bytes();
  for (const size_t size : {1, 3, 255, 256, 257, 4096, 4097, 100000, 5000000}) {
    std::vector<unsigned char> in(size), out(size);
    for (size_t i = 0; i < size; ++i) in[i] = static_cast<unsigned char>(i * 7 + size);
    auto* a = static_cast<unsigned char*>(emulator::device_malloc(size));
    auto* b = static_cast<unsigned char*>(emulator::device_malloc(size));
    ASSERT_NE(a, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(a) % 256, 0u);
    emulator::copy_in(a, in.data(), size);
    emulator::copy_within(b, a, size);
    emulator::copy_out(out.data(), b, size);
    EXPECT_EQ(in, out);
    if (size > 100) {  // overlapping
      emulator::copy_within(b + 10, b, size - 10);
      emulator::copy_out(out.data(), b + 10, size - 10);
      EXPECT_EQ(std::memcmp(in.data(), out.data(), size - 10), 0);
    }
    emulator::device_memset(a, 5, size);
    emulator::copy_out(out.data(), a, size);
    EXPECT_EQ(out, std::vector<unsigned char>(size, 5));
    emulator::device_free(a);
    emulator::device_free(b);
  }
  EXPECT_EQ(machine().heap.live_bytes(), live);
}

TEST(Memory, RangesAreChecked) {
  std::vector<char> host(200);
  auto* a = static_cast<char*>(emulator::device_malloc(100));
  EXPECT_THROW(emulator::copy_in(a, host.data(), 101), CudaError);
  EXPECT_THROW(emulator::copy_in(a - 1, host.data(), 1), CudaError);
  EXPECT_THROW(emulator::copy_in(a + 100, host.data(), 1), CudaError);
  EXPECT_THROW(emulator::copy_out(host.data(), host.data(), 1), CudaError);
  EXPECT_THROW(emulator::device_memset(a + 1, 0, 100), CudaError);
  EXPECT_THROW(emulator::copy_within(a, host.data(), 10), CudaError);
  EXPECT_THROW(emulator::device_free(a + 1), CudaError);
  EXPECT_THROW(emulator::device_free(host.data()), CudaError);
  emulator::device_free(a);
  EXPECT_THROW(emulator::device_free(a), CudaError);
  EXPECT_THROW(emulator::copy_in(a, host.data(), 1), CudaError);
  emulator::device_free(nullptr);
}

TEST(Memory, FreshMemoryHoldsNan) {
  if (checks()) GTEST_SKIP() << "the checker does not let it be read";
  const DeviceBuffer<float> x(1000);
  for (const float v : x.values()) ASSERT_TRUE(std::isnan(v));
}

TEST(Memory, TheDeviceIsFullAtSomePoint) {
  size_t free = 0, total = 0;
  emulator::memory_info(free, total);
  EXPECT_EQ(emulator::device_malloc(free + 1), nullptr);
  const DeviceBuffer<char> some(12345);
  size_t later = 0;
  emulator::memory_info(later, total);
  EXPECT_EQ(later, free - 12345);
}

// Addresses are used again, but not at once.
TEST(Memory, AddressesAreUsedAgain) {
  void* first = emulator::device_malloc(10000);
  emulator::device_free(first);
  void* second = emulator::device_malloc(10000);
  EXPECT_NE(first, second);
  emulator::device_free(second);
  std::mt19937 random(1);
  const auto churn = [&](int count) {
    std::vector<void*> live;
    for (int i = 0; i < count; ++i) {
      live.push_back(emulator::device_malloc(random() % 60000 + 1));
      if (live.size() > 50) {
        std::swap(live[random() % live.size()], live.back());
        emulator::device_free(live.back());
        live.pop_back();
      }
    }
    for (void* p : live) emulator::device_free(p);
  };
  churn(20000);
  const size_t settled = machine().heap.used_addresses();
  churn(60000);
  EXPECT_LE(machine().heap.used_addresses(), settled + settled / 5);
}

__global__ void add_bytes(unsigned char* y, const unsigned char* x, int n) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < n) y[i] = static_cast<unsigned char>(x[i] + 1);
}
__global__ void add_halves(Half* y, const Half* x, int n) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < n) y[i] = Half(x[i] + 1.0f);
}
__global__ void negate(bool* y, const bool* x, int n) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < n) y[i] = !x[i];
}
template <class T, class F>
void elements_of_any_size(void (*kernel)(T*, const T*, int), T (*value)(int), const F& expected) {
  in_every_order([&] {
    for (const int n : {1, 2, 3, 5, 17, 63}) {
      std::vector<char> in(static_cast<size_t>(n) * sizeof(T)), out(in.size());
      for (int i = 0; i < n; ++i) {
        const T v = value(i);
        std::memcpy(in.data() + static_cast<size_t>(i) * sizeof(T), &v, sizeof(T));
      }
      const DeviceBuffer<T> x(static_cast<size_t>(n)), y(static_cast<size_t>(n));
      emulator::copy_in(x.data(), in.data(), in.size());
      launch(kernel, {1, 64}, y.data(), static_cast<const T*>(x.data()), n);
      emulator::copy_out(out.data(), y.data(), out.size());
      for (int i = 0; i < n; ++i) {
        T v;
        std::memcpy(&v, out.data() + static_cast<size_t>(i) * sizeof(T), sizeof(T));
        EXPECT_EQ(static_cast<float>(v), expected(i));
      }
    }
  });
}
TEST(Memory, ElementsOfAnySize) {
  elements_of_any_size<unsigned char>(
      add_bytes, [](int i) { return static_cast<unsigned char>(i); },
      [](int i) { return static_cast<float>(i + 1); });
  elements_of_any_size<Half>(
      add_halves, [](int i) { return Half(static_cast<float>(i)); },
      [](int i) { return static_cast<float>(i + 1); });
  elements_of_any_size<bool>(
      negate, [](int i) { return i % 3 == 0; }, [](int i) { return i % 3 == 0 ? 0.0f : 1.0f; });
}

// What is never read may stay unwritten, whatever is done with it but bringing it to the host.
TEST(Memory, UnwrittenBytes) {
  const std::vector<unsigned char> some(7, 1);
  const DeviceBuffer<unsigned char> a(100), b(100);
  emulator::copy_in(a.data() + 11, some.data(), some.size());
  emulator::copy_within(b.data(), a.data(), 100);
  std::vector<unsigned char> out(100);
  emulator::copy_out(out.data(), b.data() + 11, 7);
  EXPECT_EQ(out[6], 1);
  if (!checks()) return;
  EXPECT_THROW(emulator::copy_out(out.data(), b.data() + 11, 8), CudaError);
  EXPECT_THROW(emulator::copy_out(out.data(), b.data() + 10, 7), CudaError);
  EXPECT_THROW(emulator::copy_out(out.data(), a.data(), 100), CudaError);
  emulator::mark_written(a.data(), 100);
  EXPECT_NO_THROW(emulator::copy_out(out.data(), a.data(), 100));
}

// The host cannot touch device memory, before or after a kernel has.
TEST(MemoryDeathTest, TheHostKeepsOut) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  const DeviceBuffer<unsigned char> x(64), y(64);
  x.fill_zero();
  launch(add_bytes, {1, 64}, y.data(), static_cast<const unsigned char*>(x.data()), 64);
  EXPECT_DEATH(static_cast<void>(*const_cast<volatile unsigned char*>(y.data())),
               "host code touched a device allocation, byte 0 of 64");
  emulator::Options open = emulator::options();
  open.host_guard = false;
  const WithOptions with(open);
  const DeviceBuffer<unsigned char> z(64);
  z.fill_zero();
  EXPECT_EQ(*z.data(), 0);
  launch(add_bytes, {1, 64}, z.data(), static_cast<const unsigned char*>(x.data()), 64);
  EXPECT_EQ(z.data()[63], 1);
}

}  // namespace
}  // namespace tessera::cuda::testing
