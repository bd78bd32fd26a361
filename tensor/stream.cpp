#include "tensor/stream.h"

#include <fstream>

namespace tessera {

namespace {

// Of the last cache that a processor reaches, which sysconf(_SC_LEVEL3_CACHE_SIZE) does not tell:
// on some processors that is the sum of all such caches in the socket.
int64_t last_cache_bytes() {
  std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index3/size");  // "32768K"
  int64_t size = 0;
  char unit = 0;
  if (!(file >> size >> unit) || size <= 0 || unit != 'K') return int64_t{32} << 20;
  return size << 10;
}

}  // namespace

bool worth_streaming(int64_t bytes) {
  static const int64_t least = last_cache_bytes() / 8 * 5;
  return bytes >= least;
}

}  // namespace tessera
