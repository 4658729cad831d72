#!/usr/bin/env bash
# Installs the Debian packages that Monolayer builds with, and nothing else.
set -euo pipefail
packages=(build-essential cmake ninja-build ccache clang-format git pkg-config
  libfmt-dev libgtest-dev libgmock-dev libcli11-dev libtomlplusplus-dev nlohmann-json3-dev
  libeigen3-dev libboost-dev libzstd-dev zlib1g-dev libxxhash-dev libtiff-dev libdnnl-dev
  ocl-icd-opencl-dev openmpi-bin libopenmpi-dev)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "install_deps.sh: missing packages: ${missing[*]}" >&2
    echo "install_deps.sh: run as root, or install sudo" >&2
    exit 1
  }
  as_root=(sudo)
fi
echo "Installing ${#missing[@]} Debian packages: ${missing[*]}"
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
