#!/usr/bin/env bash
# Packs a relocatable directory for machines where nothing can be installed.
#
#   tools/bundle.sh [FILE]      FILE: build/monolayer.tar.xz; --no-build before it takes the builds as they are
#
# In it: the programs, tests and benchmarks of the preset cuda (bin/), train_rxrx of the preset cpu,
# which has the emulated device (emulated/), the libraries that they need (lib/), the data of the
# tests, and tools/gpu_check.sh with what it calls. Unpack it anywhere, on x86-64 with glibc 2.36 or
# later and its libstdc++; a GPU needs NVIDIA's driver, and cuBLASLt is used where it is found.
# At most 40 MB, or the script fails.
set -euo pipefail
cd "$(dirname "$0")/.."
build=1
if [ "${1:-}" = --no-build ]; then
  build=
  shift
fi
out=$(realpath -m "${1:-build/monolayer.tar.xz}")
limit_mb=40
tests="kernels_tests runtime_tests nn_tests models_tests train_tests"

if [ -n "$build" ]; then
  PATH=$PATH:/usr/local/cuda/bin
  cmake --preset cuda >/dev/null
  cmake --build --preset cuda -j "$(nproc)"
  cmake --preset cpu >/dev/null
  cmake --build --preset cpu -j "$(nproc)" --target train_rxrx
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/monolayer
mkdir -p "$root"/{bin,emulated,lib,tests,tools,train,kernels/conv2d}
for name in $tests; do cp "build/cuda/tests/$name" "$root/bin/"; done
if [ -f build/cuda/tests/libfake_nccl.so ]; then cp build/cuda/tests/libfake_nccl.so "$root/lib/"; fi
cp build/cuda/train/train_rxrx build/cuda/tools/bench_kernels "$root/bin/"
cp build/cpu/train/train_rxrx "$root/emulated/"
cp -r tests/data "$root/tests/"
cp -r tools/{gpu_check.sh,gpu_results.py,bench_peer.py,bench_torch.py,dumps.py,results} "$root/tools/"
cp README.md LICENSE "$root/"
cp kernels/conv2d/conv2d_choices.inc "$root/kernels/conv2d/"
git describe --always --dirty >"$root/VERSION" 2>/dev/null || echo unknown >"$root/VERSION"

# What every such machine has, and what belongs to NVIDIA's driver and toolkit.
system='linux-vdso|ld-linux|libc\.so|libm\.so|libdl\.so|libpthread\.so|librt\.so|libstdc\+\+|libgcc_s|libcuda'
for program in "$root"/bin/* "$root"/emulated/*; do
  ldd "$program" | awk '$2 == "=>" { print $1, $3 }' | grep -v -E "^($system)" | while read -r name file; do
    if [ "$file" = not ]; then
      echo "$program needs $name, which is not here" >&2
      exit 1
    fi
    [ -e "$root/lib/$name" ] || cp -L "$file" "$root/lib/$name"
  done
done
strip --strip-unneeded "$root"/bin/* "$root"/emulated/* "$root"/lib/*

echo "== what the programs load"
# From the bundle's lib/ (old-style RPATH: also what libraries need), or from the list above.
for program in "$root"/bin/* "$root"/emulated/*; do
  outside=$(env -i ldd "$program" | awk '$2 == "=>" { print $1, $3 }' | grep -v -E "^($system)" |
    grep -v -F " $root/" || true)
  if [ -n "$outside" ]; then
    echo "${program##*/} loads from outside of the bundle: $outside" >&2
    exit 1
  fi
done
(cd "$root/lib" && du -h -- *)

echo "== runs where there is nothing else"
jail=$work/jail
mkdir -p "$jail"/{lib64,lib/x86_64-linux-gnu,tmp,proc}
cp -L /lib64/ld-linux-x86-64.so.2 "$jail/lib64/"
for name in libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1 libstdc++.so.6 libgcc_s.so.1; do
  cp -L "/lib/x86_64-linux-gnu/$name" "$jail/lib/x86_64-linux-gnu/"
done
cp -r "$root" "$jail/monolayer"
# There is no /proc, from which $ORIGIN would be taken.
in_jail() {
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LD_ORIGIN_PATH="$(dirname "$1")" unshare --map-root-user chroot "$jail" "$@"
}
if in_jail /monolayer/bin/train_rxrx --version; then
  in_jail /monolayer/bin/kernels_tests --gtest_filter='Philox*:Sgd*' | grep 'PASSED\|FAILED'
  in_jail /monolayer/emulated/train_rxrx bench --model densenet_smoke --image-size 32 --batch 4 --steps 2 \
    --device emulated
elif unshare --map-root-user true 2>/dev/null; then
  echo "train_rxrx does not start in a directory of its own" >&2
  exit 1
else
  echo "not tried: this user may not change the root directory (unshare)"
fi

# Every program holds the same kernels: a window that spans two programs stores them once.
mkdir -p "$(dirname "$out")"
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner -cf - monolayer | xz --lzma2=preset=6,dict=192MiB >"$out"
size=$(stat -c %s "$out")
echo "== $out: $((size / 1000000)) MB packed, $(du -sm "$root" | cut -f 1) MB unpacked"
if [ "$size" -gt $((limit_mb * 1000000)) ]; then
  echo "more than $limit_mb MB" >&2
  exit 1
fi
