#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace tessera::apps {

/// What a progress display knows at one moment.
struct ProgressState {
  std::string label;  // what is being done: "epoch 3/20"
  std::string unit;   // what is counted: "images"
  std::string note;   // changing remark: "loss 0.93"
  int64_t done = 0;
  int64_t total = 0;   // <= 0: unknown, no bar and no time left
  double seconds = 0;  // since the start
  double rate = 0;     // units per second; <= 0: unknown
};

/// One line of at most `width` columns with a bar. What does not fit goes first from the bar, then
/// the note, then the rate, then the end of the label.
std::string progress_bar_line(const ProgressState& state, int width);
/// The same facts as a plain line for a log.
std::string progress_log_line(const ProgressState& state);

enum class ProgressMode {
  kAuto,   // a bar where stderr is a terminal, lines otherwise
  kBar,    // one line redrawn at most 10 times a second, removed at the end
  kLines,  // a line now and then, rarer as time passes, and one at the end
  kQuiet
};

/// Shows the progress of one loop on stderr, with rate and time left. Not thread-safe.
class Progress {
 public:
  struct Options {
    std::string label, unit = "items";
    int64_t total = 0;
    ProgressMode mode = ProgressMode::kAuto;
    /// Replace stderr, the clock (seconds) and the terminal's width: for tests.
    std::function<void(std::string_view)> write{};
    std::function<double()> clock{};
    std::function<int()> width{};
  };

  explicit Progress(Options options);
  /// Calls finish(), without a closing line if the loop ended early.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Sets how much is done; redraws if it is time to.
  void update(int64_t done, std::string_view note = {});
  void advance(int64_t count = 1) { update(state_.done + count, state_.note); }
  /// Prints a line of its own without disturbing the bar.
  void print(std::string_view line);
  /// Removes the bar, or writes the closing line of a log. Further calls do nothing.
  void finish();

  double seconds() const { return clock_() - start_; }

 private:
  void measure(double now);
  void draw(double now);
  void clear();

  ProgressState state_;
  ProgressMode mode_;
  std::function<void(std::string_view)> write_;
  std::function<double()> clock_;
  std::function<int()> width_;
  double start_ = 0, shown_at_ = 0, measured_at_ = 0;
  int64_t measured_done_ = 0;
  bool on_screen_ = false, finished_ = false;
};

}  // namespace tessera::apps
