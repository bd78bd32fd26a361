#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace tessera {

/// Root of every exception the library throws. The message names the operator or file, the violated
/// rule and the values involved.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class ShapeError : public Error {
 public:
  using Error::Error;
};
class DTypeError : public Error {
 public:
  using Error::Error;
};
class DeviceError : public Error {
 public:
  using Error::Error;
};
class ValueError : public Error {
 public:
  using Error::Error;
};
class NotImplementedError : public Error {
 public:
  using Error::Error;
};
class OutOfMemoryError : public Error {
 public:
  using Error::Error;
};
class CudaError : public Error {
 public:
  using Error::Error;
};
/// A file could not be opened, read, decoded, parsed or written.
class IoError : public Error {
 public:
  using Error::Error;
};

/// Concatenates its arguments as a stream would print them (std::format is missing from GCC 12).
template <class... Args>
std::string cat(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

}  // namespace tessera

/// Throws `Kind` with the concatenated message unless `condition` holds. Active in every build.
#define TESSERA_CHECK(Kind, condition, ...)               \
  do {                                                    \
    if (!(condition)) [[unlikely]]                        \
      throw ::tessera::Kind(::tessera::cat(__VA_ARGS__)); \
  } while (false)
