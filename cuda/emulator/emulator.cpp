// Prototype scheduler, memory arenas and access checker. Never compiled with -fsanitize=thread
// itself.
#include "cuda/device.h"
#include "cuda/hopper.h"
#include "cuda/tensor_core.h"

#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
#include <csignal>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <vector>

#ifndef TESSERA_EMULATOR_FIBER
#define TESSERA_EMULATOR_FIBER 0  // 0 own x86-64 switch, 1 boost fcontext, 2 ucontext
#endif
#if TESSERA_EMULATOR_FIBER == 1
#include <boost/context/detail/fcontext.hpp>
#elif TESSERA_EMULATOR_FIBER == 2
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define EMU_ASAN 1
#else
#define EMU_ASAN 0
#define ASAN_POISON_MEMORY_REGION(a, b) ((void)0)
#define ASAN_UNPOISON_MEMORY_REGION(a, b) ((void)0)
#endif

#if TESSERA_EMULATOR_FIBER == 0
asm(R"(
.text
.globl tessera_emulator_switch_
.type tessera_emulator_switch_,@function
tessera_emulator_switch_:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size tessera_emulator_switch_,.-tessera_emulator_switch_
)");
extern "C" void tessera_emulator_switch_(void** save, void* load);
#endif

namespace tessera::cuda::emulator {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kStack = EMU_ASAN ? 256 * 1024 : 64 * 1024;
constexpr int kMaxThreads = 1024;
constexpr std::size_t kSmemMax = 227 * 1024, kSmemDefault = 48 * 1024;
constexpr std::size_t kSmemArena = 512 * 1024;
constexpr std::size_t kDevArena = std::size_t(64) << 30;
constexpr std::size_t kRedzone = 64;

struct Fiber {
  void* sp = nullptr;
#if TESSERA_EMULATOR_FIBER == 2
  ucontext_t uc;
#endif
  char* lo = nullptr;
  std::size_t size = 0;
  void* fake = nullptr;
};

enum class St : std::uint8_t { Ready, Barrier, Warp, MBar, Done };

struct PendingCopy {
  char* dst;
  const char* src;
  unsigned n, n_src;
  unsigned group;
};

struct PendingMma {
  float* d;
  std::uint64_t a, b;
  int scale_d;
  unsigned group;
};
struct PendingTma {
  char* dst;
  TensorMap m;
  int x, y;
  std::uint64_t* bar;
};

struct Thread {
  uint3 tid;
  std::uint16_t lin;
  St st;
  int pred, red;
  Fiber* fiber;
  Loc loc;
  unsigned cp_group;
  std::vector<PendingCopy> cp;
  unsigned mma_group = 0;
  std::vector<PendingMma> mma;
  std::map<float*, std::vector<float>> mma_saved;
};

struct Warp {
  unsigned exist = 0, alive = 0;
  std::uint32_t time = 1;        // grows at every memory-ordering warp operation
  std::uint32_t synced[32][32];  // last time lanes a and b were ordered
  std::vector<WarpGroup> groups;
};

struct Barrier {
  int arrived = 0, expected = 0;
  Loc first;
  std::vector<std::uint16_t> waiting;
};

struct Shadow {
  std::uint32_t w_serial, w_epoch, w_time;
  std::uint32_t r_serial, r_epoch, r_time, r_mask;
  std::uint16_t w_tid;
  std::uint8_t r_warp;
  std::uint8_t init : 1, w_atomic : 1, r_many_warps : 1, r_many_blocks : 1, inflight : 1;
};

struct Alloc {
  char* map;
  std::size_t map_bytes;
  char* p;
  std::size_t bytes, granule;
  std::unique_ptr<Shadow[]> shadow;
  bool live;
};

struct StaticVar {
  const char* name;
  std::size_t off, bytes;
  const void* site;
};

struct World {
  Options opt;
  Stats stats;
  std::mt19937_64 rng{1};

  // fibers
  char* stacks = nullptr;
  std::vector<Fiber> fibers;
  std::vector<Fiber*> free_fibers;
  Fiber main;
  Fiber* running = nullptr;

  // block
  bool in_kernel = false;
  dim3 grid, block;
  int n = 0, live = 0;
  Thread* cur = nullptr;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  Barrier bars[16];
  std::vector<std::uint16_t> ready;  // FIFO ring or stack
  std::size_t head = 0, count = 0;
  std::uint64_t serial = 0, launch_first = 0;
  std::uint32_t epoch = 0;
  void (*thunk)(void*) = nullptr;
  void* ctx = nullptr;
  std::string error;
  bool failed = false;
  Loc launch_loc;
  const void* fn = nullptr;
  std::map<const void*, std::size_t> smem_optin;

  // shared memory
  char* smem = nullptr;
  std::size_t smem_static = 0, smem_dyn = 0;
  char* dyn = nullptr;
  std::vector<StaticVar> vars;
  std::vector<PendingTma> tma;
  std::vector<std::uint16_t> mbar_waiting;
  std::unique_ptr<Shadow[]> smem_shadow;
  std::unique_ptr<std::uint8_t[]> smem_gran;

