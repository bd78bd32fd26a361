#include <iostream>

#include "autograd/engine.h"
#include "ops/pointwise/arithmetic.h"

int main() {
  tessera::Tensor x = tessera::full({3}, 2.0).set_requires_grad(true);
  tessera::backward(x * x, tessera::ones({3}));
  std::cout << x.grad() << "\n";  // d(x^2)/dx
}
