// The optimizers' steps on a GPU against the CPU: more tensors than one launch takes, sizes around
// the vectors and blocks, misaligned ones among them.

#include "ops/optim/update.h"
#include "tests/ops/device_test.h"

namespace tessera::testing {
namespace {

class UpdateDevice : public DeviceTest {};

constexpr int64_t kSizes[] = {0, 1, 3, 4, 5, 1023, 4095, 4096, 4097, 20001};

// The same numbers on both devices; every third of the GPU's is misaligned.
struct Lists {
  Tensors cpu, gpu;
};
Lists make(const std::string& name, DType dtype, int many, double lo, double hi) {
  Lists lists;
  const auto add = [&](int64_t n, bool shifted) {
    const Tensor x = hashed(cat(name, lists.cpu.size()), {n}, dtype, lo, hi);
    lists.cpu.push_back(x);
    lists.gpu.push_back(shifted ? misaligned(x) : on_gpu(x));
  };
  for (int64_t n : kSizes) add(n, false);
  for (int64_t n : kSizes) add(n, true);
  for (int i = 0; i < many; ++i) add(i % 7, i % 3 == 0);
  return lists;
}

// update(parameters, gradients, states) on both devices, twice.
template <class Update>
void expect_same_update(const std::string& what, int states, const Update& update) {
  for (DType dtype : {DType::f32, DType::f64}) {
    // More than one launch takes, with the fewest and the most lists.
    const int many = dtype == DType::f32 && (states == 0 || states == 3) ? 125 : 0;
    const Lists p = make("p", dtype, many, -1, 1), g = make("g", dtype, many, -1, 1);
    const Lists still = make("g", dtype, many, -1, 1);
    std::vector<Lists> state;
    for (int i = 0; i < states; ++i) state.push_back(make(cat("s", i), dtype, many, 1, 1.5));
    for (int i = 0; i < 2; ++i) {
      std::vector<Tensors> cpu(3), gpu(3);
      for (size_t k = 0; k < state.size(); ++k) cpu[k] = state[k].cpu, gpu[k] = state[k].gpu;
      update(p.cpu, g.cpu, cpu);
      update(p.gpu, g.gpu, gpu);
    }
    // A few operations, each rounded: contraction is up to the compiler.
    const double ulp = epsilon(dtype);
    for (size_t k = 0; k < p.cpu.size(); ++k) {
      const std::string where = cat(what, ' ', dtype, " tensor ", k, ' ', p.cpu[k].shape());
      expect_close(p.gpu[k], p.cpu[k], 8 * ulp, 8 * ulp, where);
      for (const Lists& s : state)
        expect_close(s.gpu[k], s.cpu[k], 8 * ulp, 8 * ulp, where + ", state");
      expect_same_bits(g.gpu[k], still.cpu[k], where + ", gradient");
    }
  }
}

TEST_F(UpdateDevice, Sgd) {
  const SgdUpdate plain{.lr = 0.1,
                        .momentum = 0,
                        .dampening = 0,
                        .weight_decay = 0.01,
                        .nesterov = false,
                        .first = false};
  expect_same_update("sgd", 0, [&](const Tensors& p, const Tensors& g, const auto&) {
    sgd_update_(p, g, {}, plain);
  });
  for (bool nesterov : {false, true})
    for (bool first : {false, true}) {
      SgdUpdate u = plain;
      u.momentum = 0.9;
      u.dampening = 0.2;
      u.nesterov = nesterov;
      u.first = first;
      expect_same_update(cat("sgd with momentum ", nesterov, first), 1,
                         [&](const Tensors& p, const Tensors& g, const auto& state) {
                           sgd_update_(p, g, state[0], u);
                         });
    }
}

TEST_F(UpdateDevice, Adam) {
  for (bool decoupled : {false, true})
    for (int states : {2, 3})
      expect_same_update(cat("adam ", decoupled, states), states,
                         [&](const Tensors& p, const Tensors& g, const auto& state) {
                           adam_update_(p, g, state[0], state[1], state[2],
                                        {.lr = 0.01,
                                         .beta1 = 0.9,
                                         .beta2 = 0.99,
                                         .eps = 1e-6,
                                         .weight_decay = 0.1,
                                         .step = 3,
                                         .decoupled = decoupled});
                         });
}

// s starts above 1 and a below it, so that s - a^2, under the root, does not cancel.
TEST_F(UpdateDevice, Rmsprop) {
  for (bool centered : {false, true})
    for (bool momentum : {false, true})
      expect_same_update(cat("rmsprop ", centered, momentum), 1 + centered + momentum,
                         [&](const Tensors& p, const Tensors& g, const auto& state) {
                           const Tensors none;
                           if (centered)
                             for (Tensor a : state[1]) fill_(a, 0.25);
                           rmsprop_update_(p, g, state[0], centered ? state[1] : none,
                                           momentum ? state[1 + centered] : none,
                                           {.lr = 0.01,
                                            .alpha = 0.9,
                                            .eps = 1e-6,
                                            .weight_decay = 0.1,
                                            .momentum = momentum ? 0.8 : 0.0});
                         });
}

TEST_F(UpdateDevice, RepeatsBitForBit) {
  const auto once = [] {
    const Lists p = make("p", DType::f32, 10, -1, 1), g = make("g", DType::f32, 10, -1, 1),
                m = make("m", DType::f32, 10, 1, 2);
    sgd_update_(p.gpu, g.gpu, m.gpu,
                {.lr = 0.1,
                 .momentum = 0.9,
                 .dampening = 0,
                 .weight_decay = 0.01,
                 .nesterov = true,
                 .first = false});
    return p.gpu;
  };
  const Tensors a = once(), b = once();
  for (size_t k = 0; k < a.size(); ++k) expect_same_bits(a[k], b[k], cat("tensor ", k));
}

}  // namespace
}  // namespace tessera::testing
