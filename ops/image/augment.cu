#include "ops/image/augment.h"

#include "cuda/index.h"
#include "cuda/launch.h"
#include "ops/image/augment_math.h"

namespace tessera {
namespace {

constexpr int kBlock = 256;

// One thread makes one element after the other, neighbours in memory order; any sizes. Reads a byte
// and writes four: bound by the writes.
__global__ void __launch_bounds__(kBlock)
    augment_kernel(int64_t count, math::AugmentSizes s, const uint8_t* __restrict__ images,
                   const int32_t* __restrict__ placement, const float* __restrict__ constants,
                   float* __restrict__ y) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t at = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; at < count; at += step) {
    int64_t rest = at;
    const int64_t c = rest % s.channels;
    rest /= s.channels;
    const int64_t j = rest % s.out_width;
    rest /= s.out_width;
    const int64_t i = rest % s.out_height, n = rest / s.out_height;
    y[at] = math::augmented(s, images + n * s.height * s.width * s.channels, placement + 7 * n,
                            constants, i, j, c);
  }
}

void augment_cuda(const Tensor& images, const Tensor& placement, const Tensor& constants,
                  Tensor& y) {
  const math::AugmentSizes s{images.size(1), images.size(2), y.size(1), y.size(2), y.size(3)};
  cuda::launch(augment_kernel, {cuda::grid_for(y.numel(), kBlock), kBlock}, y.numel(), s,
               images.numel() > 0 ? images.data<uint8_t>() : nullptr, placement.data<int32_t>(),
               constants.data<float>(), y.data<float>());
}

TESSERA_KERNEL(augment_images, cuda, augment_cuda);

}  // namespace
}  // namespace tessera
