#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tensor/kernel_observer.h"

namespace tessera {

/// Calls of one kernel that a profile takes together.
struct ProfileRow {
  std::string kernel;  ///< name of the slot
  std::string where;   ///< the spans around it, outermost first: "backward/conv2d"
  std::string shapes;  ///< "f32[8, 56, 56, 64] f32[64, 1, 1, 64]"; empty unless asked for
  Device device;
  int64_t calls = 0;
  double seconds = 0;  ///< without the kernels that it called itself, which have rows of their own
  int64_t bytes = 0;   ///< of distinct arguments: each read or written once, repeats not counted
  int64_t flops = 0;   ///< 0 where the slot does not count them
};

/// Times every kernel call while a KernelObserverGuard lets it: totals per kernel, and each call
/// for a trace. Thread-safe. Costs less than a microsecond per call, outside of what it times. The
/// host times: of a device that runs behind it (cuda), that is the launch alone.
///
///     auto profile = std::make_shared<Profile>();
///     { KernelObserverGuard guard(profile); step(); }
///     for (const ProfileRow& row : profile->rows()) ...
class Profile final : public KernelObserver {
 public:
  /// Kernel calls and spans beyond this number are counted, but have no place in the trace.
  static constexpr size_t kMaxEvents = 1'000'000;

  Profile();

  void call(KernelCall& call) override;
  void begin_span(std::string_view name) override;
  void end_span() noexcept override;

  /// The longest first; by_shape: a row for each combination of shapes.
  std::vector<ProfileRow> rows(bool by_shape = false) const;
  /// Since it was made.
  double seconds() const;
  /// Time within kernels on the thread that made it: seconds() minus this is what that thread spent
  /// outside of kernels, if it was observed all the time.
  double kernel_seconds() const;
  /// Kernel calls so far.
  int64_t calls() const;

  /// Writes the calls and spans as Chrome's trace JSON, which chrome://tracing and Perfetto read:
  /// complete events with the spans around them, shapes, bytes and flops. `write` is given one
  /// piece after the other.
  void write_trace(const std::function<void(std::string_view)>& write) const;

 private:
  using Clock = std::chrono::steady_clock;

  // Calls that are alike in everything but time; a span has no slot.
  struct Site {
    const KernelSlotBase* slot = nullptr;
    Device device;
    int path = 0;
    int64_t bytes = 0, flops = 0;
    std::vector<std::string> shapes{};
    int64_t calls = 0, self_ns = 0;
  };
  struct Event {
    uint32_t site;
    int thread;
    int64_t start_ns, duration_ns;
  };
  struct Path {
    std::string name, full;
    uint32_t site = 0;  // of the span
  };
  struct Frame;
  static std::vector<Frame>& frames();  // of this thread

  int64_t now_ns() const;
  Frame* innermost(bool kernel) const;
  void note(KernelCall& call, const Frame& frame, int64_t stop);
  void record(uint32_t site, const Frame& frame, int64_t stop);
  std::string event_json(const Event& event) const;

  const Clock::time_point begin_;
  const int thread_;
  mutable std::mutex mutex_;
  std::vector<Path> paths_;
  std::unordered_map<std::string, int> path_index_;
  std::deque<Site> sites_;
  std::unordered_map<std::string, uint32_t> site_index_;
  std::deque<Event> events_;
  int64_t calls_ = 0, dropped_ = 0, own_ns_ = 0;
};

}  // namespace tessera
