#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tensor/view.h"

namespace tessera {
namespace {

TEST(Shape, CountsAndLimits) {
  EXPECT_EQ(numel({}), 1);
  EXPECT_EQ(numel({2, 0, 3}), 0);
  EXPECT_EQ(numel({2, 3}), 6);
  EXPECT_THROW(numel({-1}), ShapeError);
  EXPECT_THROW(numel({int64_t{1} << 40, int64_t{1} << 40}), ShapeError);
  EXPECT_THROW(empty({int64_t{1} << 59}, DType::f64), ShapeError);  // its bytes would wrap around
  EXPECT_TRUE(empty({int64_t{1} << 40, int64_t{1} << 40, 0}).is_contiguous());
  EXPECT_TRUE(empty({0, int64_t{1} << 40, int64_t{1} << 40}).is_contiguous());
  EXPECT_EQ(numel({int64_t{1} << 40, int64_t{1} << 40, 0}), 0);
  EXPECT_THROW(Shape({1, 2, 3, 4, 5, 6, 7, 8, 9}), ShapeError);
  EXPECT_EQ(broadcast_shapes({3, 1}, {2, 1, 4}, "t"), Shape({2, 3, 4}));
  EXPECT_THROW(broadcast_shapes({3}, {4}, "t"), ShapeError);
}

TEST(Tensor, DTypesRoundTrip) {
  const std::vector<double> values{0, 1, -2, 3.5};
  for (DType d : {DType::f32, DType::f64, DType::f16, DType::bf16})
    EXPECT_EQ(view::to(from_vector(values), d).to_vector<double>(), values) << d;
  for (DType d : {DType::i64, DType::i32})
    EXPECT_EQ(view::to(from_vector(values), d).to_vector<double>(),
              (std::vector<double>{0, 1, -2, 3}));
  EXPECT_EQ(view::to(from_vector(values), DType::boolean).to_vector<int64_t>(),
            (std::vector<int64_t>{0, 1, 1, 1}));
  const Tensor t = zeros({2});
  EXPECT_THROW(t.data<double>(), DTypeError);
  EXPECT_EQ(promote(DType::f16, DType::bf16), DType::f32);
  EXPECT_EQ(promote(DType::i64, DType::f32), DType::f32);
  EXPECT_EQ(promote(DType::u8, DType::i32), DType::i32);
}

TEST(Tensor, HalfTypesRoundToNearestEven) {
  EXPECT_EQ(static_cast<float>(BFloat16(1.00390625f)), 1.0f);       // halfway, even below
  EXPECT_EQ(static_cast<float>(BFloat16(1.01171875f)), 1.015625f);  // halfway, even above
  EXPECT_TRUE(std::isnan(static_cast<float>(BFloat16(NAN))));
  for (uint32_t bits = 0; bits < 0x7C00u; ++bits) {  // every finite half survives the round trip
    Half h;
    h.bits = static_cast<uint16_t>(bits);
    ASSERT_EQ(Half(static_cast<float>(h)).bits, bits);
  }
  EXPECT_EQ(static_cast<float>(Half(65504.0f)), 65504.0f);
  EXPECT_EQ(static_cast<float>(Half(65519.0f)), 65504.0f);
  EXPECT_EQ(static_cast<float>(Half(1e-8f)), 0.0f);
  EXPECT_EQ(static_cast<float>(Half(-6.0e-8f)), -0x1p-24f);
  EXPECT_TRUE(std::isinf(static_cast<float>(Half(65536.0f))));
  EXPECT_EQ(static_cast<float>(Half(1.00048828125f)), 1.0f);
}

TEST(Tensor, ViewsShareElements) {
  Tensor x = arange(24, DType::f32);
  Tensor y = view::reshape(x, {2, 3, 4});
  Tensor row = view::select(view::select(y, 0, 1), 0, -1);
  EXPECT_EQ(row.to_vector<int64_t>(), (std::vector<int64_t>{20, 21, 22, 23}));
  fill_(row, -1);
  EXPECT_EQ(x.to_vector<int64_t>()[20], -1);
  EXPECT_EQ(x.version(), 1u);  // one storage, one counter
  EXPECT_TRUE(y.shares_storage(x));
}

TEST(Tensor, EveryViewElementIsWhereIndexingSaysItIs) {
  const Tensor x = view::reshape(arange(60, DType::f64), {3, 4, 5});
  const auto at = [](int64_t i, int64_t j, int64_t k) {
    return static_cast<double>((i * 4 + j) * 5 + k);
  };
  const std::vector<double> p = view::permute(x, {2, 0, 1}).to_vector<double>();
  const std::vector<double> s = view::slice(x, 1, -3, 100, 2).to_vector<double>();  // rows 1 and 3
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t j = 0; j < 4; ++j)
      for (int64_t k = 0; k < 5; ++k) {
        EXPECT_EQ(p[static_cast<size_t>((k * 3 + i) * 4 + j)], at(i, j, k));
        if (j % 2 == 0) continue;
        EXPECT_EQ(s[static_cast<size_t>((i * 2 + j / 2) * 5 + k)], at(i, j, k));
      }
  const Tensor b = view::broadcast_to(view::reshape(arange(3, DType::f64), {3, 1}), {2, 3, 2});
  EXPECT_EQ(b.to_vector<int64_t>(), (std::vector<int64_t>{0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2}));
}

TEST(Tensor, ReshapeKeepsViewsWherePossible) {
  const Tensor x = zeros({4, 6});
  EXPECT_TRUE(view::reshape(view::slice(x, 0, 1, 3), {2, 2, 3}).shares_storage(x));
  EXPECT_TRUE(view::reshape(view::slice(x, 1, 0, 4), {2, 2, 2, 2}).shares_storage(x));
  EXPECT_FALSE(view::reshape(view::transpose(x, 0, 1), {24}).shares_storage(x));
  EXPECT_TRUE(view::reshape(view::slice(x, 1, 0, 0), {0, 7}).numel() == 0);
  EXPECT_THROW(view::reshape(x, {5, -1}), ShapeError);
  EXPECT_THROW(view::reshape(x, {-1, -1}), ShapeError);
}

// An axis of size 1 may have any stride: it must not join its neighbours.
TEST(Tensor, ReshapeLooksThroughAxesOfSizeOne) {
  const Tensor x = view::reshape(arange(12), {2, 1, 6});
  const std::vector<int64_t> expected{0, 1, 2, 6, 7, 8};
  EXPECT_EQ(view::reshape(view::slice(x, 2, 0, 3), {6}).to_vector<int64_t>(), expected);
  EXPECT_EQ(view::reshape(view::slice(x, 2, 0, 3), {1, 3, 2, 1}).to_vector<int64_t>(), expected);
  const Tensor kept = view::reshape(view::slice(x, 2, 0, 3), {1, 2, 3, 1});
  EXPECT_EQ(kept.to_vector<int64_t>(), expected);
  EXPECT_TRUE(kept.shares_storage(x));
  // Every shape of up to four axes, sliced and permuted, against the elements in order.
  for (int64_t a : {1, 2})
    for (int64_t b : {1, 3})
      for (int64_t c : {1, 2})
        for (const Dims& order : {Dims{0, 1, 2, 3}, Dims{1, 0, 2, 3}, Dims{0, 2, 1, 3}}) {
          const Tensor base = view::reshape(arange(a * b * c * 5), {a, b, c, 5});
          const Tensor y = view::permute(view::slice(base, 3, 1, 3), order);
          const std::vector<int64_t> values = y.to_vector<int64_t>();
          for (const Shape& s : {Shape{-1}, Shape{1, -1, 1}, Shape{2, -1}, Shape{-1, 1, 2},
                                 Shape{a, -1, c}, Shape{b, 1, -1}})
            EXPECT_EQ(view::reshape(y, s).to_vector<int64_t>(), values) << y.shape() << s;
        }
}

TEST(Tensor, SliceTakesAnyStep) {
  const Tensor x = arange(10);
  EXPECT_EQ(view::slice(x, 0, 2, 9, 3).to_vector<int64_t>(), (std::vector<int64_t>{2, 5, 8}));
  EXPECT_EQ(view::slice(x, 0, 2, 9, INT64_MAX).to_vector<int64_t>(), (std::vector<int64_t>{2}));
  EXPECT_EQ(view::slice(x, 0, 5, 5, INT64_MAX).numel(), 0);
}

TEST(Tensor, AsStridedStaysInside) {
  EXPECT_THROW(view::as_strided(zeros({10}), {3, 3}, {int64_t{1} << 62, int64_t{1} << 62}, 0),
               ShapeError);
  const Tensor x = zeros({10});
  EXPECT_EQ(view::as_strided(x, {3, 4}, {3, 1}, 0).shape(), Shape({3, 4}));
  EXPECT_THROW(view::as_strided(x, {3, 4}, {3, 1}, 1), ShapeError);
  EXPECT_THROW(view::as_strided(x, {2}, {1}, -1), ShapeError);
}

TEST(Tensor, CopyConvertsAndBroadcasts) {
  Tensor x = zeros({2, 3}, DType::i32);
  copy_(x, from_vector(std::vector<double>{1.9, -1.9, 3}));
  EXPECT_EQ(x.to_vector<int64_t>(), (std::vector<int64_t>{1, -1, 3, 1, -1, 3}));
  Tensor t = view::transpose(x, 0, 1);
  copy_(t, view::reshape(arange(6), {3, 2}));
  EXPECT_EQ(x.to_vector<int64_t>(), (std::vector<int64_t>{0, 2, 4, 1, 3, 5}));
}

TEST(Tensor, CopyFromItselfReadsTheOldElements) {
  Tensor x = view::reshape(arange(64 * 64), {64, 64});
  const std::vector<int64_t> expected = view::transpose(x, 0, 1).to_vector<int64_t>();
  copy_(x, view::transpose(x, 0, 1));
  EXPECT_EQ(x.to_vector<int64_t>(), expected);
  Tensor y = arange(5), tail = view::slice(y, 0, 1, 5);
  copy_(tail, view::slice(y, 0, 0, 4));
  EXPECT_EQ(y.to_vector<int64_t>(), (std::vector<int64_t>{0, 0, 1, 2, 3}));
}

TEST(Tensor, ItemIsExactForLargeIntegers) {
  const int64_t large = (int64_t{1} << 53) + 1;
  EXPECT_EQ(from_vector(std::vector<int64_t>{large}).item<int64_t>(), large);
  EXPECT_EQ(full({}, -2.75).item<int64_t>(), -2);
  EXPECT_TRUE(full({}, 0.5).item<bool>());
}

TEST(Tensor, GradientsMustBeLikeTheirTensor) {
  Tensor x = ones({2}).set_requires_grad(true);
  EXPECT_THROW(x.set_grad(ones({3})), ShapeError);
  EXPECT_THROW(x.set_grad(ones({2}, DType::f64)), DTypeError);
}

TEST(Tensor, SetDataIsSeenByEveryHandle) {
  Tensor a = ones({2}).set_requires_grad(true);
  const Tensor b = a;
  a.set_data(view::to(a.detach(), DType::f64));
  EXPECT_EQ(b.dtype(), DType::f64);
  EXPECT_TRUE(b.requires_grad());
}

TEST(Tensor, BlobIsBorrowed) {
  auto owner = std::make_shared<std::vector<float>>(4, 2.0f);
  std::weak_ptr<std::vector<float>> watch = owner;
  Tensor t = from_blob(owner->data(), {2, 2}, DType::f32, owner);
  owner.reset();
  EXPECT_EQ(t.to_vector<float>(), (std::vector<float>{2, 2, 2, 2}));
  t = Tensor();
  EXPECT_TRUE(watch.expired());
}

TEST(Tensor, UndefinedIsReported) {
  EXPECT_THROW(Tensor().shape(), Error);
  EXPECT_THROW(zeros({2}).item(), ShapeError);
  EXPECT_THROW(zeros({2}, DType::i64).set_requires_grad(true), DTypeError);
}

TEST(Print, LooksLikeNumpy) {
  EXPECT_EQ(to_string(from_vector(std::vector<float>{1, 2.5f, -3}, {3})),
            "tensor([ 1.   2.5 -3. ])");
  EXPECT_EQ(to_string(from_vector(std::vector<int64_t>{1, 20, 3, 4}, {2, 2})),
            "tensor([[ 1 20]\n        [ 3  4]], dtype=i64)");
  EXPECT_EQ(to_string(from_vector(std::vector<float>{0.1f, 0.2f})), "tensor([0.1 0.2])");
  EXPECT_EQ(to_string(zeros({0, 3})), "tensor([], shape=[0, 3])");
  EXPECT_EQ(to_string(zeros({2, 0})), "tensor([], shape=[2, 0])");
  EXPECT_EQ(to_string(from_vector(std::vector<float>{123.456f, 1.5f})),
            "tensor([123.456   1.5  ])");
  EXPECT_EQ(to_string(from_vector(std::vector<float>{1e-3f, 10})), "tensor([1.e-03 1.e+01])");
  EXPECT_EQ(to_string(from_vector(std::vector<float>{2.5e-5f, -1})), "tensor([ 2.5e-05 -1.0e+00])");
  EXPECT_EQ(to_string(view::to(from_vector(std::vector<float>{0.1f, 3}), DType::f16)),
            "tensor([0.1 3. ], dtype=f16)");
  EXPECT_EQ(to_string(from_vector(std::vector<float>{NAN, -INFINITY, 1.25f})),
            "tensor([ nan -inf 1.25])");
  EXPECT_EQ(to_string(from_vector(std::vector<double>{1.0 / 3, 1e-2})),
            "tensor([0.33333333 0.01      ], dtype=f64)");
  EXPECT_EQ(to_string(from_vector(std::vector<int64_t>{INT64_MAX})),
            "tensor([9223372036854775807], dtype=i64)");
  EXPECT_EQ(to_string(view::to(ones({2}), DType::boolean)), "tensor([ True  True], dtype=bool)");
  EXPECT_EQ(to_string(full({}, 7)), "tensor(7.)");
  const std::string large = to_string(arange(2000));
  EXPECT_NE(large.find("[   0    1    2 ... 1997 1998 1999]"), std::string::npos) << large;
}

TEST(Device, Names) {
  EXPECT_EQ(parse_device("cuda:3"), (Device{DeviceType::cuda, 3}));
  EXPECT_EQ(to_string(Device{DeviceType::cuda, 3}), "cuda:3");
  EXPECT_THROW(parse_device("gpu"), ValueError);
  EXPECT_THROW(parse_device("cuda:-1"), ValueError);
  EXPECT_THROW(empty({1}, DType::f32, {DeviceType::cuda, 0}), DeviceError);
}

}  // namespace
}  // namespace tessera
