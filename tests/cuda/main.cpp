// Runs the tests, or with --planted=NAME one planted kernel: what a sanitizer finds ends a process.

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "cuda/emulator/build_mode.h"
#include "cuda/emulator/options.h"
#include "tests/cuda/device_buffer.h"
#include "tests/cuda/planted.h"

const char* tessera::cuda::testing::emulator_mode() {
  namespace emulator = tessera::cuda::emulator;
  return emulator::kCheck ? "check" : emulator::kAsan ? "asan" : "plain";
}

int main(int argc, char** argv) {
  namespace emulator = tessera::cuda::emulator;
  emulator::options() = emulator::parse_options(std::getenv);
  constexpr const char* kFlag = "--planted=";
  if (argc == 2 && std::strncmp(argv[1], kFlag, std::strlen(kFlag)) == 0)
    return tessera::cuda::testing::run_planted(argv[1] + std::strlen(kFlag));
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
