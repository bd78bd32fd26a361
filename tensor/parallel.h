#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace tessera {

/// Threads that parallel_for may use: TESSERA_NUM_THREADS if set, otherwise the processors this
/// process may run on, bounded by the CPU quotas of its cgroups. At least 1; 1 in a child made by
/// fork() after this process has called it, since threads stay behind.
int num_threads();
/// Overrides num_threads() for the whole process; n <= 0 restores the default.
void set_num_threads(int n);
/// True inside the body of a parallel_for that runs on several threads and in threads that hold a
/// SerialGuard: there parallel_for runs on the calling thread alone.
bool in_parallel_region();

/// Makes parallel_for serial on this thread while it lives (data loader workers).
class SerialGuard {
 public:
  SerialGuard();
  ~SerialGuard();
  SerialGuard(const SerialGuard&) = delete;
  SerialGuard& operator=(const SerialGuard&) = delete;

 private:
  bool previous_;
};

namespace detail {
using RangeFn = void (*)(void* context, int64_t begin, int64_t end);
void parallel_for(int64_t begin, int64_t end, int64_t grain, RangeFn fn, void* context);
}  // namespace detail

/// Calls fn(b, e) on disjoint ranges that cover [begin, end), on up to num_threads() threads, with
/// at least `grain` indices each. How the range is cut depends only on its length, the grain and
/// num_threads(). The first exception of any range is rethrown when all have ended.
template <class Fn>
void parallel_for(int64_t begin, int64_t end, int64_t grain, Fn&& fn) {
  using F = std::remove_reference_t<Fn>;
  detail::parallel_for(
      begin, end, grain,
      [](void* context, int64_t b, int64_t e) { (*static_cast<F*>(context))(b, e); },
      const_cast<void*>(static_cast<const void*>(std::addressof(fn))));
}

}  // namespace tessera
