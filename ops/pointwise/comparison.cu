#include "cuda/map.cuh"
#include "ops/pointwise/comparison_formulas.h"

namespace tessera {
namespace {

// The operation is a value, not a type: six kernels in one, whose branch all threads take alike.
struct Compare {
  Comparison op;
  template <class C>
  TESSERA_HD bool operator()(C a, C b) const {
    return math::compares(op, a, b);
  }
};

// Compares in type Wide.
template <class Wide>
struct CompareWith {
  Comparison op;
  Wide scalar;
  template <class C>
  TESSERA_HD bool operator()(C v) const {
    return math::compares(op, static_cast<Wide>(v), scalar);
  }
};

struct Combine {
  Logic op;
  TESSERA_HD bool operator()(bool a, bool b) const { return math::combines(op, a, b); }
};

struct Belongs {
  FloatClass which;
  template <class C>
  TESSERA_HD bool operator()(C v) const {
    return math::belongs(which, v);
  }
};

void compare_cuda(const Tensor& a, const Tensor& b, Comparison op, Tensor& y) {
  dispatch_all(a.dtype(), "compare",
               [&]<class T>() { cuda::map<bool, T, T>(y, Compare{op}, a, b); });
}

void compare_scalar_cuda(const Tensor& x, double s, Comparison op, Tensor& y) {
  dispatch_all(x.dtype(), "compare", [&]<class T>() {
    if constexpr (is_floating(dtype_of<T>())) {
      using C = compute_t<T>;
      cuda::map<bool, T>(y, CompareWith<C>{op, static_cast<C>(s)}, x);
    } else if (std::nearbyint(s) == s && std::abs(s) < 9.0e18) {
      cuda::map<bool, T>(y, CompareWith<int64_t>{op, static_cast<int64_t>(s)}, x);
    } else {
      cuda::map<bool, T>(y, CompareWith<double>{op, s}, x);
    }
  });
}

void logic_cuda(const Tensor& a, const Tensor& b, Logic op, Tensor& y) {
  cuda::map<bool, bool, bool>(y, Combine{op}, a, b);
}

void classify_cuda(const Tensor& x, FloatClass which, Tensor& y) {
  dispatch_floating(x.dtype(), "isnan",
                    [&]<class T>() { cuda::map<bool, T>(y, Belongs{which}, x); });
}

TESSERA_KERNEL(compare, cuda, compare_cuda);
TESSERA_KERNEL(compare_scalar, cuda, compare_scalar_cuda);
TESSERA_KERNEL(logic, cuda, logic_cuda);
TESSERA_KERNEL(classify, cuda, classify_cuda);

}  // namespace
}  // namespace tessera
