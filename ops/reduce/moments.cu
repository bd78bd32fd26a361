#include "ops/reduce/moments.h"

#include <limits>

#include "cuda/reduce_tensor.cuh"
#include "ops/reduce/reducers.h"

namespace tessera {
namespace {

// Sums of the distances from a lane's first element, which is near enough to the mean: (first -
// mean)^2 is at most the lane's squared deviations, so that little cancels.
struct ShiftedSums {
  double shift = 0, first = 0, second = 0;
  int count = 0;
};

// Number, mean and squared deviations of some elements.
struct Moments {
  double count, mean, m2;
  Moments() = default;
  TESSERA_HD Moments(double n, double m, double s) : count(n), mean(m), m2(s) {}
  TESSERA_HD explicit Moments(const ShiftedSums& s) : Moments(s.count, 0, 0) {
    if (s.count == 0) return;
    mean = s.shift + s.first / count;
    m2 = s.second - s.first * s.first / count;
    if (m2 < 0) m2 = 0;
  }
};

// sum (v - mean)^2 / divisor in one pass: shifted sums, merged as of Chan et al.
template <class T>
struct Variance {
  using Lane = ShiftedSums;
  using Wide = Moments;
  double divisor;
  TESSERA_HD Lane lane() const { return {}; }
  TESSERA_HD Wide wide() const { return {0, 0, 0}; }
  TESSERA_HD void step(Lane& a, compute_t<T> v, int64_t) const {
    const double x = static_cast<double>(v);
    if (a.count == 0) a.shift = x;
    const double d = x - a.shift;
    a.first += d;
    a.second += d * d;
    ++a.count;
  }
  TESSERA_HD void merge(Wide& a, const Wide& b) const {
    const double n = a.count + b.count;
    if (b.count == 0) return;
    const double d = b.mean - a.mean;
    a.mean += d * (b.count / n);
    a.m2 += b.m2 + d * d * (a.count * b.count / n);
    a.count = n;
  }
  TESSERA_HD T finish(const Wide& a) const {
    return static_cast<T>(static_cast<compute_t<T>>(a.m2 / divisor));
  }
};

void var_cuda(const Tensor& x, double divisor, Tensor& y) {
  if (y.numel() == 0) return;
  if (x.numel() == 0) return kernel::fill(y.device(), y, std::numeric_limits<double>::quiet_NaN());
  dispatch_floating(x.dtype(), "var", [&]<class T>() {
    cuda::reduce<T>(x, y.shape(), Variance<T>{divisor}, y.data<T>());
  });
}

void norm2_cuda(const Tensor& x, Tensor& y) {
  if (y.numel() == 0) return;
  if (x.numel() == 0) return kernel::fill(y.device(), y, 0.0);
  dispatch_floating(x.dtype(), "norm", [&]<class T>() {
    cuda::reduce<T>(x, y.shape(), reducers::Norm2<T>{}, y.data<T>());
  });
}

TESSERA_KERNEL(var, cuda, var_cuda);
TESSERA_KERNEL(norm2, cuda, norm2_cuda);

}  // namespace
}  // namespace tessera
