// What this machine can do at most, as one JSON object: f32 multiply-adds per second with the
// widest vectors the processor has, and bytes per second of copying between buffers far larger than
// its caches.
//
//   peak_bench [--threads T] [--seconds S] [--mib M]
//
// Both are measured on T threads at once, in slices, for S seconds each. fp32_gflops and copy_gb_s
// are the best slices: a ceiling, against which a share of peak never flatters. The medians stand
// beside them. A multiply-add is two operations, a copied byte two bytes of traffic (read,
// written).

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kChains = 12;  // independent sums: more than latency times units of any processor yet
constexpr int64_t kRounds = 1 << 19;  // of all chains in a slice: a few milliseconds

template <int Bytes>
struct Vector {
  typedef float type __attribute__((vector_size(Bytes)));
};

/// kRounds * kChains multiply-adds of vectors; returns their sum so that none can be left out. The
/// sums tend to 1: neither overflow nor denormal numbers slow them down.
template <int Bytes>
[[gnu::always_inline]] inline float multiply_adds(float factor) {
  using V = typename Vector<Bytes>::type;
  V sums[kChains];
  for (int c = 0; c < kChains; ++c) sums[c] = V{} + static_cast<float>(c);
  const V a = V{} + factor, b = V{} + (1 - factor);
  for (int64_t i = 0; i < kRounds; ++i) {
    for (int c = 0; c < kChains; ++c) sums[c] = sums[c] * a + b;
  }
  V all = sums[0];
  for (int c = 1; c < kChains; ++c) all += sums[c];
  float total = 0;
  for (size_t i = 0; i < Bytes / sizeof(float); ++i) total += all[i];
  return total;
}

struct Kernel {
  const char* name;
  int floats;
  float (*run)(float factor);
};

#if defined(__x86_64__)
[[gnu::target("avx512f")]] float run_avx512(float factor) { return multiply_adds<64>(factor); }
[[gnu::target("avx,fma")]] float run_avx_fma(float factor) { return multiply_adds<32>(factor); }
#endif
float run_128(float factor) { return multiply_adds<16>(factor); }

/// Chosen when the program runs, as oneDNN chooses its kernels, whatever it was compiled for.
Kernel widest_kernel() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return {"AVX-512", 16, run_avx512};
  if (__builtin_cpu_supports("avx") && __builtin_cpu_supports("fma"))
    return {"AVX and FMA", 8, run_avx_fma};
#endif
  return {"128 bits", 4, run_128};
}

/// Runs work(thread) on all threads at once, again and again for `seconds`; the sorted times.
template <class Work>
std::vector<double> time_slices(int threads, double seconds, Work work) {
  std::vector<double> times;
  Clock::time_point start{};
  bool done = false;
  const auto begin = Clock::now();
  const auto end_slice = [&]() noexcept {  // on one thread, while all others wait
    const auto now = Clock::now();
    if (start != Clock::time_point{})
      times.push_back(std::chrono::duration<double>(now - start).count());
    done = times.size() >= 5 && std::chrono::duration<double>(now - begin).count() > seconds;
    start = Clock::now();
  };
  std::barrier sync(threads, end_slice);
  std::vector<std::thread> team;
  for (int t = 0; t < threads; ++t)
    team.emplace_back([&, t] {
      work(t);  // warms up: clock rate, pages
      while (true) {
        sync.arrive_and_wait();
        if (done) return;
        work(t);
      }
    });
  for (std::thread& thread : team) thread.join();
  std::sort(times.begin(), times.end());
  return times;
}

struct Options {
  int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  double seconds = 1;
  int64_t mib = 0;  // of each of the two buffers; 0: four times the last cache, from 256 to 1024
};

[[noreturn]] void usage(const char* problem) {
  std::fprintf(stderr, "peak_bench: %s; usage: peak_bench [--threads T] [--seconds S] [--mib M]\n",
               problem);
  std::exit(2);
}

double number(const char* text, double low, double high) {
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (end == text || *end != '\0' || !(value >= low && value <= high)) usage("number out of range");
  return value;
}

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    if (i + 1 == argc) usage("every option needs a value");
    if (name == "--threads")
      o.threads = static_cast<int>(number(argv[i + 1], 1, 1024));
    else if (name == "--seconds")
      o.seconds = number(argv[i + 1], 0, 3600);
    else if (name == "--mib")
      o.mib = static_cast<int64_t>(number(argv[i + 1], 1, 1 << 20));
    else
      usage("unknown option");
  }
  if (o.mib == 0) {
    const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);  // 0 or -1 where unknown
    o.mib = std::clamp<int64_t>(4 * static_cast<int64_t>(cache) >> 20, 256, 1024);
  }
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  const Options o = parse(argc, argv);
  const Kernel kernel = widest_kernel();
  volatile float factor = 0.5f;  // or the compiler would compute the sums
  std::atomic<float> sink = 0;
  const std::vector<double> sums =
      time_slices(o.threads, o.seconds, [&](int) { sink = kernel.run(factor); });
  const double operations =
      2.0 * kernel.floats * kChains * static_cast<double>(kRounds) * o.threads;

  const size_t bytes = static_cast<size_t>(o.mib) << 20, share = bytes / o.threads;
  std::vector<char> from(bytes, 1), to(bytes);
  const std::vector<double> copies = time_slices(o.threads, o.seconds, [&](int t) {
    std::memcpy(to.data() + t * share, from.data() + t * share, share);
  });
  const double traffic = 2.0 * static_cast<double>(share) * o.threads;
  if (!std::isfinite(sink.load()) || to[share - 1] != 1) return 1;

  const auto median = [](const std::vector<double>& times) { return times[times.size() / 2]; };
  std::printf(
      "{\"program\": \"peak_bench\", \"threads\": %d, \"vectors\": \"%s\", \"fp32_gflops\": %.1f, "
      "\"fp32_gflops_median\": %.1f, \"copy_gb_s\": %.2f, \"copy_gb_s_median\": %.2f, "
      "\"copy_mib\": %lld}\n",
      o.threads, kernel.name, operations / sums.front() / 1e9, operations / median(sums) / 1e9,
      traffic / copies.front() / 1e9, traffic / median(copies) / 1e9,
      static_cast<long long>(o.mib));
}
