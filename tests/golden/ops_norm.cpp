#include "ops/norm/batch_norm.h"
#include "ops/norm/group_norm.h"
#include "ops/norm/instance_norm.h"
#include "ops/norm/l2_normalize.h"
#include "ops/norm/layer_norm.h"
#include "tensor/view.h"
#include "tests/golden/op_call.h"

namespace tessera::golden {
namespace {

Tensor run_batch_norm(const OpCall& c) {
  // The running statistics move in training, and the case's tensors are used again.
  const Tensor mean = view::clone(c.input("mean")), var = view::clone(c.input("var"));
  return batch_norm(c.input("x"), c.optional("w"), c.optional("b"), mean, var,
                    {.training = c.attribute<bool>("training"),
                     .momentum = c.attribute("momentum", 0.1),
                     .eps = c.attribute("eps", 1e-5)});
}

}  // namespace

void add_norm_ops(OpTable& table) {
  table["batch_norm"] = {{"x", "y"}, run_batch_norm};
  table["instance_norm"] = {{"x", "y"}, [](const OpCall& c) {
                              return instance_norm(c.input("x"), c.optional("w"), c.optional("b"),
                                                   c.attribute("eps", 1e-5));
                            }};
  table["group_norm"] = {{"x", "y"}, [](const OpCall& c) {
                           return group_norm(c.input("x"), c.attribute<int64_t>("groups"),
                                             c.optional("w"), c.optional("b"),
                                             c.attribute("eps", 1e-5));
                         }};
  table["layer_norm"] = {{}, [](const OpCall& c) {
                           const Tensor w = c.input("w");
                           return layer_norm(c.input("x"), w.shape(), w, c.optional("b"),
                                             c.attribute("eps", 1e-5));
                         }};
  table["l2_normalize"] = {{}, [](const OpCall& c) {
                             return l2_normalize(c.input("x"), c.attribute<int64_t>("dim"),
                                                 c.attribute("eps", 1e-12));
                           }};
}

}  // namespace tessera::golden
