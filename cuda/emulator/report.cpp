// Words for reports: where, who, what.

#include <elf.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "cuda/emulator/machine.h"

namespace tessera::cuda::emulator {
namespace {

std::string name_of(const uint3& index) {
  return cat("(", index.x, ",", index.y, ",", index.z, ")");
}

// The program or library that an address belongs to, and where it was loaded.
struct Image {
  uintptr_t address;
  std::string file;
  uintptr_t base = 0;
};

int visit_image(dl_phdr_info* info, size_t, void* found) {
  auto* image = static_cast<Image*>(found);
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& part = info->dlpi_phdr[i];
    const uintptr_t begin = info->dlpi_addr + part.p_vaddr;
    if (part.p_type != PT_LOAD || image->address < begin || image->address >= begin + part.p_memsz)
      continue;
    image->file = info->dlpi_name[0] ? info->dlpi_name : "/proc/self/exe";
    image->base = info->dlpi_addr;
    return 1;
  }
  return 0;
}

struct Symbol {
  std::string function = "?", line = "?";
};

// Asks addr2line, of binutils: this is needed for reports alone.
Symbol symbol_of(uintptr_t address) {
  Symbol symbol;
  Image image{address, {}};
  dl_iterate_phdr(visit_image, &image);
  char target[1024];
  const ssize_t length = readlink(image.file.c_str(), target, sizeof target);
  if (length > 0) image.file.assign(target, static_cast<size_t>(length));
  if (image.file.empty() || image.file.find('\'') != std::string::npos) return symbol;
  std::ostringstream command;
  command << "LD_PRELOAD= addr2line -Cfse '" << image.file << "' 0x" << std::hex
          << address - image.base << " 2>/dev/null";
  FILE* pipe = popen(command.str().c_str(), "r");
  if (!pipe) return symbol;
  for (std::string* field : {&symbol.function, &symbol.line}) {
    char text[2048] = "";
    if (!fgets(text, sizeof text, pipe)) break;
    *field = text;
    while (!field->empty() && field->back() == '\n') field->pop_back();
    field->erase(std::min(field->find(" (discriminator"), field->size()));
  }
  pclose(pipe);
  return symbol;
}

std::string report(Machine& m, const std::string& what) {
  std::ostringstream out;
  out << "CUDA emulator: kernel " << function_of(m.grid->kernel) << ", block "
      << name_of(builtins.block);
  if (m.current) out << ", " << to_string(*m.current);
  out << ": " << what << "\n    launched at " << to_string(m.grid->where);
  return out.str();
}

}  // namespace

std::string to_string(const Location& where, bool with_column) {
  const std::string file = where.file_name();
  const size_t slash = file.rfind('/');
  return cat(slash == std::string::npos ? file : file.substr(slash + 1), ":", where.line(),
             with_column ? cat(":", where.column()) : "");
}

std::string to_string(const Thread& thread) { return "thread " + name_of(thread.index); }

std::string function_of(const void* instruction) {
  return symbol_of(reinterpret_cast<uintptr_t>(instruction)).function;
}

std::string line_of(const void* instruction) {
  // A return address is that of the next instruction.
  const Symbol symbol = symbol_of(reinterpret_cast<uintptr_t>(instruction) - 1);
  return symbol.line + " in " + symbol.function;
}

std::string describe(Machine& m, const void* address) {
  if (m.shared.is_near(address)) return m.shared.describe(address);
  if (m.heap.holds(address)) return m.heap.describe(address);
  if (m.fibers.holds(address)) return "a thread's stack, or the guard page below it";
  return "memory that is neither device memory, shared memory nor this thread's stack (a host "
         "pointer?)";
}

void fail(const char* what) {
  in_kernel_code = false;
  fail(std::string(what));
}

void fail(std::string what) {
  in_kernel_code = false;
  if (!launching()) throw KernelError("CUDA emulator: " + what);
  Machine& m = machine();
  m.error = report(m, what);
  if (m.running == &m.host) throw KernelError(m.error);
  std::string().swap(what);  // this stack is given up, not unwound
  Fiber& me = *m.running;
  m.running = &m.host;
  switch_fiber(me, m.host);
  std::abort();
}

}  // namespace tessera::cuda::emulator
