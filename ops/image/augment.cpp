#include "ops/image/augment.h"

#include "ops/image/augment_math.h"
#include "tensor/parallel.h"
#include "tensor/view.h"

namespace tessera {
namespace {

void augment_cpu(const Tensor& images, const Tensor& placement, const Tensor& constants,
                 Tensor& y) {
  const math::AugmentSizes s{images.size(1), images.size(2), y.size(1), y.size(2), y.size(3)};
  const uint8_t* pixels = images.data<uint8_t>();
  const int32_t* places = placement.data<int32_t>();
  const float* k = constants.data<float>();
  float* out = y.data<float>();
  parallel_for(0, y.size(0) * s.out_height, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t n = row / s.out_height, i = row % s.out_height;
      const uint8_t* image = pixels + n * s.height * s.width * s.channels;
      float* to = out + row * s.out_width * s.channels;
      for (int64_t j = 0; j < s.out_width; ++j)
        for (int64_t c = 0; c < s.channels; ++c)
          *to++ = math::augmented(s, image, places + 7 * n, k, i, j, c);
    }
  });
}

double value_of(const std::vector<double>& values, int64_t c, double fallback) {
  return values.empty() ? fallback : values[static_cast<size_t>(c)];
}

void check(const Tensor& images, const Tensor& placement, const AugmentOptions& o) {
  TESSERA_CHECK(ShapeError, images.rank() == 4, "augment_images: images must be (N, H, W, C), got ",
                images.shape());
  TESSERA_CHECK(
      ShapeError,
      placement.rank() == 2 && placement.size(0) == images.size(0) && placement.size(1) == 7,
      "augment_images: placement must be (", images.size(0), ", 7), got ", placement.shape());
  TESSERA_CHECK(DTypeError, images.dtype() == DType::u8 && placement.dtype() == DType::i32,
                "augment_images: needs u8 images and an i32 placement, got ", images.dtype(),
                " and ", placement.dtype());
  TESSERA_CHECK(DeviceError, images.device() == placement.device(), "augment_images: devices ",
                images.device(), " and ", placement.device(), " differ");
  TESSERA_CHECK(ValueError, o.height >= 1 && o.width >= 1,
                "augment_images: height and width must be at least 1, got ", o.height, " and ",
                o.width);
  for (const auto* values : {&o.mean, &o.stddev, &o.erase_value})
    TESSERA_CHECK(ShapeError, values->empty() || std::ssize(*values) == images.size(3),
                  "augment_images: mean, stddev and erase_value need one number for each of the ",
                  images.size(3), " channels, got ", values->size());
  for (double v : o.stddev)
    TESSERA_CHECK(ValueError, v != 0, "augment_images: stddev must not be 0");
}

}  // namespace

constinit KernelSlot<void(const Tensor&, const Tensor&, const Tensor&, Tensor&)>
    kernel::augment_images{"augment_images"};
TESSERA_KERNEL(augment_images, cpu, augment_cpu);

Tensor augment_images(const Tensor& images, const Tensor& placement,
                      const AugmentOptions& options) {
  check(images, placement, options);
  const int64_t channels = images.size(3);
  std::vector<float> constants;
  for (int64_t c = 0; c < channels; ++c)
    constants.push_back(static_cast<float>(1.0 / (255.0 * value_of(options.stddev, c, 1))));
  for (int64_t c = 0; c < channels; ++c)
    constants.push_back(
        static_cast<float>(-value_of(options.mean, c, 0) / value_of(options.stddev, c, 1)));
  for (int64_t c = 0; c < channels; ++c)
    constants.push_back(static_cast<float>(value_of(options.erase_value, c, 0)));
  Tensor y =
      empty({images.size(0), options.height, options.width, channels}, DType::f32, images.device());
  if (y.numel() > 0)
    kernel::augment_images(images.device(), view::contiguous(images), view::contiguous(placement),
                           view::to(from_vector(constants, {3, channels}), images.device()), y);
  return y;
}

}  // namespace tessera
