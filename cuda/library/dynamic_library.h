#pragma once

#include <dlfcn.h>

#include <string>

namespace tessera::cuda::library {

/// A shared library that may be missing. Never unloaded: its threads may live on.
class DynamicLibrary {
 public:
  explicit DynamicLibrary(const char* name) : handle_(dlopen(name, RTLD_NOW | RTLD_LOCAL)) {
    if (!handle_) why_ = dlerror();
  }
  /// Null, and why() says so, if the symbol is missing.
  template <class F>
  F symbol(const char* name) {
    F found = handle_ ? reinterpret_cast<F>(dlsym(handle_, name)) : nullptr;
    if (!found && why_.empty()) why_ = std::string(name) + " is missing";
    return found;
  }
  /// Why it cannot be used; empty if it can.
  const std::string& why() const { return why_; }

 private:
  void* handle_;
  std::string why_;
};

}  // namespace tessera::cuda::library

// A pointer to a library's function, typed by its header, which may rename it by a macro.
#define TESSERA_TEXT_OF(name) #name
#define TESSERA_EXPANDED_TEXT_OF(name) TESSERA_TEXT_OF(name)
#define TESSERA_LIBRARY_FUNCTION(library, name) \
  decltype(&::name) name##_ = library.symbol<decltype(&::name)>(TESSERA_EXPANDED_TEXT_OF(name))
