#!/usr/bin/env bash
# Writes docs/op_support.md from the kernels that the library registers. Usage: op_support.sh [preset]
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${1:-release}
cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset" --target op_support tessera_cuda_emulator_plain
TESSERA_CUDA_PLUGIN=build/$preset/libtessera_cuda_emulator_plain.so \
  "build/$preset/tests/op_support" . > docs/op_support.md.new
mv docs/op_support.md.new docs/op_support.md
