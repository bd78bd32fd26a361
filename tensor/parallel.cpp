#include "tensor/parallel.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#if defined(TESSERA_OPENMP)
#include <omp.h>
#endif

namespace tessera {
namespace {

thread_local bool serial = false;
std::atomic<int> override_threads{0};
// Set in a child made by fork() after threads were asked for: the child has none of them, but
// OpenMP and the pool would wait for theirs.
std::atomic<bool> lost_threads{false};

int affinity_processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

// Processors that one cgroup's folder grants, 0 when it sets no quota. Version 2: "cpu.max" holds
// "<quota|max> <period>"; version 1 keeps two files.
double quota_of(const std::string& folder) {
  double quota = 0, period = 0;
  std::string text;
  if (std::ifstream v2(folder + "/cpu.max"); v2 >> text >> period) {
    quota = text == "max" ? 0 : std::atof(text.c_str());
  } else {
    std::ifstream q(folder + "/cpu.cfs_quota_us"), p(folder + "/cpu.cfs_period_us");
    if (!(q >> quota && p >> period)) return 0;
  }
  return quota > 0 && period > 0 ? quota / period : 0;
}

// The tightest quota of this process's cgroup and of those above it, which bind it too. In a
// container the path may be the host's, of which only the root is visible. 0 when there is none.
int cgroup_processors() {
  double least = 0;
  const auto bound_by = [&](const std::string& folder) {
    const double quota = quota_of(folder);
    if (quota > 0 && (least == 0 || quota < least)) least = quota;
  };
  std::ifstream memberships("/proc/self/cgroup");
  for (std::string line; std::getline(memberships, line);) {  // "<id>:<controllers>:<path>"
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool v1 = controllers.find(",cpu,") != std::string::npos;
    if (!v1 && controllers != ",,") continue;
    std::string path = line.substr(second + 1);
    while (true) {
      if (path == "/") path.clear();
      bound_by((v1 ? "/sys/fs/cgroup/cpu" : "/sys/fs/cgroup") + path);
      const size_t slash = path.rfind('/');
      if (slash == std::string::npos) break;
      path.resize(slash);
    }
  }
  return least > 0 ? std::max(1, static_cast<int>(least + 0.5)) : 0;
}

int default_threads() {
  if (const char* text = std::getenv("TESSERA_NUM_THREADS")) {
    const int n = std::atoi(text);
    if (n > 0) return std::min(n, 1024);
  }
  const int quota = cgroup_processors();
  const int processors = std::max(1, affinity_processors());
  return quota > 0 ? std::min(quota, processors) : processors;
}

// The first exception of a parallel region.
class FirstError {
 public:
  void capture() {
    std::lock_guard lock(mutex_);
    if (!error_) error_ = std::current_exception();
  }
  void rethrow() {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr error_;
};

struct Task {
  detail::RangeFn fn;
  void* context;
  int64_t begin, count;
  int parts;
  FirstError error;

  void run(int part) {
    const int64_t b = begin + count * part / parts, e = begin + count * (part + 1) / parts;
    SerialGuard guard;
    try {
      fn(context, b, e);
    } catch (...) {
      error.capture();
    }
  }
};

#if defined(TESSERA_OPENMP)

// One runtime for our loops and oneDNN's: a second pool would fight its spinning threads.
void run_parallel(Task& task) {
#pragma omp parallel for num_threads(task.parts) schedule(static, 1)
  for (int part = 0; part < task.parts; ++part) task.run(part);
}

#else

// Worker threads that sleep between tasks; the caller works on part 0.
class Pool {
 public:
  static Pool& instance() {
    struct Owner {
      Pool* pool = new Pool;
      ~Owner() {
        if (!lost_threads) delete pool;
      }
    };
    static Owner owner;
    return *owner.pool;
  }

  void run(Task& task) {
    std::lock_guard one_at_a_time(run_mutex_);
    {
      std::lock_guard lock(mutex_);
      while (static_cast<int>(workers_.size()) < task.parts - 1) {
        const int part = static_cast<int>(workers_.size()) + 1;
        workers_.emplace_back([this, part, seen = epoch_] { loop(part, seen); });
      }
      task_ = &task;
      pending_ = static_cast<int>(workers_.size());
      ++epoch_;
    }
    start_.notify_all();
    task.run(0);
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return pending_ == 0; });
    task_ = nullptr;
  }

  ~Pool() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    start_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

 private:
  void loop(int part, uint64_t seen) {
    while (true) {
      Task* task;
      {
        std::unique_lock lock(mutex_);
        start_.wait(lock, [&] { return stop_ || epoch_ != seen; });
        if (stop_) return;
        seen = epoch_;
        task = task_;
      }
      if (part < task->parts) task->run(part);
      {
        std::lock_guard lock(mutex_);
        if (--pending_ == 0) done_.notify_one();
      }
    }
  }

  std::mutex run_mutex_, mutex_;
  std::condition_variable start_, done_;
  std::vector<std::thread> workers_;
  Task* task_ = nullptr;
  uint64_t epoch_ = 0;
  int pending_ = 0;
  bool stop_ = false;
};

void run_parallel(Task& task) { Pool::instance().run(task); }

#endif

}  // namespace

int num_threads() {
  if (lost_threads.load(std::memory_order_relaxed)) return 1;
  static const int initial = [] {
    pthread_atfork(nullptr, nullptr, [] { lost_threads = true; });
    return default_threads();
  }();
  const int n = override_threads.load(std::memory_order_relaxed);
  return n > 0 ? n : initial;
}

void set_num_threads(int n) {
  override_threads = std::min(std::max(n, 0), 1024);
#if defined(TESSERA_OPENMP)
  omp_set_num_threads(num_threads());  // what oneDNN reads
#endif
}

bool in_parallel_region() { return serial; }

SerialGuard::SerialGuard() : previous_(serial) { serial = true; }
SerialGuard::~SerialGuard() { serial = previous_; }

void detail::parallel_for(int64_t begin, int64_t end, int64_t grain, RangeFn fn, void* context) {
  if (end <= begin) return;
  const int64_t count = end - begin;
  const int64_t parts =
      serial ? 1 : std::clamp<int64_t>(count / std::max<int64_t>(grain, 1), 1, num_threads());
  if (parts == 1) return fn(context, begin, end);
  Task task{fn, context, begin, count, static_cast<int>(parts), {}};
  run_parallel(task);
  task.error.rethrow();
}

}  // namespace tessera
