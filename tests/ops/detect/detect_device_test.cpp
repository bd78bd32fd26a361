// Suppression and regions of interest on the GPU where the shared cases do not reach.

#include "ops/detect/box.h"
#include "ops/detect/nms.h"
#include "ops/detect/roi_align.h"
#include "ops/detect/roi_pool.h"
#include "tests/ops/spatial_device.h"

namespace tessera::testing {
namespace {

using DetectDevice = DeviceTest;
using I64 = std::vector<int64_t>;

/// (count, 4) boxes that overlap a lot, some without area.
Tensor scene(const std::string& name, int64_t count, double spread, DType dtype) {
  const std::vector<float> hash = hash_uniform(name, 4 * count, 0, 1);
  const std::vector<double> u(hash.begin(), hash.end());
  std::vector<double> boxes;
  for (size_t i = 0; i < u.size(); i += 4) {
    const double x = u[i] * spread - 20, y = u[i + 1] * spread - 20;
    for (double v : {x, y, x + std::floor(u[i + 2] * 30), y + std::floor(u[i + 3] * 30)})
      boxes.push_back(v);
  }
  return view::to(from_vector(boxes, {count, 4}), dtype);
}

TEST_F(DetectDevice, NmsKeepsTheSameBoxes) {
  for (DType dtype : {DType::f32, DType::f64})
    for (int64_t count : {0, 1, 63, 64, 65, 300, 1111})
      for (double threshold : {0.0, 0.3, 0.5, 0.9}) {
        const Tensor boxes = scene(cat("nms", count), count, 60, dtype);
        const Tensor scores = random_tensor("scores", {count}, dtype);
        I64 ids;
        for (int64_t i = 0; i < count; ++i) ids.push_back(i % 3);
        const Tensor classes = from_vector(ids, {count});
        const auto gpu = [](const Tensor& t) { return view::to(t, kGpu); };
        const auto what = cat(dtype, " ", count, " at ", threshold);
        const Tensor kept = nms(gpu(boxes), gpu(scores), threshold);
        EXPECT_EQ(kept.device(), kGpu);
        EXPECT_EQ(kept.to_vector<int64_t>(), nms(boxes, scores, threshold).to_vector<int64_t>())
            << what;
        EXPECT_EQ(
            batched_nms(gpu(boxes), gpu(scores), gpu(classes), threshold).to_vector<int64_t>(),
            batched_nms(boxes, scores, classes, threshold).to_vector<int64_t>())
            << what;
      }
}

// More boxes than one strip of the table of bits holds.
TEST_F(DetectDevice, NmsInStrips) {
  const Tensor boxes = scene("strips", 8300, 1500, DType::f32);
  const Tensor scores = random_tensor("scores", {8300});
  EXPECT_EQ(nms(view::to(boxes, kGpu), view::to(scores, kGpu), 0.2).to_vector<int64_t>(),
            nms(boxes, scores, 0.2).to_vector<int64_t>());
}

TEST_F(DetectDevice, NmsThresholdIsStrict) {
  const Tensor half = from_vector<float>({0, 0, 2, 1, 0, 0, 1, 1}, {2, 4}, kGpu);
  const Tensor scores = from_vector<float>({1, 0.5f}, {2}, kGpu);
  EXPECT_EQ(nms(half, scores, 0.5).numel(), 2);
  EXPECT_EQ(nms(half, scores, 0.4999).numel(), 1);
  const Tensor third = from_vector<float>({0, 0, 10, 1, 0, 0, 3, 1}, {2, 4}, kGpu);
  EXPECT_EQ(nms(third, scores, 0.3).numel(), 1);
}

TEST_F(DetectDevice, OverlapsOfManyBoxes) {
  for (DType dtype : {DType::f32, DType::f64}) {
    const Tensor a = scene("a", 37, 60, dtype), b = scene("b", 300, 60, dtype);
    expect_as_on_cpu(
        {a, b}, [](const Tensors& in) { return Tensors{box_iou(in[0].detach(), in[1].detach())}; },
        rounding(dtype));
  }
}

/// Regions of every size over maps of both images, in no order, some outside.
Tensor regions(int64_t count, DType dtype) {
  const std::vector<float> hash = hash_uniform("regions", 5 * count, 0, 1);
  const std::vector<double> u(hash.begin(), hash.end());
  std::vector<double> rois;
  for (size_t i = 0; i < u.size(); i += 5) {
    const double x = u[i + 1] * 60 - 10, y = u[i + 2] * 50 - 10;
    for (double v : {std::floor(u[i] * 2), x, y, x + u[i + 3] * 30 - 1, y + u[i + 4] * 30 - 1})
      rois.push_back(v);
  }
  return view::to(from_vector(rois, {count, 5}), dtype);
}

void compare_roi_align(const Shape& feature, int64_t count, const RoiAlignOptions& o, DType dtype) {
  const Tensor rois = regions(count, dtype);
  expect_as_on_cpu(
      {random_tensor("feature", feature, dtype)},
      [&](const Tensors& in) {
        const Tensor there = view::to(rois, in[0].device());
        return Tensors{roi_align(in[0], there, o)};
      },
      8 * rounding(dtype), cat(feature, " ", count, " ", dtype));
}

TEST_F(DetectDevice, RoiAlignOfManyRegions) {
  for (DType dtype : {DType::f32, DType::f64}) {
    compare_roi_align({2, 21, 27, 8}, 300, {.spatial_scale = 0.5, .sampling_ratio = 2}, dtype);
    compare_roi_align({2, 9, 11, 5}, 40, {.spatial_scale = 0.25, .aligned = false}, dtype);
    compare_roi_align({2, 9, 11, 132}, 9, {.output_h = 3, .output_w = 2, .spatial_scale = 0.25},
                      dtype);
    // More bins than are collected from at a time.
    compare_roi_align({2, 12, 10, 4}, 7, {.output_h = 35, .output_w = 18, .spatial_scale = 0.25},
                      dtype);
  }
}

TEST_F(DetectDevice, RoiAlignFarLargerThanTheMap) {
  const Tensor rois = from_vector<double>(
      {0, -5e6, -4e6, 6e6, 5e6, 0, -2000, -1500, 2500, 1800, 0, 3, 3, 3, 3, 0, 9, 8, 2, 1}, {4, 5});
  for (int64_t ratio : {0, 3})
    expect_as_on_cpu(
        {random_tensor("feature", {1, 6, 7, 4}, DType::f64)},
        [&](const Tensors& in) {
          const Tensor there = view::to(rois, in[0].device());
          return Tensors{
              roi_align(in[0], there, {.output_h = 3, .output_w = 3, .sampling_ratio = ratio})};
        },
        1e-11, cat("ratio ", ratio));
}

TEST_F(DetectDevice, RoiPoolOfManyRegions) {
  for (DType dtype : {DType::f32, DType::f64})
    for (int64_t channels : {3, 8}) {
      Tensor feature = random_tensor("feature", {2, 21, 27, channels}, dtype);
      Tensor pixel = view::select(view::select(feature, 1, 7), 1, 9);
      fill_(pixel, NAN);
      const Tensor rois = regions(60, dtype);
      expect_as_on_cpu(
          {feature},
          [&](const Tensors& in) {
            const Tensor there = view::to(rois, in[0].device());
            return Tensors{roi_pool(in[0], there, 4, 3, 0.5)};
          },
          rounding(dtype), cat(channels));
    }
}

TEST_F(DetectDevice, WrongRegionsAreReported) {
  const Tensor feature = view::to(random_tensor("feature", {2, 5, 5, 4}), kGpu);
  const auto expect = [&](std::vector<float> roi, const std::string& words, auto op) {
    const Tensor rois = from_vector(roi, {1, 5}, kGpu);
    try {
      op(rois);
      cuda_synchronize();
      ADD_FAILURE() << words;
    } catch (const ValueError& e) {
      EXPECT_NE(std::string(e.what()).find(words), std::string::npos) << e.what();
    }
  };
  const auto align = [&](const Tensor& r) { roi_align(feature, r); };
  const auto align_grad = [&](const Tensor& r) {
    roi_align_grad(zeros({1, 7, 7, 4}, DType::f32, kGpu), r, {2, 5, 5, 4});
  };
  const auto pool = [&](const Tensor& r) { roi_pool(feature, r, 2, 2); };
  for (float image : {2.0f, -1.0f, 1e9f, float(NAN)}) {
    expect({image, 0, 0, 1, 1}, "outside [0, 2)", align);
    expect({image, 0, 0, 1, 1}, "outside [0, 2)", align_grad);
    expect({image, 0, 0, 1, 1}, "outside [0, 2)", pool);
  }
  for (float far : {1e8f, -1e8f, float(NAN), float(INFINITY)}) {
    expect({0, 0, far, 1, 1}, "coordinate", align);
    expect({0, 0, far, 1, 1}, "coordinate", align_grad);
    expect({0, 0, far, 1, 1}, "coordinate", pool);
  }
}

}  // namespace
}  // namespace tessera::testing
