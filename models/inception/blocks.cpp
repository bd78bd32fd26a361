#include "models/inception/blocks.h"

#include <array>

#include "nn/init.h"
#include "nn/layers/container.h"
#include "nn/layers/linear.h"
#include "ops/pointwise/arithmetic.h"
#include "tensor/view.h"

namespace tessera::models {

ConvBlock::ConvBlock(int64_t in, int64_t out, Size2 kernel, Size2 stride, Size2 padding) {
  const auto conv = make_module<nn::Conv2d>(
      "conv", in, out, kernel,
      nn::Conv2d::Options{.stride = stride, .padding = padding, .bias = false});
  step_.emplace(conv, make_module<nn::BatchNorm>("bn", out, nn::BatchNorm::Options{.eps = 1e-3}));
}

nn::ModulePtr max_pool(const MaxPool2dOptions& options) {
  return std::make_shared<nn::Lambda>([=](const Tensor& x) { return max_pool2d(x, options); });
}

Tensor imagenet_to_symmetric(const Tensor& x) {
  constexpr std::array<double, 3> kMean{0.485, 0.456, 0.406}, kStddev{0.229, 0.224, 0.225};
  std::vector<double> scale, shift;
  for (size_t c = 0; c < 3; ++c) {
    scale.push_back(2 * kStddev[c]);
    shift.push_back(2 * kMean[c] - 1);
  }
  const auto like_x = [&](const std::vector<double>& v) {
    return view::to(view::to(from_vector(v), x.dtype()), x.device());
  };
  return x * like_x(scale) + like_x(shift);
}

void check_images(const Tensor& x, std::string_view network, int64_t smallest) {
  TESSERA_CHECK(
      ShapeError,
      x.rank() == 4 && x.shape()[3] == 3 && x.shape()[1] >= smallest && x.shape()[2] >= smallest,
      network, ": expected images (N, H, W, 3) of at least ", smallest, " x ", smallest,
      " pixels, got ", x.shape());
}

void init_trunc_normal(nn::Module& network, double stddev) {
  for (const auto& [name, module] : network.named_modules()) {
    Tensor weight;
    if (auto* conv = dynamic_cast<nn::Conv2d*>(module)) weight = conv->weight;
    if (auto* linear = dynamic_cast<nn::Linear*>(module)) {
      weight = linear->weight;
      nn::init::fan_in_uniform_(linear->bias.detach(), weight.shape()[1]);
    }
    if (weight.defined()) nn::init::trunc_normal_(weight.detach(), 0, stddev, -2, 2);
  }
}

}  // namespace tessera::models
