#pragma once

#include <source_location>

namespace tessera::cuda::emulator {

/// The line of a kernel's source that an operation stands on, taken as a default argument.
#if defined(__clang__) && __clang_major__ < 16
class Location {  // clang 14 has no std::source_location
 public:
  static constexpr Location current(const char* file = __builtin_FILE(),
                                    unsigned line = __builtin_LINE(),
                                    unsigned column = __builtin_COLUMN()) {
    Location here;
    here.file_ = file;
    here.line_ = line;
    here.column_ = column;
    return here;
  }
  constexpr const char* file_name() const { return file_; }
  constexpr unsigned line() const { return line_; }
  constexpr unsigned column() const { return column_; }

 private:
  const char* file_ = "";
  unsigned line_ = 0, column_ = 0;
};
#else
using Location = std::source_location;
#endif

}  // namespace tessera::cuda::emulator
