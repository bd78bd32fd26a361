#!/usr/bin/env bash
# Installs the Debian packages that are missing for building Tessera. Usage: bootstrap.sh [build|test]
#   build  what the library and the programs need
#   test   the same and what the tests need (default)
# Running it again installs nothing. Needs root, or sudo, only when something is missing.
set -euo pipefail

scope=${1:-test}
# ocl-icd-opencl-dev: oneDNN's CMake package looks for OpenCL, and Debian only recommends it.
build_packages=(g++ cmake ninja-build pkg-config ccache
  libdnnl-dev ocl-icd-opencl-dev libgomp1 libcli11-dev nlohmann-json3-dev
  libzip-dev zlib1g-dev libjpeg62-turbo-dev libpng-dev)
test_packages=(libgtest-dev libbenchmark-dev clang-format-14 git)
case $scope in
  build) wanted=("${build_packages[@]}") ;;
  test) wanted=("${build_packages[@]}" "${test_packages[@]}") ;;
  *) echo "usage: bootstrap.sh [build|test]" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null; then
  echo "bootstrap: this is not a Debian system; install the equivalents of: ${wanted[*]}" >&2
  exit 1
fi

missing=()
for package in "${wanted[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "bootstrap: everything is installed"
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "bootstrap: needs root to install: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "bootstrap: installing ${missing[*]}"
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
echo "bootstrap: done"
