// Lists that do not fit together must be refused before a kernel sees them.

#include <gtest/gtest.h>

#include "ops/optim/update.h"
#include "tensor/view.h"

namespace tessera {
namespace {

const SgdUpdate kSgd{
    .lr = 1, .momentum = 0, .dampening = 0, .weight_decay = 0, .nesterov = false, .first = false};
const AdamUpdate kAdam{.lr = 1,
                       .beta1 = 0.9,
                       .beta2 = 0.99,
                       .eps = 1e-8,
                       .weight_decay = 0,
                       .step = 1,
                       .decoupled = false};
const RmspropUpdate kRmsprop{.lr = 1, .alpha = 0.9, .eps = 1e-8, .weight_decay = 0, .momentum = 0};

TEST(OptimizerUpdate, MissingListsAreErrors) {
  const Tensors p{ones({2})}, one{ones({2})}, none;
  EXPECT_THROW(sgd_update_(p, none, none, kSgd), ValueError);
  EXPECT_THROW(adam_update_(p, one, none, one, none, kAdam), ValueError);
  EXPECT_THROW(adam_update_(p, one, one, none, none, kAdam), ValueError);
  EXPECT_THROW(rmsprop_update_(p, one, none, none, none, kRmsprop), ValueError);
  EXPECT_NO_THROW(sgd_update_(none, none, none, kSgd));
}

TEST(OptimizerUpdate, WhatIsWrittenMustBeContiguous) {
  const Tensor block = zeros({2, 3});
  const Tensors strided{view::transpose(block, 0, 1)}, dense{zeros({3, 2})}, g{ones({3, 2})};
  EXPECT_THROW(sgd_update_(strided, g, {}, kSgd), ValueError);
  EXPECT_THROW(sgd_update_(dense, g, strided, kSgd), ValueError);
  const Tensors turned{view::transpose(ones({2, 3}), 0, 1)};
  sgd_update_(dense, turned, {}, kSgd);  // a gradient may have any strides
  EXPECT_EQ(dense[0].to_vector<float>(), std::vector<float>(6, -1));
}

TEST(OptimizerUpdate, EmptyParametersAreSkipped) {
  const Tensors p{ones({2}), ones({0}), ones({1})}, g{ones({2}), ones({0}), ones({1})};
  sgd_update_(p, g, {}, kSgd);
  EXPECT_EQ(p[0].to_vector<float>(), std::vector<float>(2, 0));
  EXPECT_EQ(p[2].item(), 0);
}

}  // namespace
}  // namespace tessera
