#include "cuda/ordered_scatter.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>
#include <vector>

#include "cuda/allocator.h"
#include "cuda/emulator/options.h"
#include "tensor/allocator.h"

namespace tessera::cuda {
namespace {

constexpr Device kGpu{DeviceType::cuda, 0};

class OrderedScatter : public ::testing::Test {
 protected:
  void SetUp() override { register_allocator(kGpu, &allocator_of(0)); }
};

template <class T>
Tensor upload(const std::vector<T>& values) {
  Tensor t = empty({static_cast<int64_t>(values.size())}, dtype_of<T>(), kGpu);
  if (!values.empty()) copy_to_device(t.raw_data(), values.data(), values.size() * sizeof(T));
  return t;
}
template <class T>
std::vector<T> download(const Tensor& t) {
  std::vector<T> values(static_cast<size_t>(t.numel()));
  if (!values.empty()) copy_to_host(values.data(), t.raw_data(), values.size() * sizeof(T));
  return values;
}

uint32_t scrambled(uint32_t i) {
  i = (i ^ (i >> 16)) * 0x45d9f3bu;
  i = (i ^ (i >> 16)) * 0x45d9f3bu;
  return i ^ (i >> 16);
}

struct Pattern {
  const char* name;
  std::function<int64_t(int64_t row, int64_t destinations)> destination;
};
const Pattern kPatterns[] = {
    {"scattered", [](int64_t r, int64_t n) { return scrambled(static_cast<uint32_t>(r)) % n; }},
    {"all to the last", [](int64_t, int64_t n) { return n - 1; }},
    {"descending", [](int64_t r, int64_t n) { return n - 1 - r % n; }},
    {"long runs", [](int64_t r, int64_t n) { return r / 150 % n; }},
    {"one far away", [](int64_t r, int64_t n) { return r == 3 ? 0 : n / 2; }},
};

std::vector<int64_t> index_of(const Pattern& p, int64_t rows, int64_t destinations) {
  std::vector<int64_t> index;
  for (int64_t r = 0; r < rows; ++r) index.push_back(p.destination(r, destinations));
  return index;
}

TEST_F(OrderedScatter, SortIsStable) {
  for (const Pattern& p : kPatterns)
    for (int64_t rows : {1, 31, 2049, 4200})
      for (int64_t destinations : {1, 255, 256, 20000000}) {
        const std::vector<int64_t> index = index_of(p, rows, destinations);
        const RowOrder sorted =
            order_rows(upload(index).data<int64_t>(), rows, destinations, "test");
        std::vector<int32_t> want(static_cast<size_t>(rows));
        std::iota(want.begin(), want.end(), 0);
        std::stable_sort(want.begin(), want.end(), [&](int32_t a, int32_t b) {
          return index[static_cast<size_t>(a)] < index[static_cast<size_t>(b)];
        });
        const auto where = cat(p.name, ", ", rows, " rows to ", destinations);
        ASSERT_EQ(download<int32_t>(sorted.order), want) << where;
        const std::vector<int32_t> keys = download<int32_t>(sorted.keys);
        for (size_t i = 0; i < keys.size(); ++i)
          ASSERT_EQ(keys[i], index[static_cast<size_t>(want[i])]) << where << " at " << i;
      }
}

TEST_F(OrderedScatter, NoRows) {
  const RowOrder sorted = order_rows(nullptr, 0, 5, "test");
  const Tensor out = upload<float>({1, 2, 3, 4, 5});
  add_ordered(sorted, 1, 1, RowSource<float>{nullptr, 0, 1}, out.data<float>());
  EXPECT_EQ(download<float>(out), (std::vector<float>{1, 2, 3, 4, 5}));
}

TEST_F(OrderedScatter, ReportsAnIndexOutOfRangeAndLeavesItOut) {
  for (int64_t bad : {int64_t{-1}, int64_t{4}, int64_t{1} << 40}) {
    const Tensor index = upload<int64_t>({0, bad, 3});
    try {
      order_rows(index.data<int64_t>(), 3, 4, "index_add");
      FAIL() << bad;
    } catch (const ValueError& e) {
      EXPECT_EQ(std::string(e.what()), cat("index_add: index ", bad, " is outside [0, 4)"));
    }
  }
  const RowOrder sorted = order_rows(upload<int32_t>({2, 4, 0, 4}), 4);
  const Tensor out = upload<float>({0, 0, 0, 0}), rows = upload<float>({1, 2, 3, 4});
  add_ordered(sorted, 1, 1, RowSource<float>{rows.data<float>(), 4, 1}, out.data<float>());
  EXPECT_EQ(download<float>(out), (std::vector<float>{3, 0, 1, 0}));
}

// Whole numbers, whose sums are exact in every order.
template <class T>
void check_sums(const Pattern& p, int64_t batch, int64_t rows, int64_t destinations,
                int64_t channels, int64_t chunk = 0) {
  const std::vector<int64_t> index = index_of(p, rows, destinations);
  std::vector<T> src, start;
  for (int64_t i = 0; i < batch * rows * channels; ++i)
    src.push_back(static_cast<T>(static_cast<float>(scrambled(static_cast<uint32_t>(i)) % 3)));
  for (int64_t i = 0; i < batch * destinations * channels; ++i)
    start.push_back(static_cast<T>(static_cast<float>(i % 5)));
  std::vector<compute_t<T>> want;
  for (T v : start) want.push_back(static_cast<compute_t<T>>(v));
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < channels; ++c)
        want[static_cast<size_t>((b * destinations + index[static_cast<size_t>(r)]) * channels +
                                 c)] +=
            static_cast<compute_t<T>>(src[static_cast<size_t>((b * rows + r) * channels + c)]);
  const Tensor out = upload(start), from = upload(src);
  const RowOrder sorted = order_rows(upload(index).data<int64_t>(), rows, destinations, "test");
  add_ordered(sorted, batch, channels, RowSource<T>{from.data<T>(), rows, channels}, out.data<T>(),
              chunk);
  const std::vector<T> got = download<T>(out);
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_EQ(static_cast<double>(static_cast<compute_t<T>>(got[i])),
              static_cast<double>(static_cast<compute_t<T>>(static_cast<T>(want[i]))))
        << p.name << ": " << batch << " x " << rows << " x " << channels << " to " << destinations
        << ", element " << i;
}

TEST_F(OrderedScatter, AddsUpEveryRow) {
  for (const Pattern& p : kPatterns)
    for (int64_t rows : {1, 5, 300, 1111})
      for (int64_t destinations : {1, 7, 3000})
        for (int64_t channels : {1, 8}) {
          check_sums<float>(p, 1, rows, destinations, channels);
          if (HasFatalFailure()) return;
        }
  for (const Pattern& p : kPatterns) {
    for (int64_t chunk : {8, 64, 256}) check_sums<float>(p, 2, 777, 5, 3, chunk);
    check_sums<float>(p, 3, 130, 9, 12);
    check_sums<double>(p, 2, 70, 5, 6);
    check_sums<Half>(p, 2, 70, 5, 16);
    check_sums<BFloat16>(p, 1, 70, 50, 5);
    check_sums<int64_t>(p, 2, 70, 5, 2);
    check_sums<int32_t>(p, 2, 70, 5, 4);
    check_sums<uint8_t>(p, 1, 70, 5, 8);
    if (HasFatalFailure()) return;
  }
}

TEST_F(OrderedScatter, WeightsRowsThatSeveralShare) {
  const Tensor weight = upload<float>({1, 2, 3, 4, 5, 6}), data = upload<float>({1, 10, 2, 20});
  const RowOrder sorted = order_rows(upload<int32_t>({1, 0, 1, 1, 3, 0}), 3);
  const Tensor out = upload<float>({0, 0, 0, 0, 0, 0});
  add_ordered(sorted, 1, 2,
              WeightedRowSource<float, 3>{data.data<float>(), weight.data<float>(), 2},
              out.data<float>());
  EXPECT_EQ(download<float>(out), (std::vector<float>{14, 140, 12, 120, 0, 0}));
}

// Fractions of very different size: their sum depends on the order, which must not change.
TEST_F(OrderedScatter, TheSameBitsTwice) {
  const int64_t rows = 4000, channels = 4;
  const std::vector<int64_t> index = index_of(kPatterns[3], rows, 6);
  std::vector<float> src;
  for (int64_t i = 0; i < rows * channels; ++i) {
    const uint32_t bits = scrambled(static_cast<uint32_t>(i));
    src.push_back(
        std::ldexp(1.0f / static_cast<float>(1 + bits % 97), static_cast<int>(bits % 40)));
  }
  std::vector<std::vector<float>> results;
  for (int run = 0; run < 2; ++run) {
    const Tensor out = upload(std::vector<float>(6 * channels, 0.0f)), from = upload(src);
    const RowOrder sorted = order_rows(upload(index).data<int64_t>(), rows, 6, "test");
    add_ordered(sorted, 1, channels, RowSource<float>{from.data<float>(), rows, channels},
                out.data<float>());
    results.push_back(download<float>(out));
    emulator::options().order = emulator::Order::reverse;
  }
  emulator::options().order = emulator::Order::forward;
  EXPECT_EQ(std::memcmp(results[0].data(), results[1].data(), results[0].size() * sizeof(float)),
            0);
}

}  // namespace
}  // namespace tessera::cuda
