#include "ops/index/axis.h"

#include "tensor/view.h"

namespace tessera::index {

void check_index_dtype(const Tensor& index, std::string_view op) {
  TESSERA_CHECK(DTypeError, index.dtype() == DType::i64, op, ": index must be i64, got ",
                index.dtype());
}

void check_index_range(const Tensor& index, int64_t size, std::string_view op) {
  const Tensor flat = view::contiguous(index);
  const int64_t* p = flat.data<int64_t>();
  for (int64_t i = 0, n = flat.numel(); i < n; ++i)
    TESSERA_CHECK(ValueError, p[i] >= 0 && p[i] < size, op, ": index ", p[i], " at position ", i,
                  " is outside [0, ", size, ")");
}

}  // namespace tessera::index
