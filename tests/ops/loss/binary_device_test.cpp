// The losses of yes / no decisions on a GPU: half types, broadcast weights, and probabilities that
// are none.

#include "ops/loss/binary.h"

#include "ops/loss/regression.h"
#include "tests/ops/device_test.h"

namespace tessera::testing {
namespace {

class BinaryLossDevice : public DeviceTest {};

TEST_F(BinaryLossDevice, EveryType) {
  for (DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16}) {
    const double bound = dtype == DType::f64 ? 1e-13 : 2 * epsilon(dtype) + 1e-6;
    const Tensor x = hashed("x", {33, 67}, dtype, -9, 9), t = hashed("t", {33, 67}, dtype, 0, 1);
    const Tensor p = hashed("p", {33, 67}, dtype, 0, 1), w = hashed("w", {67}, dtype, 0.5, 2);
    const Reduction none = Reduction::none;
    expect_close(
        bce_with_logits(on_gpu(x), on_gpu(t), {.pos_weight = on_gpu(w), .reduction = none}),
        bce_with_logits(x, t, {.pos_weight = w, .reduction = none}), bound, bound,
        cat("bce_with_logits ", dtype));
    expect_close(bce_loss(on_gpu(p), on_gpu(t), {.reduction = none}),
                 bce_loss(p, t, {.reduction = none}), bound, bound, cat("bce_loss ", dtype));
    expect_close(huber_loss(on_gpu(x), on_gpu(t), {.delta = 0.7, .reduction = none}),
                 huber_loss(x, t, {.delta = 0.7, .reduction = none}), bound, bound,
                 cat("huber_loss ", dtype));
  }
}

TEST_F(BinaryLossDevice, ProbabilitiesOutsideAreReported) {
  Tensor p = full({1000}, 0.5);
  Tensor wrong = view::slice(p, 0, 700, 701);
  fill_(wrong, 1.5);
  const Tensor t = zeros({1000});
  const auto run = [&] {
    const Tensor y = bce_loss(on_gpu(p), on_gpu(t), {.reduction = Reduction::none});
    return y.to_vector<float>();  // waits for the kernel
  };
  try {
    run();
    FAIL() << "1.5 was taken for a probability";
  } catch (const ValueError& e) {
    const std::string message = e.what();
    EXPECT_NE(message.find("bce_loss"), std::string::npos) << message;
    EXPECT_NE(message.find("[0, 1], got 1.5"), std::string::npos) << message;
  }
  fill_(wrong, NAN);  // passes, as on the CPU
  EXPECT_TRUE(std::isnan(run()[700]));
}

}  // namespace
}  // namespace tessera::testing
