#include "nn/layers/dropout.h"

#include "ops/random/dropout.h"

namespace tessera::nn {
namespace {
double checked(const char* what, double p) {
  TESSERA_CHECK(ValueError, p >= 0 && p <= 1, what, ": p must be in [0, 1], got ", p);
  return p;
}
}  // namespace

Dropout::Dropout(double p) : p(checked("Dropout", p)) {}
Tensor Dropout::forward(const Tensor& x) { return dropout(x, p, training(), default_generator()); }

DropPath::DropPath(double p) : p(checked("DropPath", p)) {}
Tensor DropPath::forward(const Tensor& x) {
  return drop_path(x, p, training(), default_generator());
}

}  // namespace tessera::nn
