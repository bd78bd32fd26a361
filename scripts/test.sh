#!/usr/bin/env bash
# From a bare Debian machine to a tested build: packages, configure, build, all tests.
# Usage: test.sh [preset]   (release, dev, tsan, reference; default release)
# TESSERA_GOLDEN_DIR names the folder of stored reference results; cases are skipped without it.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${1:-release}
scripts/bootstrap.sh test
: "${TESSERA_GOLDEN_DIR:=$(cd .. && pwd)/shared/golden}"
: "${TESSERA_DATA_DIR:=$(cd .. && pwd)/shared/data}"
export TESSERA_GOLDEN_DIR TESSERA_DATA_DIR

cmake --preset "$preset"
cmake --build --preset "$preset" --parallel "$(nproc)"
ctest --preset "$preset"
