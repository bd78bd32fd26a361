#include "tensor/profile.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "tensor/kernel_slot.h"

namespace tessera {
namespace {

// An update of all parameters has hundreds of tensors; their first ones tell enough.
constexpr size_t kMaxShapes = 8;

int this_thread() {
  static std::atomic<int> count{0};
  thread_local const int number = count++;
  return number;
}

// Repeated elements are in memory once.
int64_t bytes_of(const Tensor& t) {
  int64_t elements = 1;
  for (int axis = 0; axis < t.rank(); ++axis)
    if (t.strides()[axis] != 0 || t.shape()[axis] == 0) elements *= t.shape()[axis];
  return elements * size_of(t.dtype());
}

int64_t distinct_bytes(std::span<const Tensor* const> tensors) {
  std::vector<std::pair<const void*, int64_t>> blocks;
  blocks.reserve(tensors.size());
  for (const Tensor* t : tensors) blocks.emplace_back(t->raw_data(), bytes_of(*t));
  std::sort(blocks.begin(), blocks.end());
  blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
  int64_t total = 0;
  for (const auto& [start, bytes] : blocks) total += bytes;
  return total;
}

template <class T>
void append(std::string& key, const T& value) {
  key.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

std::string quoted(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') out += '\\';
    if (byte >= 32)
      out += c;
    else
      out += {'\\', 'u', '0', '0', kHex[byte >> 4], kHex[byte & 15]};
  }
  return out + '"';
}

// The trace counts in microseconds. All digits are kept, so that events nest as the calls did.
std::string microseconds(int64_t ns) {
  const std::string rest = std::to_string(ns % 1000);
  return std::to_string(ns / 1000) + "." + std::string(3 - rest.size(), '0') + rest;
}

}  // namespace

// A kernel or a span that this thread is in.
struct Profile::Frame {
  const Profile* owner;  // several profiles may run at once
  bool kernel;
  int path;
  int64_t start_ns;
  int64_t inside_ns;  // spent in kernels that this kernel called
};

std::vector<Profile::Frame>& Profile::frames() {
  thread_local std::vector<Frame> stack;
  return stack;
}

Profile::Profile() : begin_(Clock::now()), thread_(this_thread()), paths_{{}} {}

int64_t Profile::now_ns() const {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin_).count();
}

// The innermost frame of this profile, or the innermost kernel; null where there is none.
Profile::Frame* Profile::innermost(bool kernel) const {
  std::vector<Frame>& stack = frames();
  for (auto at = stack.rbegin(); at != stack.rend(); ++at)
    if (at->owner == this && (at->kernel || !kernel)) return &*at;
  return nullptr;
}

void Profile::call(KernelCall& call) {
  const Frame* outer = innermost(false);
  frames().push_back({this, true, outer ? outer->path : 0, now_ns(), 0});
  try {
    call.run();
  } catch (...) {
    frames().pop_back();
    throw;
  }
  const int64_t stop = now_ns();
  const Frame frame = frames().back();
  frames().pop_back();
  if (Frame* caller = innermost(true)) caller->inside_ns += stop - frame.start_ns;

  note(call, frame, stop);
}

void Profile::note(KernelCall& call, const Frame& frame, int64_t stop) {
  const auto tensors = call.tensors(), shown = tensors.first(std::min(tensors.size(), kMaxShapes));
  Site site{&call.slot(), call.device(), frame.path, distinct_bytes(tensors), call.flops()};
  std::string key;
  append(key, site.slot);
  append(key, site.device.type);
  append(key, site.device.index);
  append(key, site.path);
  append(key, site.bytes);
  append(key, site.flops);
  for (const Tensor* t : shown) {
    append(key, t->dtype());
    append(key, t->rank());
    for (const int64_t size : t->shape()) append(key, size);
  }
  const std::lock_guard lock(mutex_);
  const auto [at, is_new] = site_index_.try_emplace(std::move(key), sites_.size());
  if (is_new) {
    for (const Tensor* t : shown) site.shapes.push_back(cat(t->dtype(), t->shape()));
    const size_t rest = tensors.size() - shown.size();
    if (rest > 0) site.shapes.push_back(cat("and ", rest, " more"));
    sites_.push_back(std::move(site));
  }
  ++calls_;
  if (this_thread() == thread_) own_ns_ += stop - frame.start_ns - frame.inside_ns;
  record(at->second, frame, stop);
}

