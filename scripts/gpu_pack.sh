#!/usr/bin/env bash
# Makes one folder with everything that checks and measures Tessera on a GPU: tests, benchmarks, the
# libraries they need beyond the driver and CUDA's own, and stored reference results.
# Usage: gpu_pack.sh OUT [build folder]
#   OUT/gpu_check.sh   every CUDA test, and compute-sanitizer where it is installed
#   OUT/gpu_bench.sh   the benchmarks, beside PyTorch where a python3 with torch is installed
# The programs run on any x86-64 machine with AVX2. The folder stays below 60 MiB.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -ge 1 ] || { echo "usage: gpu_pack.sh OUT [build folder]" >&2; exit 2; }
out=$1
build=${2:-build/gpu}
golden=${TESSERA_GOLDEN_DIR:-../shared/golden}
limit_kib=$((60 * 1024))

if [ $# -lt 2 ]; then
  cmake --preset cuda -B "$build" -DTESSERA_ARCH=x86-64-v3 -DTESSERA_CUDA_EMULATOR=OFF
  cmake --build "$build" --parallel "$(nproc)" --target tessera tessera_cuda tessera_program \
    ops_test nn_test golden_test cuda_bench
fi
[ -f "$build/libtessera_cuda.so" ] || {
  echo "gpu_pack: $build has no libtessera_cuda.so (is nvcc installed?)" >&2
  exit 1
}

mkdir -p "$out/bin" "$out/lib"
cp "$build"/tests/{ops_test,nn_test,golden_test} "$build"/tessera "$build"/bench/cuda_bench "$out/bin/"
cp -L "$build"/libtessera.so.0 "$build"/libtessera_cuda.so "$out/lib/"
# What a plain system has is left out; the rest goes along.
for file in "$out"/bin/* "$out"/lib/libtessera*.so*; do
  ldd "$file" | awk '$2 == "=>" && $3 ~ /^\// {print $3}'
done | sort -u | grep -vE '/(ld-linux|libc|libm|libdl|librt|libpthread)[.-]|libtessera' |
  while read -r library; do cp -L "$library" "$out/lib/"; done
strip --strip-debug "$out"/bin/* "$out"/lib/* 2>/dev/null || true
if [ -d "$golden" ]; then
  mkdir -p "$out/golden"
  cp -rL "$golden"/{ops,models,stylegan2} "$out/golden/"
fi
cp scripts/gpu/gpu_check.sh scripts/gpu/gpu_bench.sh "$out/"
cp -r bench/peers "$out/"
git rev-parse HEAD > "$out/commit" 2>/dev/null || echo unknown > "$out/commit"

size=$(du -sk "$out" | cut -f1)
echo "gpu_pack: $out holds $((size / 1024)) MiB"
if [ "$size" -gt "$limit_kib" ]; then
  echo "gpu_pack: more than 60 MiB" >&2
  exit 1
fi
