#include "ops/image/augment.h"

#include <gtest/gtest.h>

#include "tensor/view.h"
#include "tests/ops/op_case.h"

namespace tessera::testing {
namespace {

struct Setting {
  std::string name;
  Shape images;
  int64_t height, width;
  std::vector<double> placement;
  std::vector<double> mean{}, stddev{}, erase_value{};
};

double channel(const std::vector<double>& values, int64_t c, double fallback) {
  return values.empty() ? fallback : values[static_cast<size_t>(c)];
}

// One step after the other: crop, mirror, normalise, erase.
Tensor augment64(const Tensor& images, const Setting& s) {
  const std::vector<double> x = images.to_vector<double>();
  const int64_t h = s.images[1], w = s.images[2], channels = s.images[3];
  std::vector<double> y;
  for (int64_t n = 0; n < s.images[0]; ++n) {
    const double* p = s.placement.data() + 7 * n;
    for (int64_t i = 0; i < s.height; ++i)
      for (int64_t j = 0; j < s.width; ++j)
        for (int64_t c = 0; c < channels; ++c) {
          const auto row = static_cast<int64_t>(p[0]) + i;
          const auto column = static_cast<int64_t>(p[1]) + (p[2] != 0 ? s.width - 1 - j : j);
          double v = 0;
          if (row >= 0 && row < h && column >= 0 && column < w)
            v = x[static_cast<size_t>(((n * h + row) * w + column) * channels + c)];
          v = (v / 255 - channel(s.mean, c, 0)) / channel(s.stddev, c, 1);
          const auto di = static_cast<double>(i), dj = static_cast<double>(j);
          if (di >= p[3] && di < p[3] + p[5] && dj >= p[4] && dj < p[4] + p[6])
            v = channel(s.erase_value, c, 0);
          y.push_back(v);
        }
  }
  return from_vector(y, {s.images[0], s.height, s.width, channels});
}

const std::vector<Setting>& settings() {
  static const std::vector<Setting> list = {
      {"plain", {1, 3, 4, 3}, 3, 4, {0, 0, 0, 0, 0, 0, 0}},
      {"crop_and_mirror",
       {2, 6, 5, 3},
       4,
       3,
       {1, 2, 1, 0, 0, 0, 0, 0, 1, 0, 1, 1, 2, 2},
       {0.485, 0.456, 0.406},
       {0.229, 0.224, 0.225},
       {0.1, 0.2, 0.3}},
      {"padded", {2, 3, 3, 1}, 7, 6, {-2, -1, 1, 0, 0, 0, 0, 1, 2, 0, 5, 4, 9, 9}, {0.5}, {0.25}},
      {"outside", {1, 2, 2, 2}, 2, 2, {5, -9, 0, 0, 0, 1, 1}},
      {"one_pixel", {3, 1, 1, 1}, 1, 1, {0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0,
                                         0, 1, 1, 1, 0, 0, 0, 0, 0, 1}},
      {"no_images", {0, 3, 3, 3}, 2, 2, {}},
      {"no_pixels", {1, 0, 4, 3}, 2, 2, {0, 0, 0, 0, 0, 0, 0}},
  };
  return list;
}

Tensor augment(const Setting& s, const Tensors& in) {
  return augment_images(in[0], in[1],
                        {.height = s.height,
                         .width = s.width,
                         .mean = s.mean,
                         .stddev = s.stddev,
                         .erase_value = s.erase_value});
}

// The result is f32 whatever the inputs: no case of the suite that computes in f64.
TEST(AugmentImages, EqualsOneStepAfterTheOther) {
  for (const Setting& s : settings()) {
    const Tensor images = view::to(
        from_vector(hash_uniform(s.name, numel(s.images), 0, 255.99), s.images), DType::u8);
    const Tensor placement = view::to(from_vector(s.placement, {s.images[0], 7}), DType::i32);
    const std::vector<double> want = augment64(images, s).to_vector<double>();
    const std::vector<double> got = augment(s, {images, placement}).to_vector<double>();
    ASSERT_EQ(got.size(), want.size()) << s.name;
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], want[i], 1e-6) << s.name << " element " << i;
  }
}

}  // namespace

TESSERA_OP_CASES(augment_images) {
  for (const Setting& s : settings())
    cases.add({.name = "augment_images_" + s.name,
               .inputs = {{.shape = s.images, .lo = 0, .hi = 255.99, .dtype = DType::u8},
                          {.shape = {s.images[0], 7},
                           .differentiable = false,
                           .dtype = DType::i32,
                           .values = s.placement}},
               .run = [s](const Tensors& in) { return Tensors{augment(s, in)}; },
               .reference = {},
               .order = 0});

  const auto images = [] { return zeros({2, 3, 3, 3}, DType::u8); };
  const auto placement = [] { return zeros({2, 7}, DType::i32); };
  cases.add_error<ShapeError>(
      "augment_images_rank",
      [=] {
        augment_images(zeros({3, 3, 3}, DType::u8), placement(), {.height = 2, .width = 2});
      },
      {"[3, 3, 3]", "(N, H, W, C)"});
  cases.add_error<ShapeError>(
      "augment_images_placement",
      [=] {
        augment_images(images(), zeros({2, 4}, DType::i32), {.height = 2, .width = 2});
      },
      {"(2, 7)", "[2, 4]"});
  cases.add_error<DTypeError>(
      "augment_images_dtype",
      [=] {
        augment_images(zeros({2, 3, 3, 3}), placement(), {.height = 2, .width = 2});
      },
      {"u8", "f32"});
  cases.add_error<ShapeError>(
      "augment_images_mean",
      [=] { augment_images(images(), placement(), {.height = 2, .width = 2, .mean = {0.5}}); },
      {"3 channels", "got 1"});
  cases.add_error<ValueError>(
      "augment_images_stddev",
      [=] {
        augment_images(images(), placement(), {.height = 2, .width = 2, .stddev = {1, 0, 1}});
      },
      {"stddev"});
  cases.add_error<ValueError>("augment_images_size",
                              [=] { augment_images(images(), placement(), {.width = 2}); },
                              {"height", "0 and 2"});
}

}  // namespace tessera::testing
