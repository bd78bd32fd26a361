#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "tensor/kernel_observer.h"

namespace tessera {

/// Looks for NaN in what every kernel call reads and writes, on any device, and throws ValueError
/// at the first call that writes one: it names the kernel, the spans around it ("in backward/log"),
/// the output with its shape and the element, and the input that was NaN before, if one was.
/// Every floating tensor is read twice by the host, so a run is many times slower.
///
///     KernelObserverGuard guard(std::make_shared<NanCheck>());
class NanCheck final : public KernelObserver {
 public:
  void call(KernelCall& call) override;
  void begin_span(std::string_view name) override;
  void end_span() noexcept override;
};

/// Lets a NanCheck see every kernel call from now on where TESSERA_CHECK_NAN is set and not 0.
/// Programs call it when they start.
void check_nan_if_asked();

}  // namespace tessera
