// Cross entropy on a GPU: rows that fit registers and rows that do not, half types, and targets
// that are out of range.

#include "ops/loss/cross_entropy.h"
#include "tests/ops/device_compare.h"

namespace tessera::testing {
namespace {

using CrossEntropyDevice = OnDevice;

TEST_F(CrossEntropyDevice, AnyNumberOfClasses) {
  for (DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16})
    for (int64_t classes : {2, 80, 751, 4096, 9001})
      for (double smoothing : {0.0, 0.1}) {
        const int64_t rows = 13;
        const std::string what = cat("classes ", classes, ' ', to_string(dtype), ' ', smoothing);
        Tensor targets = hashed(what + "t", {rows}, DType::i64, 0, static_cast<double>(classes));
        targets.data<int64_t>()[4] = -100;
        const Tensor weight = hashed("weight", {classes}, DType::f32, 0.5, 1.5);
        for (Reduction reduction : {Reduction::none, Reduction::mean})
          for (bool weighted : {false, true})
            compare_on_device(what, {hashed(what, {rows, classes}, dtype, -4, 4)},
                              2 * rounding(dtype), [&](const Tensors& t) {
                                return cross_entropy(
                                    t[0], beside(t[0], targets),
                                    {.weight = weighted ? beside(t[0], weight) : Tensor(),
                                     .label_smoothing = smoothing,
                                     .reduction = reduction});
                              });
      }
}

TEST_F(CrossEntropyDevice, ReportsTargetsOutOfRange) {
  const Tensor x = on_gpu(hashed("x", {3, 5}, DType::f32));
  for (int64_t bad : {int64_t{5}, int64_t{-1}}) {
    const Tensor targets = on_gpu(from_vector(std::vector<int64_t>{1, bad, 2}));
    try {
      cross_entropy(x, targets, {.reduction = Reduction::none}).to_vector<float>();
      FAIL() << "target " << bad;
    } catch (const ValueError& e) {
      EXPECT_NE(std::string(e.what()).find(cat("index ", bad, " is outside [0, 5)")),
                std::string::npos)
          << e.what();
    }
  }
}

TEST_F(CrossEntropyDevice, WantsOneDevice) {
  const Tensor x = on_gpu(hashed("x", {3, 5}, DType::f32));
  EXPECT_THROW(cross_entropy(x, zeros({3}, DType::i64)), DeviceError);
  EXPECT_THROW(cross_entropy(x, zeros({3, 5})), DeviceError);
  EXPECT_THROW(cross_entropy(x, on_gpu(zeros({3}, DType::i64)), {.weight = ones({5})}),
               DeviceError);
}

}  // namespace
}  // namespace tessera::testing
