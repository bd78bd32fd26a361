#!/usr/bin/env bash
# Measures kernels and networks on the GPU of this machine. Usage: gpu_bench.sh [result folder]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
results=${1:-$here/results}
mkdir -p "$results"
export LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export TESSERA_CUDA_PLUGIN="$here/lib/libtessera_cuda.so"

{
  date -u
  echo "commit $(cat "$here/commit")"
  nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,memory.total --format=csv,noheader
  "$here/bin/tessera" devices
} | tee "$results/machine.txt"

"$here/bin/cuda_bench" | tee "$results/kernels.md"
TESSERA_CONV=cudnn "$here/bin/cuda_bench" --only conv --only gemm | tee "$results/kernels_cudnn.md"

for model in resnet50 mobilenet_v2 inception_v3; do
  for run in "infer 1" "infer 32" "infer 256" "train 64"; do
    set -- $run
    "$here/bin/tessera" bench --device cuda --model "$model" --mode "$1" --batch "$2" --seconds 3 --json
  done
done | tee "$results/networks.jsonl"

if python3 -c 'import torch, torchvision; assert torch.cuda.is_available()' 2>/dev/null; then
  for model in resnet50 mobilenet_v2 inception_v3; do
    for run in "infer 1" "infer 32" "infer 256" "train 64"; do
      set -- $run
      for variant in "--layout nchw" "--layout nhwc" "--layout nhwc --compile"; do
        # shellcheck disable=SC2086
        python3 "$here/peers/torch_bench.py" --device cuda --model "$model" --mode "$1" \
          --batch "$2" --seconds 3 $variant --json || true
      done
    done
  done | tee "$results/pytorch.jsonl"
else
  echo "no python3 with torch and a GPU: PyTorch left out"
fi
