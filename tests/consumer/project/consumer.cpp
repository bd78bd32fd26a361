#include <iostream>

#include "autograd/engine.h"
#include "ops/pointwise/arithmetic.h"

int main() {
  tessera::Tensor x = tessera::full({}, 3.0).set_requires_grad(true);
  tessera::backward(x * x);
  std::cout << "d(x^2)/dx at 3 is " << x.grad().item() << "\n";
}