void Profile::begin_span(std::string_view name) {
  const Frame* outer = innermost(false);
  const int above = outer ? outer->path : 0;
  const std::lock_guard lock(mutex_);
  const std::string& prefix = paths_[static_cast<size_t>(above)].full;
  const std::string full = prefix.empty() ? std::string(name) : cat(prefix, "/", name);
  const auto [at, is_new] = path_index_.try_emplace(full, static_cast<int>(paths_.size()));
  if (is_new) {
    paths_.push_back({std::string(name), full, static_cast<uint32_t>(sites_.size())});
    sites_.push_back({nullptr, kCpu, at->second});
  }
  frames().push_back({this, false, at->second, now_ns(), 0});
}

void Profile::end_span() noexcept {
  const int64_t stop = now_ns();
  const Frame frame = frames().back();
  frames().pop_back();
  const std::lock_guard lock(mutex_);
  record(paths_[static_cast<size_t>(frame.path)].site, frame, stop);
}

// Under the lock.
void Profile::record(uint32_t site, const Frame& frame, int64_t stop) {
  ++sites_[site].calls;
  sites_[site].self_ns += stop - frame.start_ns - frame.inside_ns;
  if (events_.size() < kMaxEvents)
    events_.push_back({site, this_thread(), frame.start_ns, stop - frame.start_ns});
  else
    ++dropped_;
}

std::vector<ProfileRow> Profile::rows(bool by_shape) const {
  std::map<std::tuple<std::string, std::string, std::string, std::string>, ProfileRow> merged;
  const std::lock_guard lock(mutex_);
  for (const Site& site : sites_) {
    if (!site.slot) continue;
    std::string shapes;
    if (by_shape)
      for (const std::string& s : site.shapes) shapes += (shapes.empty() ? "" : " ") + s;
    const std::string& where = paths_[static_cast<size_t>(site.path)].full;
    ProfileRow& row = merged[{site.slot->name(), to_string(site.device), where, shapes}];
    row.kernel = site.slot->name();
    row.where = where;
    row.shapes = shapes;
    row.device = site.device;
    row.calls += site.calls;
    row.seconds += 1e-9 * static_cast<double>(site.self_ns);
    row.bytes += site.calls * site.bytes;
    row.flops += site.calls * site.flops;
  }
  std::vector<ProfileRow> rows;
  for (auto& [key, row] : merged) rows.push_back(std::move(row));
  std::stable_sort(rows.begin(), rows.end(),
                   [](const ProfileRow& a, const ProfileRow& b) { return a.seconds > b.seconds; });
  return rows;
}

double Profile::seconds() const { return 1e-9 * static_cast<double>(now_ns()); }

double Profile::kernel_seconds() const {
  const std::lock_guard lock(mutex_);
  return 1e-9 * static_cast<double>(own_ns_);
}

int64_t Profile::calls() const {
  const std::lock_guard lock(mutex_);
  return calls_;
}

// Under the lock.
std::string Profile::event_json(const Event& event) const {
  const Site& site = sites_[event.site];
  const Path& path = paths_[static_cast<size_t>(site.path)];
  std::string out = "{\"name\":" + quoted(site.slot ? site.slot->name() : path.name) +
                    ",\"cat\":" + (site.slot ? "\"kernel\"" : "\"span\"") +
                    ",\"ph\":\"X\",\"pid\":1,\"tid\":" + std::to_string(event.thread) +
                    ",\"ts\":" + microseconds(event.start_ns) +
                    ",\"dur\":" + microseconds(event.duration_ns);
  if (site.slot) {
    out += ",\"args\":{\"in\":" + quoted(path.full) +
           ",\"device\":" + quoted(to_string(site.device)) + ",\"shapes\":[";
    for (size_t i = 0; i < site.shapes.size(); ++i)
      out += (i > 0 ? "," : "") + quoted(site.shapes[i]);
    out += "],\"bytes\":" + std::to_string(site.bytes) +
           ",\"flops\":" + std::to_string(site.flops) + "}";
  }
  return out + "}";
}

void Profile::write_trace(const std::function<void(std::string_view)>& write) const {
  constexpr size_t kChunk = 1024;  // events: kernels of other threads do not wait long
  write("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[");
  int64_t dropped = 0;
  for (size_t next = 0, end = 1; next < end;) {
    std::string text;
    {
      const std::lock_guard lock(mutex_);
      end = events_.size();
      dropped = dropped_;
      for (const size_t stop = std::min(end, next + kChunk); next < stop; ++next)
        text += (next == 0 ? "\n" : ",\n") + event_json(events_[next]);
    }
    write(text);
  }
  write("\n],\"otherData\":{\"dropped_events\":" + std::to_string(dropped) + "}}\n");
}

}  // namespace tessera
