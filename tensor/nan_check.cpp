#include "tensor/nan_check.h"

#include <cmath>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string_view>

#include "tensor/kernel_slot.h"
#include "tensor/view.h"

namespace tessera {
namespace {

thread_local std::vector<std::string> spans;
thread_local bool looking = false;  // our own copies are kernel calls too

struct Looking {
  Looking() { looking = true; }
  ~Looking() { looking = false; }
};

// Row-major number of the first NaN; nothing where there is none.
std::optional<int64_t> first_nan(const Tensor& t) {
  if (!t.defined() || !is_floating(t.dtype()) || t.numel() == 0) return std::nullopt;
  const Looking guard;
  const Tensor host = view::contiguous(view::to(t.detach(), kCpu));
  return dispatch_floating(t.dtype(), "check_nan", [&]<class T>() -> std::optional<int64_t> {
    const T* p = host.data<T>();
    for (int64_t i = 0; i < host.numel(); ++i)
      if (std::isnan(static_cast<double>(static_cast<compute_t<T>>(p[i])))) return i;
    return std::nullopt;
  });
}

std::string where() {
  std::string path;
  for (const std::string& span : spans) path += (path.empty() ? " in " : "/") + span;
  return path;
}

}  // namespace

void NanCheck::call(KernelCall& call) {
  if (looking) return call.run();
  std::string inputs;
  const auto tensors = call.tensors();
  for (size_t i = 0; i < tensors.size(); ++i)
    if (!call.writes(i) && first_nan(*tensors[i]))
      inputs += cat(inputs.empty() ? "" : ", ", "argument ", i + 1, " ", tensors[i]->shape());
  call.run();
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!call.writes(i)) continue;
    const std::optional<int64_t> at = first_nan(*tensors[i]);
    if (!at) continue;
    throw ValueError(cat(
        call.slot().name(), where(), ": NaN in its result ", tensors[i]->shape(), " at element ",
        *at, inputs.empty() ? ", made from numbers" : cat("; NaN came in by ", inputs)));
  }
}

void NanCheck::begin_span(std::string_view name) { spans.emplace_back(name); }
void NanCheck::end_span() noexcept {
  if (!spans.empty()) spans.pop_back();
}

void check_nan_if_asked() {
  const char* text = std::getenv("TESSERA_CHECK_NAN");
  if (!text || !*text || std::string_view(text) == "0") return;
  static const KernelObserverGuard guard(std::make_shared<NanCheck>());
}

}  // namespace tessera
