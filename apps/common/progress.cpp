#include "apps/common/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "apps/common/text.h"
#include "tensor/error.h"

namespace tessera::apps {
namespace {

constexpr double kRedrawInterval = 0.1;  // seconds between two drawings of a bar
constexpr double kRateMemory = 8;        // seconds after which an old rate counts for 1/e
constexpr double kFirstLine = 5, kLineInterval = 10;  // seconds, log lines
constexpr std::string_view kClearLine = "\r\x1b[K";

void write_stderr(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
    if (n <= 0) return;  // a closed stderr must not stop the work
    text.remove_prefix(static_cast<size_t>(n));
  }
}

double steady_seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

int terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string rate_text(const ProgressState& s) {
  if (!(s.rate > 0)) return "";
  const int decimals = s.rate < 1 ? 2 : s.rate < 100 ? 1 : 0;
  return cat(format_fixed(s.rate, decimals), " ", s.unit, "/s");
}

std::string time_text(const ProgressState& s) {
  if (s.total > 0 && s.done >= s.total) return "in " + format_duration(s.seconds);
  if (s.total <= 0 || !(s.rate > 0)) return format_duration(s.seconds);
  return format_duration(static_cast<double>(s.total - s.done) / s.rate) + " left";
}

double fraction(const ProgressState& s) {
  return std::clamp(static_cast<double>(s.done) / static_cast<double>(s.total), 0.0, 1.0);
}

/// Joins the parts that are not empty with two blanks.
std::string join(std::initializer_list<std::string_view> parts) {
  std::string line;
  for (const std::string_view part : parts) {
    if (part.empty()) continue;
    if (!line.empty()) line += "  ";
    line += part;
  }
  return line;
}

}  // namespace

std::string progress_bar_line(const ProgressState& s, int width) {
  const auto room = static_cast<size_t>(std::max(width, 1));
  const bool known = s.total > 0;
  const std::string count = known ? cat(s.done, "/", s.total) : cat(s.done, " ", s.unit);
  const std::string percent =
      known ? cat(static_cast<int>(std::floor(fraction(s) * 100)), " %") : "";
  const std::string rate = rate_text(s), time = time_text(s);

  const std::string full = join({s.label, percent, count, rate, time, s.note});
  if (full.size() <= room) {
    // The bar takes what is left, if that is enough to be worth it.
    const size_t left = room - full.size();
    if (!known || left < 10) return full;
    const size_t cells = std::min<size_t>(left - 4, 40);
    const auto filled = static_cast<size_t>(std::floor(fraction(s) * static_cast<double>(cells)));
    const std::string bar = "[" + std::string(filled, '#') + std::string(cells - filled, '.') + "]";
    return join({s.label, bar, percent, count, rate, time, s.note});
  }
  for (const std::string& shorter :
       {join({s.label, percent, count, rate, time}), join({s.label, percent, count, time})}) {
    if (shorter.size() <= room) return shorter;
  }
  return join({s.label, percent}).substr(0, room);
}

std::string progress_log_line(const ProgressState& s) {
  const std::string count =
      s.total > 0 ? cat(s.done, "/", s.total, " ", s.unit) : cat(s.done, " ", s.unit);
  const std::string percent =
      s.total > 0 ? cat("(", static_cast<int>(std::floor(fraction(s) * 100)), " %)") : "";
  const std::string counts = percent.empty() ? count : count + " " + percent;
  return join({s.label.empty() ? "" : s.label + ":", counts, rate_text(s), time_text(s), s.note});
}

Progress::Progress(Options options)
    : mode_(options.mode),
      write_(options.write ? std::move(options.write) : write_stderr),
      clock_(options.clock ? std::move(options.clock) : steady_seconds),
      width_(options.width ? std::move(options.width) : terminal_width) {
  state_.label = std::move(options.label);
  state_.unit = std::move(options.unit);
  state_.total = options.total;
  if (mode_ == ProgressMode::kAuto) {
    mode_ = isatty(STDERR_FILENO) ? ProgressMode::kBar : ProgressMode::kLines;
  }
  start_ = measured_at_ = shown_at_ = clock_();
}

Progress::~Progress() {
  try {
    if (mode_ == ProgressMode::kLines && state_.total > 0 && state_.done < state_.total) return;
    finish();
  } catch (...) {  // nothing may leave a destructor; the display is not worth a crash
  }
}

void Progress::measure(double now) {
  state_.seconds = now - start_;
  const double passed = now - measured_at_;
  if (passed <= 0 || state_.done == measured_done_) return;
  const double recent = static_cast<double>(state_.done - measured_done_) / passed;
  // A moving average, but never with a longer memory than the time seen so far.
  const double weight = 1 - std::exp(-passed / kRateMemory);
  const double share = std::max(weight, passed / std::max(state_.seconds, passed));
  state_.rate += (recent - state_.rate) * share;
  measured_at_ = now;
  measured_done_ = state_.done;
}

void Progress::update(int64_t done, std::string_view note) {
  state_.done = done;
  state_.note = note;
  if (mode_ == ProgressMode::kQuiet || finished_) return;
  const double now = clock_();
  if (mode_ == ProgressMode::kBar) {
    if (on_screen_ && now - shown_at_ < kRedrawInterval) return;
    measure(now);
    draw(now);
    return;
  }
  const double elapsed = now - start_;
  const bool first = !on_screen_ && elapsed >= kFirstLine;
  const bool next = on_screen_ && now - shown_at_ >= std::max(kLineInterval, elapsed * 0.1);
  if ((!first && !next) || (state_.total > 0 && done >= state_.total)) return;
  measure(now);
  draw(now);
}

void Progress::draw(double now) {
  shown_at_ = now;
  on_screen_ = true;
  if (mode_ == ProgressMode::kBar) {
    // One column stays free: some terminals wrap when the last one is written.
    write_(cat(kClearLine, progress_bar_line(state_, width_() - 1)));
  } else {
    write_(progress_log_line(state_) + "\n");
  }
}

void Progress::clear() {
  if (mode_ == ProgressMode::kBar && on_screen_) write_(kClearLine);
  on_screen_ = on_screen_ && mode_ != ProgressMode::kBar;
}

void Progress::print(std::string_view line) {
  clear();
  write_(cat(line, "\n"));
  if (mode_ == ProgressMode::kBar && !finished_) draw(clock_());
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  if (mode_ == ProgressMode::kBar) clear();
  if (mode_ != ProgressMode::kLines) return;
  state_.seconds = clock_() - start_;
  // The closing line gives the average over the whole run.
  state_.rate =
      state_.seconds > 0 ? static_cast<double>(state_.done) / state_.seconds : state_.rate;
  write_(progress_log_line(state_) + "\n");
}

}  // namespace tessera::apps