  // device memory
  char* dev = nullptr;
  std::size_t dev_used = 0;
  std::vector<Alloc> allocs;
  std::vector<std::uint32_t> owner;  // page -> allocation + 1
};

thread_local World* g_w = nullptr;
// True while kernel code runs. The access hooks ignore everything else: the linker may have merged
// an instrumented copy of an inline std:: function from a kernel file into this runtime.
constinit thread_local bool g_kernel = false;
struct Rt {
  bool was = g_kernel;
  Rt() { g_kernel = false; }
  ~Rt() { g_kernel = was; }
};
World& W() {
  if (!g_w) [[unlikely]]
    g_w = new World;
  return *g_w;
}

#ifdef TESSERA_EMULATOR_CHECK
constexpr bool kCheck = true;
#else
constexpr bool kCheck = false;
#endif

std::string where(const Loc& l, bool column = false) {
  std::string f = l.file_name();
  auto s = f.rfind('/');
  return (s == std::string::npos ? f : f.substr(s + 1)) + ":" + std::to_string(l.line()) +
         (column ? ":" + std::to_string(l.column()) : "");
}
std::string who(const Thread& t) {
  std::ostringstream o;
  o << "thread (" << t.tid.x << "," << t.tid.y << "," << t.tid.z << ")";
  return o.str();
}
std::string symbolize(const void* pc, bool func_only = false) {
  struct Ctx {
    std::uintptr_t pc;
    std::string exe;
    std::uintptr_t base = 0;
  } c{reinterpret_cast<std::uintptr_t>(pc), {}};
  dl_iterate_phdr(
      [](dl_phdr_info* i, std::size_t, void* p) {
        auto* c = static_cast<Ctx*>(p);
        for (int k = 0; k < i->dlpi_phnum; k++) {
          auto& h = i->dlpi_phdr[k];
          if (h.p_type == PT_LOAD && c->pc >= i->dlpi_addr + h.p_vaddr &&
              c->pc < i->dlpi_addr + h.p_vaddr + h.p_memsz) {
            c->exe = i->dlpi_name[0] ? i->dlpi_name : "/proc/self/exe";
            c->base = i->dlpi_addr;
            return 1;
          }
        }
        return 0;
      },
      &c);
  if (c.exe.empty()) return "?";
  char exe[4096];
  ssize_t k = readlink(c.exe.c_str(), exe, sizeof exe - 1);
  if (k > 0) c.exe.assign(exe, static_cast<std::size_t>(k));
  std::ostringstream cmd;
  cmd << "addr2line -Cfse '" << c.exe << "' 0x" << std::hex << (c.pc - c.base - (func_only ? 0 : 1))
      << " 2>/dev/null";
  FILE* f = popen(cmd.str().c_str(), "r");
  if (!f) return "?";
  char fn[2048] = "", ln[512] = "";
  if (!fgets(fn, sizeof fn, f)) fn[0] = 0;
  if (!fgets(ln, sizeof ln, f)) ln[0] = 0;
  pclose(f);
  auto trim = [](std::string s) {
    while (!s.empty() && s.back() == '\n') s.pop_back();
    return s;
  };
  return func_only ? trim(fn) : trim(ln) + " in " + trim(fn);
}

// ---------------------------------------------------------------- fibers
[[noreturn]] void fiber_main();

#if TESSERA_EMULATOR_FIBER == 0
extern "C" [[noreturn]] void tessera_emulator_entry_() { fiber_main(); }
#elif TESSERA_EMULATOR_FIBER == 1
void fc_entry(boost::context::detail::transfer_t t) {
  static_cast<Fiber*>(t.data)->sp = t.fctx;
  fiber_main();
}
#else
void uc_entry() { fiber_main(); }
#endif

void init_fiber(Fiber& f) {
#if TESSERA_EMULATOR_FIBER == 0
  auto top = reinterpret_cast<std::uintptr_t>(f.lo + f.size) & ~std::uintptr_t(15);
  auto* s = reinterpret_cast<void**>(top);
  *--s = nullptr;  // so that rsp is 8 mod 16 at the entry, as after a call
  *--s = reinterpret_cast<void*>(&tessera_emulator_entry_);
  for (int i = 0; i < 6; i++) *--s = nullptr;
  f.sp = s;
#elif TESSERA_EMULATOR_FIBER == 1
  f.sp = boost::context::detail::make_fcontext(f.lo + f.size, f.size, fc_entry);
#else
  getcontext(&f.uc);
  f.uc.uc_stack.ss_sp = f.lo;
  f.uc.uc_stack.ss_size = f.size;
  f.uc.uc_link = nullptr;
  makecontext(&f.uc, uc_entry, 0);
#endif
  f.fake = nullptr;
}

inline void jump(World& w, Fiber& from, Fiber& to) {
  w.running = &to;
#if EMU_ASAN
  __sanitizer_start_switch_fiber(&from.fake, to.lo, to.size);
#endif
#if TESSERA_EMULATOR_FIBER == 0
  tessera_emulator_switch_(&from.sp, to.sp);
#elif TESSERA_EMULATOR_FIBER == 1
  auto t = boost::context::detail::jump_fcontext(to.sp, &from);
  static_cast<Fiber*>(t.data)->sp = t.fctx;
#else
  swapcontext(&from.uc, &to.uc);
#endif
#if EMU_ASAN
  __sanitizer_finish_switch_fiber(from.fake, nullptr, nullptr);
#endif
}

void make_fibers(World& w) {
  if (w.stacks) return;
  std::size_t slot = kStack + kPage;
  w.stacks = static_cast<char*>(mmap(nullptr, slot * kMaxThreads, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (w.stacks == MAP_FAILED) std::abort();
  w.fibers.resize(kMaxThreads);
  for (int i = 0; i < kMaxThreads; i++) {
    char* base = w.stacks + slot * std::size_t(i);
    mprotect(base, kPage, PROT_NONE);
    w.fibers[i].lo = base + kPage;
    w.fibers[i].size = kStack;
    init_fiber(w.fibers[i]);
  }
  for (int i = kMaxThreads; i-- > 0;) w.free_fibers.push_back(&w.fibers[i]);
#if EMU_ASAN
  // bounds of the host stack, for coming back
  pthread_attr_t a;
  pthread_getattr_np(pthread_self(), &a);
  void* lo;
  std::size_t sz;
  pthread_attr_getstack(&a, &lo, &sz);
  w.main.lo = static_cast<char*>(lo);
  w.main.size = sz;
  pthread_attr_destroy(&a);
#endif
}
void reset_fibers(World& w) {
  w.free_fibers.clear();
  for (int i = kMaxThreads; i-- > 0;) {
    ASAN_UNPOISON_MEMORY_REGION(w.fibers[i].lo, w.fibers[i].size);
    init_fiber(w.fibers[i]);
    w.free_fibers.push_back(&w.fibers[i]);
  }
}

// ---------------------------------------------------------------- scheduling
inline void push(World& w, std::uint16_t t) {
  w.threads[t].st = St::Ready;
  if (w.opt.order == Order::Forward || w.opt.order == Order::Reverse) {
    w.ready[(w.head + w.count) & (2 * kMaxThreads - 1)] = t;
  } else {
    w.ready[w.count] = t;
  }
  w.count++;
}
}  // namespace
namespace {
bool run_tma(World& w);
}
namespace {
inline Thread* pick(World& w) {
  while (!w.count)
    if (!run_tma(w)) return nullptr;
  std::uint16_t t;
  switch (w.opt.order) {
    case Order::Forward:
    case Order::Reverse:
      t = w.ready[w.head & (2 * kMaxThreads - 1)];
      w.head++;
      break;
    case Order::DepthFirst:
      t = w.ready[w.count - 1];
      break;
    default: {
      std::size_t i = w.rng() % w.count;
      t = w.ready[i];
      w.ready[i] = w.ready[w.count - 1];
    }
  }
  w.count--;
  return &w.threads[t];
}
inline void set_current(World& w, Thread* t) {
  w.cur = t;
  threadIdx = t->tid;
}
// Release in an order that makes pick() take them low to high (Forward, DepthFirst) or high to low
// (Reverse).
template <class V>
void release(World& w, V& v) {
  std::sort(v.begin(), v.end());
  bool back = w.opt.order == Order::Reverse || w.opt.order == Order::DepthFirst;
  if (back)
    for (std::size_t i = v.size(); i-- > 0;) push(w, v[i]);
  else
    for (auto t : v) push(w, t);
}

std::string deadlock_report(World& w) {
  std::map<std::string, std::vector<int>> g;
  int done = 0;
  for (auto& t : w.threads) {
    if (t.st == St::Done) {
      done++;
      continue;
    }
    g[(t.st == St::Barrier ? "barrier at "
       : t.st == St::MBar  ? "mbarrier wait at "
                           : "warp operation at ") +
      where(t.loc)]
        .push_back(t.lin);
  }
  std::ostringstream o;
  o << "deadlock:";
  for (auto& [k, v] : g) {
    o << "\n    " << v.size() << " thread(s) wait in a " << k << " (first: thread " << v.front()
      << ")";
  }
  if (done) o << "\n    " << done << " thread(s) have left the kernel";
  return o.str();
}

void block_self(World& w) {
  Thread* me = w.cur;
  Thread* nx = pick(w);
  if (!nx) fail(deadlock_report(w));
  if (nx == me) return;
  w.stats.switches++;
  if (!nx->fiber) {
    nx->fiber = w.free_fibers.back();
    w.free_fibers.pop_back();
  }
  set_current(w, nx);
  jump(w, *me->fiber, *nx->fiber);
}

void barrier_done(World& w, Barrier& b, bool whole_block) {
  w.stats.barriers++;
  int c = 0;
  for (auto t : b.waiting) c += w.threads[t].pred != 0;
  for (auto t : b.waiting) w.threads[t].red = c;
  if (whole_block) w.epoch++;
  release(w, b.waiting);
  b.waiting.clear();
  b.arrived = 0;
}

void finish_group(World& w, Warp& wp, std::size_t gi, void (*resolve)(WarpGroup&), bool orders,
                  int base, Thread* self) {
  w.stats.collectives++;
  WarpGroup g = wp.groups[gi];
  wp.groups.erase(wp.groups.begin() + static_cast<std::ptrdiff_t>(gi));
  resolve(g);
  if (orders && kCheck) {
    for (int a = 0; a < 32; a++)
      if (g.arrived >> a & 1)
        for (int b = 0; b < 32; b++)
          if (g.arrived >> b & 1) wp.synced[a][b] = wp.time;
    wp.time++;
  }
  std::vector<std::uint16_t>& v = w.bars[15].waiting;  // scratch
  v.clear();
  for (int l = 0; l < 32; l++)
    if (g.arrived >> l & 1) v.push_back(static_cast<std::uint16_t>(base + l));
  (void)self;
  release(w, v);
  v.clear();
}

void thread_done(World& w) {
  Thread* t = w.cur;
  t->st = St::Done;
  if (!t->mma.empty()) fail(who(*t) + " left the kernel with wgmma operations still in flight");
  if (!t->cp.empty()) fail(who(*t) + " left the kernel with cp.async copies still in flight");
  w.live--;
  Warp& wp = w.warps[t->lin / 32];
  wp.alive &= ~(1u << (t->lin & 31));
  for (auto& g : wp.groups)
    if ((g.mask >> (t->lin & 31) & 1) && (g.mask & wp.alive) == g.arrived)
      fail(who(*t) + " left the kernel although a warp operation at " +
           where(w.threads[static_cast<std::size_t>(t->lin / 32 * 32 + __builtin_ctz(g.arrived))]
                     .loc) +
           " names its lane in the mask");
  Barrier& b = w.bars[0];
  if (b.arrived && b.arrived == w.live) {
    if (w.opt.strict_exit)
      fail("barrier at " + where(b.first) + " completes only because " + who(*t) +
           " left the kernel");
    barrier_done(w, b, true);
  }
}

[[noreturn]] void fiber_main() {
#if EMU_ASAN
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  World& w = *g_w;
  for (;;) {
    Fiber* me = w.running;
    g_kernel = true;
    w.thunk(w.ctx);
    g_kernel = false;
    thread_done(w);
    Thread* nx = pick(w);
    if (!nx) {
      if (w.live) fail(deadlock_report(w));
      w.free_fibers.push_back(me);
      jump(w, *me, w.main);
    } else if (!nx->fiber) {
      nx->fiber = me;
      set_current(w, nx);
    } else {
      w.stats.switches++;
      w.free_fibers.push_back(me);
      set_current(w, nx);
      jump(w, *me, *nx->fiber);
    }
  }
}

// ---------------------------------------------------------------- memory
void make_smem(World& w) {
  if (w.smem) return;
  char* m = static_cast<char*>(mmap(nullptr, kSmemArena + 2 * kPage, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  mprotect(m, kPage, PROT_NONE);
  mprotect(m + kPage + kSmemArena, kPage, PROT_NONE);
  w.smem = m + kPage;
  if (kCheck) {
    w.smem_shadow.reset(new Shadow[kSmemArena]());
    w.smem_gran.reset(new std::uint8_t[kSmemArena]());
  }
}
void check_canaries(World& w) {
  if (EMU_ASAN || kCheck) return;
  for (auto& v : w.vars) {
    for (std::size_t i = 0; i < kRedzone; i++)
      if (static_cast<unsigned char>(w.smem[v.off + v.bytes + i]) != 0xCB)
        fail(std::string("write past the end of shared variable '") + v.name + "' (" +
             std::to_string(v.bytes) + " bytes), at byte +" + std::to_string(v.bytes + i));
  }
}
void protect(World& w, bool open) {
  for (auto& a : w.allocs)
    if (a.live) mprotect(a.map, a.map_bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

void run_block(World& w, uint3 b) {
  w.stats.blocks++;
  w.stats.threads += static_cast<std::uint64_t>(w.n);
  w.serial++;
  w.epoch++;
  blockIdx = b;
  if (kCheck) {
    std::memset(w.smem_gran.get(), 0, w.smem_static);
    for (auto& wp : w.warps) {
      wp.time = 1;
      std::memset(wp.synced, 0, sizeof wp.synced);
    }
  }
  w.smem_static = 0;
  w.vars.clear();
#if EMU_ASAN
  ASAN_POISON_MEMORY_REGION(w.smem, kSmemArena);
#endif
  w.dyn = w.smem + kSmemArena - ((w.smem_dyn + 15) & ~std::size_t(15));
  if (w.smem_dyn) {
    ASAN_UNPOISON_MEMORY_REGION(w.dyn, w.smem_dyn);
    if (w.opt.poison) std::memset(w.dyn, 0xFF, w.smem_dyn);
    if (kCheck) {
      std::size_t o = static_cast<std::size_t>(w.dyn - w.smem);
      std::memset(w.smem_gran.get() + o, 0, kSmemArena - o);
      std::memset(w.smem_gran.get() + o, 1, w.smem_dyn);
      std::memset((void*)(w.smem_shadow.get() + o), 0, w.smem_dyn * sizeof(Shadow));
    }
  }
  w.tma.clear();
  w.mbar_waiting.clear();
  w.live = w.n;
  w.head = w.count = 0;
  for (auto& bar : w.bars) bar.arrived = 0, bar.waiting.clear();
  for (std::size_t i = 0; i < w.warps.size(); i++) {
    unsigned lanes = static_cast<unsigned>(std::min(32, w.n - int(i) * 32));
    w.warps[i].exist = w.warps[i].alive = lanes == 32 ? ~0u : (1u << lanes) - 1;
    w.warps[i].groups.clear();
  }
  for (int i = 0; i < w.n; i++) {
    Thread& t = w.threads[static_cast<std::size_t>(i)];
    t.fiber = nullptr;
    t.cp.clear();
    t.cp_group = 0;
    t.mma.clear();
    t.mma_saved.clear();
    t.mma_group = 0;
  }
  bool back = w.opt.order == Order::Reverse || w.opt.order == Order::DepthFirst;
  for (int i = 0; i < w.n; i++) push(w, static_cast<std::uint16_t>(back ? w.n - 1 - i : i));
  Thread* t = pick(w);
  t->fiber = w.free_fibers.back();
  w.free_fibers.pop_back();
  set_current(w, t);
  jump(w, w.main, *t->fiber);
  if (!w.failed) check_canaries(w);
}

std::string region_name(World& w, const char* p) {
  std::ostringstream o;
  if (w.smem && p >= w.smem - kPage && p < w.smem + kSmemArena + kPage) {
    std::ptrdiff_t off = p - w.smem;
    if (w.smem_dyn && p >= w.dyn - kRedzone) {
      o << "dynamic shared memory, byte " << (p - w.dyn) << " of " << w.smem_dyn;
      return o.str();
    }
    for (auto& v : w.vars) {
      auto lo = static_cast<std::ptrdiff_t>(v.off), n = static_cast<std::ptrdiff_t>(v.bytes);
      if (off + std::ptrdiff_t(kRedzone) >= lo && off < lo + n + std::ptrdiff_t(kRedzone)) {
        o.str("");
        o << "shared variable '" << v.name << "', byte " << off - lo << " of " << n;
        if (off < lo + n) return o.str();
      }
    }
    return o.str().empty() ? "unused shared memory" : o.str();
  }
  if (w.dev && p >= w.dev && p < w.dev + w.dev_used) {
    for (auto& a : w.allocs)
      if (p >= a.map - kPage && p < a.map + a.map_bytes + kPage) {
        o << (a.live ? "" : "freed ") << "device allocation, byte " << (p - a.p) << " of "
          << a.bytes;
        return o.str();
      }
  }
  if (w.stacks && p >= w.stacks && p < w.stacks + (kStack + kPage) * kMaxThreads)
    return "a thread's stack guard (stack overflow?)";
  return "memory that is neither device memory, shared memory nor this thread's stack (a host "
         "pointer?)";
}
void on_segv(int sig, siginfo_t* si, void*) {
  World& w = *g_w;
  auto* p = static_cast<const char*>(si->si_addr);
  if (w.in_kernel && w.cur) {
    std::fprintf(stderr,
                 "CUDA emulator: kernel %s, block (%u,%u,%u), thread (%u,%u,%u): invalid access\n  "
                 "  to %s\n    launched at %s\n",
                 symbolize(w.fn, true).c_str(), blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x,
                 threadIdx.y, threadIdx.z, region_name(w, p).c_str(), where(w.launch_loc).c_str());
  } else if (w.dev && p >= w.dev && p < w.dev + w.dev_used) {
    std::fprintf(stderr, "CUDA emulator: host code touched %s\n", region_name(w, p).c_str());
  }
  std::signal(sig, SIG_DFL);
}
void install_segv() {
  static bool once = [] {
    if (EMU_ASAN) return true;
    stack_t ss{};
    ss.ss_size = 256 * 1024;
    ss.ss_sp = std::malloc(ss.ss_size);
    sigaltstack(&ss, nullptr);
    struct sigaction sa {};
    sa.sa_sigaction = on_segv;
    sa.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &sa, nullptr);
    return true;
  }();
  (void)once;
}

}  // namespace

Options& options() { return W().opt; }
Stats& stats() { return W().stats; }
unsigned lane_id() { return g_w->cur->lin & 31; }
void* dyn_smem() { return g_w->dyn; }

void fail(std::string what) {
  g_kernel = false;
  World& w = W();
  {
    std::ostringstream o;
    if (w.in_kernel) {
      o << "CUDA emulator: kernel " << symbolize(w.fn, true) << ", block (" << blockIdx.x << ","
        << blockIdx.y << "," << blockIdx.z << "), ";
      if (w.cur) o << who(*w.cur) << ": ";
    } else {
      o << "CUDA emulator: ";
    }
    o << what << "\n    launched at " << where(w.launch_loc);
    if (!w.in_kernel) throw KernelError(o.str());
    w.error = o.str();
  }
  std::string().swap(what);  // this frame is about to be abandoned, not unwound
  w.failed = true;
  if (w.running == &w.main) throw KernelError(w.error);
  jump(w, *w.running, w.main);
  std::abort();
}

void allow_dynamic_smem(const void* fn, std::size_t bytes) {
  if (bytes > kSmemMax) throw KernelError("more dynamic shared memory than a block can have");
  W().smem_optin[fn] = bytes;
}

void run_grid(dim3 grid, dim3 block, std::size_t dyn, void (*thunk)(void*), void* ctx,
              const void* fn, Loc loc) {
  World& w = W();
  if (w.in_kernel) throw KernelError("launch inside a kernel");
  w.launch_loc = loc;
  w.fn = fn;
  std::uint64_t n = std::uint64_t(block.x) * block.y * block.z;
  if (n == 0 || n > kMaxThreads || block.z > 64)
    throw KernelError("launch at " + where(loc) + ": bad block size");
  if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    throw KernelError("launch at " + where(loc) + ": bad grid size");
  if (dyn > kSmemDefault && (!w.smem_optin.count(fn) || w.smem_optin[fn] < dyn))
    throw KernelError("launch at " + where(loc) +
                      ": more than 48 KiB of shared memory without allow_dynamic_smem()");
  make_fibers(w);
  make_smem(w);
  w.stats.launches++;
  w.grid = grid;
  w.block = block;
  gridDim = grid;
  blockDim = block;
  w.n = static_cast<int>(n);
  w.thunk = thunk;
  w.ctx = ctx;
  w.smem_dyn = dyn;
  w.rng.seed(w.opt.seed);
  w.ready.resize(2 * kMaxThreads);
  w.threads.resize(n);
  w.warps.resize((n + 31) / 32);
  for (std::size_t i = 0; i < n; i++) {
    Thread& t = w.threads[i];
    t.lin = static_cast<std::uint16_t>(i);
    t.tid = {unsigned(i) % block.x, unsigned(i) / block.x % block.y,
             unsigned(i) / (block.x * block.y)};
  }
  w.failed = false;
  w.error.clear();
  w.launch_first = w.serial + 1;
  w.running = &w.main;
  w.cur = nullptr;
  protect(w, true);
  w.in_kernel = true;
  std::uint64_t nb = std::uint64_t(grid.x) * grid.y * grid.z;
  std::vector<std::uint64_t> perm;
  if (w.opt.order == Order::Random) {
    perm.resize(nb);
    for (std::uint64_t i = 0; i < nb; i++) perm[i] = i;
    std::shuffle(perm.begin(), perm.end(), w.rng);
  }
  try {
    for (std::uint64_t i = 0; i < nb && !w.failed; i++) {
      std::uint64_t k = w.opt.order == Order::Random    ? perm[i]
                        : w.opt.order == Order::Reverse ? nb - 1 - i
                                                        : i;
      run_block(
          w, {unsigned(k % grid.x), unsigned(k / grid.x % grid.y), unsigned(k / grid.x / grid.y)});
    }
  } catch (...) {
    w.failed = true;
  }
  w.in_kernel = false;
  w.running = nullptr;
  protect(w, false);
  if (w.failed) {
    reset_fibers(w);
    throw KernelError(w.error);
  }
}

void block_barrier(int id, int count, Loc loc) {
  Rt rt;
  World& w = *g_w;
  Barrier& b = w.bars[id];
  Thread* t = w.cur;
  t->loc = loc;
  t->pred = t->pred;
  if (b.arrived == 0)
    b.first = loc, b.expected = count;
  else if (w.opt.strict_barriers &&
           (b.first.line() != loc.line() || b.first.column() != loc.column() ||
            b.first.file_name() != loc.file_name()) &&
           id == 0)
    fail("threads of one block meet in different __syncthreads(): " + where(b.first, true) +
         " and " + where(loc, true));
  b.arrived++;
  b.waiting.push_back(t->lin);
  t->st = St::Barrier;
  if (b.arrived == (b.expected ? b.expected : w.live))
    barrier_done(w, b, b.expected == 0 || b.expected == w.live);
  block_self(w);
}
int block_barrier_reduce(int op, int pred, Loc loc) {
  World& w = *g_w;
  Thread* t = w.cur;
  t->pred = op == 1 ? !pred : pred;
  block_barrier(0, 0, loc);
  int c = t->red;
  t->pred = 0;
  return op == 0 ? c : op == 1 ? c == 0 : c != 0;
}

void warp_collective(unsigned mask, const void* key, const void* in, void* out,
                     void (*resolve)(WarpGroup&), bool orders, Loc loc) {
  Rt rt;
  World& w = *g_w;
  Thread* t = w.cur;
  int lane = t->lin & 31, base = t->lin & ~31;
  Warp& wp = w.warps[static_cast<std::size_t>(t->lin / 32)];
  t->loc = loc;
  if (!(mask >> lane & 1))
    fail("warp operation at " + where(loc) + ": the calling lane is not in its own mask");
  if ((mask & wp.exist) & ~wp.alive)
    fail("warp operation at " + where(loc) + ": the mask names a lane that has left the kernel");
  std::size_t gi = wp.groups.size();
  for (std::size_t i = 0; i < wp.groups.size(); i++) {
    WarpGroup& g = wp.groups[i];
    if (g.mask == mask && g.key == key && !(g.arrived >> lane & 1)) {
      gi = i;
    } else if (mask & g.arrived) {
      int o = __builtin_ctz(mask & g.arrived);
      fail("lanes of one warp wait for each other in different operations: lane " +
           std::to_string(o) + " at " + where(w.threads[static_cast<std::size_t>(base + o)].loc) +
           ", this lane at " + where(loc));
    }
  }
  if (gi == wp.groups.size()) {
    wp.groups.emplace_back();
    wp.groups.back().mask = mask;
    wp.groups.back().key = key;
  }
  WarpGroup& g = wp.groups[gi];
  g.arrived |= 1u << lane;
  g.in[lane] = in;
  g.out[lane] = out;
  t->st = St::Warp;
  if ((g.mask & wp.alive) == g.arrived) finish_group(w, wp, gi, resolve, orders, base, t);
  block_self(w);
}

void* static_smem(const void* site, std::size_t bytes, std::size_t align, std::size_t granule,
                  const char* name) {
  Rt rt;
  World& w = *g_w;
  for (const StaticVar& v : w.vars)
    if (v.site == site) return w.smem + v.off;
  if (align < 16) align = 16;
  std::size_t off = (w.smem_static + align - 1) & ~(align - 1);
  std::size_t total = off + bytes + kRedzone;
  if (total - kRedzone * w.vars.size() > kSmemDefault + kRedzone)
    fail(std::string("more than 48 KiB of static shared memory, at '") + name + "'");
  w.vars.push_back({name, off, bytes, site});
  w.smem_static = total;
  ASAN_UNPOISON_MEMORY_REGION(w.smem + off, bytes);
  if (w.opt.poison) std::memset(w.smem + off, 0xFF, bytes);
  if (!EMU_ASAN) std::memset(w.smem + off + bytes, 0xCB, kRedzone);
  if (kCheck) {
    std::memset(w.smem_gran.get() + off, static_cast<int>(std::min<std::size_t>(granule, 4)),
                bytes);
    std::memset((void*)(w.smem_shadow.get() + off), 0, bytes * sizeof(Shadow));
  }
  return w.smem + off;
}

// ---- device memory
void* device_malloc(std::size_t bytes, std::size_t granule) {
  World& w = W();
  if (!w.dev) {
    install_segv();
    w.dev = static_cast<char*>(
        mmap(nullptr, kDevArena, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (w.dev == MAP_FAILED) throw KernelError("cannot reserve the device arena");
  }
  std::size_t user = std::max<std::size_t>((bytes + 15) & ~std::size_t(15), 16);
  std::size_t map = (user + kPage - 1) & ~(kPage - 1);
  Alloc a;
  a.map = w.dev + w.dev_used + kPage;
  a.map_bytes = map;
  a.p = a.map + map - user;  // the end touches the guard page
  if (!(reinterpret_cast<std::uintptr_t>(a.p) & 255) || true) {
    // keep cudaMalloc's 256-byte alignment; the slack behind the end is poisoned (ASan) or known to
    // the checker
    a.p = reinterpret_cast<char*>(reinterpret_cast<std::uintptr_t>(a.p) & ~std::uintptr_t(255));
  }
  a.bytes = bytes;
  a.granule = std::min<std::size_t>(granule ? granule : 1, 4);
  a.live = true;
  w.dev_used += map + 2 * kPage;
  mprotect(a.map, map, PROT_READ | PROT_WRITE);
  if (w.opt.poison) std::memset(a.map, 0xFF, map);
#if EMU_ASAN
  ASAN_POISON_MEMORY_REGION(a.map, map);
  ASAN_UNPOISON_MEMORY_REGION(a.p, bytes);
#endif
  if (kCheck) a.shadow.reset(new Shadow[bytes / a.granule + 1]());
  if (!w.in_kernel) mprotect(a.map, map, PROT_NONE);
  w.owner.resize(w.dev_used / kPage, 0);
  for (std::size_t i = 0; i < map / kPage; i++)
    w.owner[static_cast<std::size_t>(a.map - w.dev) / kPage + i] =
        static_cast<std::uint32_t>(w.allocs.size() + 1);
  char* p = a.p;
  w.allocs.push_back(std::move(a));
  return p;
}
static Alloc* find(World& w, const void* p) {
  auto* c = static_cast<const char*>(p);
  if (c < w.dev || c >= w.dev + w.dev_used) return nullptr;
  auto o = w.owner[static_cast<std::size_t>(c - w.dev) / kPage];
  return o ? &w.allocs[o - 1] : nullptr;
}
void device_free(void* p) {
  if (!p) return;
  World& w = W();
  Alloc* a = find(w, p);
  if (!a || a->p != p || !a->live)
    throw KernelError("device_free of a pointer that is not a live device allocation");
  a->live = false;
  a->shadow.reset();
  madvise(a->map, a->map_bytes, MADV_DONTNEED);
  mprotect(a->map, a->map_bytes, PROT_NONE);  // never handed out again: use after free faults
}
static Alloc& range(const void* p, std::size_t n, const char* what) {
  World& w = W();
  Alloc* a = find(w, p);
  auto* c = static_cast<const char*>(p);
  if (!a || !a->live || c < a->p || c + n > a->p + a->bytes)
    throw KernelError(std::string(what) + ": the range is not inside one live device allocation");
  return *a;
}
struct Open {
  Alloc& a;
  bool inner;
  explicit Open(Alloc& a) : a(a), inner(W().in_kernel) {
    if (!inner) mprotect(a.map, a.map_bytes, PROT_READ | PROT_WRITE);
  }
  ~Open() {
    if (!inner) mprotect(a.map, a.map_bytes, PROT_NONE);
  }
};
static void set_init(Alloc& a, const void* p, std::size_t n) {
  if (!kCheck) return;
  std::size_t o = static_cast<std::size_t>(static_cast<const char*>(p) - a.p);
  for (std::size_t g = o / a.granule; g * a.granule < o + n; g++) {
    a.shadow[g] = Shadow{};
    a.shadow[g].init = 1;
  }
}
void mark_written(void* p, std::size_t n) { set_init(range(p, n, "mark_written"), p, n); }
void copy_in(void* d, const void* h, std::size_t n) {
  if (!n) return;
  Alloc& a = range(d, n, "copy to device");
  Open o(a);
  std::memcpy(d, h, n);
  set_init(a, d, n);
}
void device_memset(void* d, int v, std::size_t n) {
  if (!n) return;
  Alloc& a = range(d, n, "memset");
  Open o(a);
  std::memset(d, v, n);
  set_init(a, d, n);
}
void copy_within(void* to, const void* from, std::size_t n) {
  if (!n) return;
  Alloc& a = range(to, n, "copy on the device");
  Alloc& b = range(from, n, "copy on the device");
  Open open_to(a);
  if (&a != &b) {
    Open open_from(b);
    std::memcpy(to, from, n);
  } else {
    std::memmove(to, from, n);
  }
  set_init(a, to, n);
}
void copy_out(void* h, const void* d, std::size_t n) {
  if (!n) return;
  Alloc& a = range(d, n, "copy from device");
  Open o(a);
  if (kCheck) {
    std::size_t off = static_cast<std::size_t>(static_cast<const char*>(d) - a.p), bad = 0,
                first = 0;
    for (std::size_t g = off / a.granule; g * a.granule < off + n; g++)
      if (!a.shadow[g].init) {
        if (!bad) first = g;
        bad++;
      }
    if (bad)
      throw KernelError("CUDA emulator: copy from device: " + std::to_string(bad) + " of " +
                        std::to_string(n / a.granule) +
                        " elements were never written, the first at index " +
                        std::to_string(first));
  }
  std::memcpy(h, d, n);
}

// ---- access checker
#ifdef TESSERA_EMULATOR_CHECK
namespace {
struct Range {
  std::uintptr_t lo, hi;
};
const std::vector<Range>& images() {
  static std::vector<Range> v = [] {
    std::vector<Range> r;
    dl_iterate_phdr(
        [](dl_phdr_info* i, std::size_t, void* p) {
          for (int k = 0; k < i->dlpi_phnum; k++) {
            auto& h = i->dlpi_phdr[k];
            if (h.p_type == PT_LOAD)
              static_cast<std::vector<Range>*>(p)->push_back(
                  {i->dlpi_addr + h.p_vaddr, i->dlpi_addr + h.p_vaddr + h.p_memsz});
          }
          return 0;
        },
        &r);
    std::sort(r.begin(), r.end(), [](auto& a, auto& b) { return a.lo < b.lo; });
    return r;
  }();
  return v;
}

enum Kind { Read, Write, Atomic };

[[noreturn, gnu::noinline]] void bad_access(World& w, const char* what, const char* p,
                                            std::size_t n, Kind k, const void* pc, int other = -1) {
  std::string msg;
  {
    std::ostringstream o;
    o << what << ": " << n << "-byte "
      << (k == Read    ? "read"
          : k == Write ? "write"
                       : "atomic")
      << " at " << symbolize(pc) << "\n    of " << region_name(w, p);
    if (other >= 0)
      o << "\n    conflicts with an access by " << who(w.threads[static_cast<std::size_t>(other)])
        << " not ordered by any barrier";
    msg = o.str();
  }
  fail(std::move(msg));
}

inline bool ordered(World& w, std::uint32_t epoch, unsigned tid, std::uint32_t time) {
  if (epoch != w.epoch) return true;  // a block barrier lies between
  if (tid == w.cur->lin) return true;
  if (tid / 32 != w.cur->lin / 32u) return false;
  return w.warps[tid / 32].synced[tid & 31][w.cur->lin & 31] >= time;
}

inline void check_cell(World& w, Shadow& s, const char* p, std::size_t n, Kind k, const void* pc,
                       bool shared) {
  Thread& t = *w.cur;
  std::uint32_t serial = static_cast<std::uint32_t>(w.serial);
  if (s.inflight)
    bad_access(w, "access to the target of a cp.async that has not been waited for", p, n, k, pc);
  if (k != Write && !s.init) bad_access(w, "read of memory that nobody has written", p, n, k, pc);
  // against the last writer
  if (s.w_serial) {
    if (s.w_serial == serial) {
      if (!(k == Atomic && s.w_atomic) && !ordered(w, s.w_epoch, s.w_tid, s.w_time))
        bad_access(w, "data race", p, n, k, pc, s.w_tid);
    } else if (!shared && s.w_serial >= static_cast<std::uint32_t>(w.launch_first) &&
               !(k == Atomic && s.w_atomic)) {
      bad_access(w, "data race between blocks of one launch", p, n, k, pc);
    }
  }
  std::uint32_t time = w.warps[t.lin / 32u].time;
  if (k == Read) {
    bool same = s.r_serial == serial && s.r_epoch == w.epoch;
    if (!shared && s.r_serial >= static_cast<std::uint32_t>(w.launch_first) &&
        s.r_serial != serial && s.r_serial)
      s.r_many_blocks = 1;
    else if (!same && s.r_serial < static_cast<std::uint32_t>(w.launch_first))
      s.r_many_blocks = 0;
    if (!same) {
      s.r_serial = serial;
      s.r_epoch = w.epoch;
      s.r_warp = static_cast<std::uint8_t>(t.lin / 32);
      s.r_mask = 0;
      s.r_many_warps = 0;
    } else if (s.r_warp != t.lin / 32) {
      s.r_many_warps = 1;
      s.r_warp = static_cast<std::uint8_t>(t.lin / 32);
      s.r_mask = 0;
    }
    s.r_mask |= 1u << (t.lin & 31);
    s.r_time = time;
    return;
  }
  // a write: against the readers
  if (s.r_serial) {
    if (!shared && s.r_serial >= static_cast<std::uint32_t>(w.launch_first) &&
        (s.r_many_blocks || s.r_serial != serial))
      bad_access(w, "data race between blocks of one launch", p, n, k, pc);
    if (s.r_serial == serial && s.r_epoch == w.epoch) {
      if (s.r_many_warps)
        bad_access(w, "data race", p, n, k, pc, s.r_warp * 32 + __builtin_ctz(s.r_mask));
      for (unsigned m = s.r_mask; m; m &= m - 1) {
        unsigned r = s.r_warp * 32u + static_cast<unsigned>(__builtin_ctz(m));
        if (!ordered(w, s.r_epoch, r, s.r_time))
          bad_access(w, "data race", p, n, k, pc, static_cast<int>(r));
      }
    }
  }
  s.w_serial = serial;
  s.w_epoch = w.epoch;
  s.w_time = time;
  s.w_tid = t.lin;
  s.w_atomic = k == Atomic;
  s.init = 1;
}

inline void access(const void* vp, std::size_t n, Kind k, const void* pc) {
  if (!g_kernel) return;
  Rt rt;
  World& w = *g_w;
  auto* p = static_cast<const char*>(vp);
  if (p >= w.stacks && p < w.stacks + (kStack + kPage) * kMaxThreads) return;
  w.stats.accesses++;
  if (w.opt.preempt > 0 && std::uniform_real_distribution<>(0, 1)(w.rng) < w.opt.preempt) {
    push(w, w.cur->lin);
    block_self(w);
  }
  if (p >= w.smem && p < w.smem + kSmemArena) {
    std::size_t off = static_cast<std::size_t>(p - w.smem);
    for (std::size_t i = 0; i < n;) {
      std::size_t g = w.smem_gran[off + i];
      if (!g) bad_access(w, "access outside shared memory variables", p + i, n, k, pc);
      check_cell(w, w.smem_shadow[(off + i) & ~(g - 1)], p + i, n, k, pc, true);
      i += g - ((off + i) & (g - 1));
    }
    return;
  }
  if (Alloc* a = find(w, p)) {
    if (!a->live || p < a->p || p + n > a->p + a->bytes)
      bad_access(w, "access outside a device allocation", p, n, k, pc);
    std::size_t off = static_cast<std::size_t>(p - a->p);
    for (std::size_t g = off / a->granule; g * a->granule < off + n; g++)
      check_cell(w, a->shadow[g], p, n, k, pc, false);
    return;
  }
  auto u = reinterpret_cast<std::uintptr_t>(p);
  auto& im = images();
  auto it = std::upper_bound(im.begin(), im.end(), u,
                             [](std::uintptr_t v, const Range& r) { return v < r.lo; });
  if (it != im.begin() && u < std::prev(it)->hi) return;  // constants, tables, __constant__ data
  auto tp = reinterpret_cast<std::uintptr_t>(__builtin_thread_pointer());
  if (u < tp + kPage && u > tp - 64 * kPage) return;  // threadIdx and friends
  bad_access(w, "access outside device memory", p, n, k, pc);
}
void set_inflight(World& w, const char* p, std::size_t n, bool on) {
  if (p < w.smem || p >= w.smem + kSmemArena) return;
  std::size_t off = static_cast<std::size_t>(p - w.smem);
  for (std::size_t i = 0; i < n;) {
    std::size_t g = w.smem_gran[off + i];
    if (!g) return;
    w.smem_shadow[(off + i) & ~(g - 1)].inflight = on;
    i += g;
  }
}
}  // namespace
void note_atomic(const void* p, std::size_t n) {
  access(p, n, Atomic, __builtin_return_address(0));
}
#else
void note_atomic(const void*, std::size_t) {}
#endif

void check_smem_read(const void* p, std::size_t n, Loc loc) {
  World& w = *g_w;
  if (static_cast<const char*>(p) < w.smem || static_cast<const char*>(p) + n > w.smem + kSmemArena)
    fail("ldmatrix at " + where(loc) + ": not shared memory");
  if (reinterpret_cast<std::uintptr_t>(p) % 16)
    fail("ldmatrix at " + where(loc) + ": misaligned row address");
#if EMU_ASAN
  if (__asan_region_is_poisoned(const_cast<void*>(p), n))
    fail("ldmatrix at " + where(loc) + ": row outside shared memory variables");
#endif
#ifdef TESSERA_EMULATOR_CHECK
  access(p, n, Read, __builtin_return_address(0));
#endif
}

// ---- cp.async: the bytes arrive only when waited for; until then the target holds poison
void cp_async(void* dst, const void* src, unsigned n, unsigned n_src) {
  World& w = *g_w;
  if ((reinterpret_cast<std::uintptr_t>(dst) % n) ||
      (n_src && reinterpret_cast<std::uintptr_t>(src) % n))
    fail("misaligned cp.async");
  if (static_cast<char*>(dst) < w.smem || static_cast<char*>(dst) >= w.smem + kSmemArena)
    fail("cp.async target is not shared memory");
#ifdef TESSERA_EMULATOR_CHECK
  access(dst, n, Write, __builtin_return_address(0));
  if (n_src) access(src, n_src, Read, __builtin_return_address(0));
  set_inflight(w, static_cast<char*>(dst), n, true);
#endif
  Rt rt;
  std::memset(dst, 0xFF, n);
  w.cur->cp.push_back(
      {static_cast<char*>(dst), static_cast<const char*>(src), n, n_src, w.cur->cp_group});
}
void cp_async_commit() { g_w->cur->cp_group++; }
void cp_async_wait(unsigned leave) {
  Rt rt;
  World& w = *g_w;
  Thread& t = *w.cur;
  std::size_t k = 0;
  for (auto& c : t.cp) {
    if (c.group + leave >= t.cp_group) {
      t.cp[k++] = c;
      continue;
    }  // too young, or not committed yet
#ifdef TESSERA_EMULATOR_CHECK
    set_inflight(w, c.dst, c.n, false);
#endif
    std::memset(c.dst, 0, c.n);
    if (c.n_src) std::memcpy(c.dst, c.src, c.n_src);
  }
  t.cp.resize(k);
}

// ---- mbarrier, TMA, wgmma
namespace {
struct MBar {
  std::uint64_t expected : 15, phase : 1;
  std::int64_t pending : 16, tx : 32;
};
static_assert(sizeof(MBar) == 8);
MBar get_bar(std::uint64_t* b) {
  MBar m;
  std::memcpy(&m, b, 8);
  return m;
}
void put_bar(World& w, std::uint64_t* b, MBar m) {
  if (m.pending == 0 && m.tx == 0) {
    m.phase ^= 1;
    m.pending = static_cast<std::int64_t>(m.expected);
    release(w, w.mbar_waiting);
    w.mbar_waiting.clear();
  }
  std::memcpy((void*)b, &m, 8);
}
bool run_tma(World& w) {
  if (w.tma.empty()) return false;
  std::size_t k = w.opt.order == Order::Random ? w.rng() % w.tma.size() : 0;
  PendingTma t = w.tma[k];
  w.tma.erase(w.tma.begin() + static_cast<std::ptrdiff_t>(k));
  std::size_t base = static_cast<std::size_t>(t.dst - w.smem);
  for (std::uint32_t r = 0; r < t.m.box_rows; r++)
    for (int c = 0; c < 64; c++) {
      std::int64_t y = t.y + std::int64_t(r), x = t.x + c;
      std::uint16_t v = 0;
      if (y >= 0 && y < std::int64_t(t.m.rows) && x >= 0 && x < std::int64_t(t.m.cols))
        std::memcpy(&v,
                    static_cast<const char*>(t.m.base) +
                        2 * (std::uint64_t(y) * t.m.cols + std::uint64_t(x)),
                    2);
      std::size_t o = base + r * 128 + std::size_t(c) * 2;
      o ^= (o >> 7 & 7) << 4;  // 128-byte swizzle: 16-byte chunk number xor row number modulo 8
      std::memcpy(w.smem + o, &v, 2);
    }
#ifdef TESSERA_EMULATOR_CHECK
  for (std::size_t o = base; o < base + t.m.box_rows * 128; o += w.smem_gran[o]) {
    w.smem_shadow[o] = Shadow{};
    w.smem_shadow[o].init = 1;
  }
#endif
  MBar b = get_bar(t.bar);
  b.tx -= std::int64_t(t.m.box_rows * 128);
  put_bar(w, t.bar, b);
  return true;
}
}  // namespace
void mbar_init(std::uint64_t* b, unsigned n) {
  Rt rt;
  MBar m{};
  m.expected = n;
  m.pending = static_cast<std::int64_t>(n);
  std::memcpy((void*)b, &m, 8);
}
void mbar_arrive(std::uint64_t* b, int tx) {
  Rt rt;
  MBar m = get_bar(b);
  if (m.expected == 0x7fff) fail("mbarrier used before mbarrier.init");
  m.tx += tx;
  m.pending -= 1;
  put_bar(*g_w, b, m);
}
void mbar_wait(std::uint64_t* b, unsigned parity, Loc loc) {
  Rt rt;
  World& w = *g_w;
  while (get_bar(b).phase == parity) {
    w.cur->loc = loc;
    w.cur->st = St::MBar;
    w.mbar_waiting.push_back(w.cur->lin);
    block_self(w);
  }
}
void tma_load(void* dst, const TensorMap& m, int x, int y, std::uint64_t* b) {
  Rt rt;
  World& w = *g_w;
  if (reinterpret_cast<std::uintptr_t>(dst) % 1024)
    fail("TMA with 128-byte swizzle: the target is not 1024-byte aligned");
  std::size_t n = m.box_rows * 128,
              base = static_cast<std::size_t>(static_cast<char*>(dst) - w.smem);
  std::memset(dst, 0xFF, n);
#ifdef TESSERA_EMULATOR_CHECK
  for (std::size_t o = base; o < base + n; o += w.smem_gran[o]) w.smem_shadow[o].inflight = 1;
#endif
  (void)base;
  w.tma.push_back({static_cast<char*>(dst), m, x, y, b});
}
unsigned smem_offset(const void* p) {
  return static_cast<unsigned>(static_cast<const char*>(p) - g_w->smem);
}
void wgmma(float* d, std::uint64_t a, std::uint64_t b, int scale_d) {
  Rt rt;
  Thread& t = *g_w->cur;
  if (!t.mma_saved.count(d)) t.mma_saved[d].assign(d, d + 32);
  std::memset(d, 0xFF, 128);  // registers in flight hold poison until waited for
  t.mma.push_back({d, a, b, scale_d, t.mma_group});
}
void wgmma_commit() { g_w->cur->mma_group++; }
void wgmma_wait(unsigned leave) {
  Rt rt;
  World& w = *g_w;
  Thread& t = *w.cur;
  auto el = [&](std::uint64_t desc, unsigned row, unsigned k) {
    if (desc >> 62 != 1 || (desc >> 49 & 7))
      fail("wgmma descriptor: only 128-byte swizzle with base offset 0 is emulated");
    std::size_t o = (desc & 0x3FFF) << 4, sbo = (desc >> 32 & 0x3FFF) << 4;
    o += row / 8 * sbo + row % 8 * 128 + k * 2;
    o ^= (o >> 7 & 7) << 4;
#ifdef TESSERA_EMULATOR_CHECK
    if (w.smem_gran[o] == 0) fail("wgmma reads outside shared memory variables");
    if (w.smem_shadow[o & ~std::size_t(1)].inflight)
      fail("wgmma reads a TMA target that has not been waited for");
#endif
    std::uint16_t h;
    std::memcpy(&h, w.smem + o, 2);
    return bf16_bits_to_f(h);
  };
  std::size_t keep = 0;
  for (auto& m : t.mma) {
    if (m.group + leave >= t.mma_group) {
      t.mma[keep++] = m;
      continue;
    }
    auto& acc = t.mma_saved[m.d];
    unsigned wp = t.lin % 128 / 32, g = t.lin % 32 / 4, q = t.lin % 4;
    float A[2][16];
    for (unsigned h = 0; h < 2; h++)
      for (unsigned k = 0; k < 16; k++) A[h][k] = el(m.a, wp * 16 + g + 8 * h, k);
    for (unsigned j = 0; j < 8; j++)
      for (unsigned c = 0; c < 2; c++) {
        float B[16];
        for (unsigned k = 0; k < 16; k++) B[k] = el(m.b, j * 8 + q * 2 + c, k);
        for (unsigned h = 0; h < 2; h++) {
          float s = m.scale_d ? acc[j * 4 + h * 2 + c] : 0;
          for (unsigned k = 0; k < 16; k++) s += A[h][k] * B[k];
          acc[j * 4 + h * 2 + c] = s;
        }
      }
  }
  t.mma.resize(keep);
  for (auto it = t.mma_saved.begin(); it != t.mma_saved.end();) {
    bool busy = false;
    for (auto& m : t.mma) busy |= m.d == it->first;
    if (busy) {
      ++it;
      continue;
    }
    std::memcpy(it->first, it->second.data(), 128);
    it = t.mma_saved.erase(it);
  }
}

}  // namespace tessera::cuda::emulator

#ifdef TESSERA_EMULATOR_CHECK
// The compiler's -fsanitize=thread instrumentation calls these; libtsan is not linked.
#define HOOK(NAME, N, KIND)                                              \
  extern "C" void NAME(void* p) {                                        \
    tessera::cuda::emulator::access(p, N, tessera::cuda::emulator::KIND, \
                                    __builtin_return_address(0));        \
  }
HOOK(__tsan_read1, 1, Read)
HOOK(__tsan_read2, 2, Read) HOOK(__tsan_read4, 4, Read) HOOK(__tsan_read8, 8, Read)
    HOOK(__tsan_read16, 16, Read) HOOK(__tsan_write1, 1, Write) HOOK(__tsan_write2, 2, Write)
        HOOK(__tsan_write4, 4, Write) HOOK(__tsan_write8, 8, Write) HOOK(__tsan_write16, 16, Write)
            HOOK(__tsan_unaligned_read2, 2, Read) HOOK(__tsan_unaligned_read4, 4,
                                                       Read) HOOK(__tsan_unaligned_read8, 8, Read)
                HOOK(__tsan_unaligned_read16, 16, Read) HOOK(__tsan_unaligned_write2, 2, Write)
                    HOOK(__tsan_unaligned_write4, 4, Write) HOOK(__tsan_unaligned_write8, 8, Write)
                        HOOK(__tsan_unaligned_write16, 16,
                             Write) extern "C" void __tsan_read_range(void* p, unsigned long n) {
  tessera::cuda::emulator::access(p, n, tessera::cuda::emulator::Read, __builtin_return_address(0));
}
extern "C" void __tsan_write_range(void* p, unsigned long n) {
  tessera::cuda::emulator::access(p, n, tessera::cuda::emulator::Write,
                                  __builtin_return_address(0));
}
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_vptr_update(void*, void*) {}
extern "C" void __tsan_vptr_read(void*) {}
// libstdc++ inline atomics that may appear in instrumented test code
#include <cstring>
extern "C" unsigned char __tsan_atomic8_load(const volatile unsigned char* p, int) {
  return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}
extern "C" int __tsan_atomic32_fetch_add(volatile int* p, int v, int) {
  return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);
}
#endif
