#include "apps/common/profile.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "apps/common/log.h"
#include "apps/common/output.h"
#include "apps/common/text.h"
#include "io/atomic_file.h"

namespace tessera::apps {
namespace {

using nlohmann::json;

// A signal handler may do next to nothing: it tells the thread that waits at the other end.
std::atomic<int> g_wake{-1};

void wake_writer(unsigned char number) {
  const int error = errno;
  [[maybe_unused]] const ssize_t sent = write(g_wake, &number, 1);
  errno = error;
}

extern "C" void on_ending_signal(int number) { wake_writer(static_cast<unsigned char>(number)); }

// The handler is reset when it runs, so a second Ctrl-C ends a program whose disk hangs.
void install(int number, struct sigaction& old) {
  sigaction(number, nullptr, &old);
  if (old.sa_handler == SIG_IGN) return;
  struct sigaction action = {};
  action.sa_handler = on_ending_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);
  sigaction(number, &action, nullptr);
}

std::string column(const std::string& text, size_t width) {
  return std::string(width - std::min(width, text.size()), ' ') + text;
}

std::string line(const std::string& ms, const std::string& share, const std::string& calls,
                 const std::string& gflops, const std::string& gbps, const std::string& rest) {
  return column(ms, 10) + column(share, 9) + column(calls, 9) + column(gflops, 10) +
         column(gbps, 8) + "  " + rest + "\n";
}

std::string percent(double share) { return format_fixed(100 * share, 1) + " %"; }

std::string rate(const json& value) {
  return value.is_null() ? "" : format_fixed(value.get<double>(), 1);
}

}  // namespace

json profile_json(const Profile& profile, double seconds, int64_t steps, bool by_shape) {
  const auto per_step = static_cast<double>(steps);
  json kernels = json::array();
  for (const ProfileRow& row : profile.rows(by_shape)) {
    json k = {{"kernel", row.kernel},
              {"where", row.where},
              {"device", to_string(row.device)},
              {"calls", static_cast<double>(row.calls) / per_step},
              {"ms", 1e3 * row.seconds / per_step},
              {"share", row.seconds / seconds},
              {"gflops", nullptr},
              {"gbps", nullptr}};
    if (by_shape) k["shapes"] = row.shapes;
    if (row.seconds > 0) {
      if (row.flops > 0) k["gflops"] = 1e-9 * static_cast<double>(row.flops) / row.seconds;
      k["gbps"] = 1e-9 * static_cast<double>(row.bytes) / row.seconds;
    }
    kernels.push_back(std::move(k));
  }
  return {{"steps", steps},
          {"step_ms", 1e3 * seconds / per_step},
          {"outside_ms", 1e3 * std::max(0.0, seconds - profile.kernel_seconds()) / per_step},
          {"kernels", std::move(kernels)}};
}

std::string profile_table(const json& profile, size_t most) {
  const double step = profile["step_ms"], outside = profile["outside_ms"];
  const bool several = profile["steps"].get<int64_t>() > 1;
  std::string table =
      line(several ? "ms/step" : "ms", "share", "calls", "GFLOP/s", "GB/s", "kernel, where it ran");
  size_t count = 0, left = 0;
  double left_ms = 0, left_calls = 0;
  for (const json& k : profile["kernels"]) {
    const double ms = k["ms"], calls = k["calls"];
    if (++count > most) {
      ++left, left_ms += ms, left_calls += calls;
      continue;
    }
    std::string name = k["kernel"];
    for (const char* part : {"where", "shapes"})
      if (const std::string text = k.value(part, ""); !text.empty()) name += "  " + text;
    if (k["device"] != "cpu") name += "  (" + k["device"].get<std::string>() + ")";
    table += line(format_fixed(ms, 3), percent(k["share"]), format_fixed(calls, several ? 1 : 0),
                  rate(k["gflops"]), rate(k["gbps"]), name);
  }
  if (left > 0)
    table += line(format_fixed(left_ms, 3), percent(left_ms / step),
                  format_fixed(left_calls, several ? 1 : 0), "", "", cat(left, " more rows"));
  table +=
      line(format_fixed(outside, 3), percent(outside / step), "", "", "", "outside of kernels");
  return table + line(format_fixed(step, 3), percent(1), "", "", "", several ? "step" : "in all");
}

std::unique_ptr<ProfileFile> ProfileFile::from_environment() {
  const char* path = std::getenv("TESSERA_PROFILE");
  return path && *path ? std::make_unique<ProfileFile>(path) : nullptr;
}

ProfileFile::ProfileFile(const std::filesystem::path& path)
    : path_(path), profile_(std::make_shared<Profile>()) {
  const io::AtomicFile probe(path);  // not committed: leaves nothing behind
  guard_.emplace(profile_);
  TESSERA_CHECK(Error, pipe(pipe_) == 0, "no pipe can be made");
  g_wake = pipe_[1];
  thread_ = std::thread([this] { wait_for_signal(); });
  install(SIGINT, old_int_);
  install(SIGTERM, old_term_);
}

ProfileFile::~ProfileFile() { finish(); }

bool ProfileFile::finish() {
  if (thread_.joinable()) {
    sigaction(SIGINT, &old_int_, nullptr);
    sigaction(SIGTERM, &old_term_, nullptr);
    wake_writer(0);
    thread_.join();
    for (const int end : pipe_) close(end);
  }
  return write_once();
}

void ProfileFile::wait_for_signal() {
  unsigned char number = 0;
  while (read(pipe_[0], &number, 1) < 0 && errno == EINTR) {
  }
  if (number == 0) return;  // finish() woke it
  write_once();
  kill(getpid(), number);  // its handler was reset when it ran
}

bool ProfileFile::write_once() {
  const std::lock_guard lock(writing_);
  if (written_) return *written_;
  written_ = false;
  const double seconds = profile_->seconds();
  guard_.reset();
  try {
    io::AtomicFile file(path_);
    profile_->write_trace([&](std::string_view text) { file.write(text); });
    file.commit();
    const std::string table = profile_table(profile_json(*profile_, seconds, 1, false));
    Log().info("profile: ", profile_->calls(), " kernel calls; ", path_.string(),
               " opens in Perfetto and chrome://tracing");
    std::fwrite(table.data(), 1, table.size(), stderr);
    written_ = true;
  } catch (const std::exception& e) {
    Log().error(e.what());
  }
  return *written_;
}

}  // namespace tessera::apps
