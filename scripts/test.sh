#!/usr/bin/env bash
# From a bare Debian machine to a tested build: packages, configure, build, all tests.
# Usage: test.sh [preset]   (release, dev, tsan, reference; default release)
# TESSERA_GOLDEN_DIR and TESSERA_DATA_DIR name the folders of stored reference results and of real
# images (default: ../shared/golden and ../shared/data); cases are skipped where these are missing.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${1:-release}
scripts/bootstrap.sh test
# A folder that is named must be there, so the defaults are named only where they exist.
shared=$(cd .. && pwd)/shared
if [ -z "${TESSERA_GOLDEN_DIR:-}" ] && [ -d "$shared/golden" ]; then
  export TESSERA_GOLDEN_DIR=$shared/golden
fi
if [ -z "${TESSERA_DATA_DIR:-}" ] && [ -d "$shared/data" ]; then
  export TESSERA_DATA_DIR=$shared/data
fi

cmake --preset "$preset"
cmake --build --preset "$preset" --parallel "$(nproc)"
ctest --preset "$preset"
