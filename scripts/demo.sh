#!/usr/bin/env bash
# From a bare Debian machine to a trained re-identification network and a report with pictures.
# Usage: demo.sh                     the built-in demonstration, report in runs/demo/report.html
#        demo.sh --data DIR [...]    trains on a folder in Market-1501 layout instead (options of
#                                    `tessera reid train`)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

# The program itself runs where the caller stands, so that relative paths mean what they say.
(
  cd "$root"
  scripts/bootstrap.sh build
  cmake --preset demo >/dev/null
  cmake --build --preset demo --parallel "$(nproc)"
)
for argument in "$@"; do
  case $argument in
    --data | --data=* | --data_dir | --data_dir=*) exec "$root/build/demo/tessera" reid train "$@" ;;
  esac
done
exec "$root/build/demo/tessera" reid demo "$@"
