#!/usr/bin/env bash
# Runs every CUDA test of this folder on the GPU of this machine. Usage: gpu_check.sh [log folder]
# Ends with "gpu_check: all passed" or the names of what failed (status 1).
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
logs=${1:-$here/logs}
mkdir -p "$logs"
export LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export TESSERA_CUDA_PLUGIN="$here/lib/libtessera_cuda.so"
export TESSERA_GOLDEN_DIR="$here/golden"
export OMP_WAIT_POLICY=passive
failed=()

run() {  # name, command...
  local name=$1 start=$SECONDS
  shift
  if "$@" > "$logs/$name.log" 2>&1; then
    echo "passed  $name ($((SECONDS - start)) s)"
  else
    echo "FAILED  $name ($((SECONDS - start)) s): $logs/$name.log"
    failed+=("$name")
  fi
}

{
  date -u
  echo "commit $(cat "$here/commit")"
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
  "$here/bin/tessera" devices
} | tee "$logs/machine.log"
"$here/bin/tessera" devices --json | grep -q '"device":"cuda:0"' || {
  echo "gpu_check: no GPU can be used" >&2
  exit 1
}

run ops "$here/bin/ops_test" --gtest_filter='Device.*:DeviceOnly*' --gtest_brief=1
run ops_libraries env TESSERA_CONV=cudnn "$here/bin/ops_test" --gtest_filter='Device.*:DeviceOnly*' --gtest_brief=1
run training "$here/bin/nn_test" --gtest_filter='DeviceTraining.*' --gtest_brief=1
run golden env TESSERA_TEST_DEVICE=cuda "$here/bin/golden_test" \
  --gtest_filter='GoldenOps.*:GoldenStylegan2.*:GoldenModels.*' --gtest_brief=1

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)
if [ -n "$sanitizer" ]; then
  for tool in memcheck racecheck initcheck synccheck; do
    run "sanitizer_$tool" env TESSERA_CONV=own "$sanitizer" --tool "$tool" --error-exitcode 9 \
      "$here/bin/ops_test" --gtest_filter='Device.*.f32' --gtest_brief=1
  done
else
  echo "compute-sanitizer is not installed: left out"
fi

if [ ${#failed[@]} -gt 0 ]; then
  echo "gpu_check: failed: ${failed[*]}"
  exit 1
fi
echo "gpu_check: all passed"
