#!/usr/bin/env bash
# Builds and runs the whole test suite.
#
#   tools/test.sh          preset cpu: the optimised build, format, layering, every test
#   tools/test.sh asan     preset asan: AddressSanitizer and UndefinedBehaviorSanitizer
#
# Installs what is missing first (Debian packages, as root or through sudo).
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-cpu}
tools/install_deps.sh

if [ "$preset" = cpu ] && [ -d .git ]; then
  echo "== format"
  git ls-files '*.cpp' '*.h' | xargs clang-format --dry-run --Werror
fi

echo "== build ($preset)"
cmake --preset "$preset"
cmake --build --preset "$preset" -j "$(nproc)"

echo "== tests ($preset)"
# Leaks: OpenCL, which oneDNN links, keeps memory to the end of the process. Use after return: GCC
# 12's fake stack is aligned to 32 bytes, too little for AVX-512 locals.
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=0:detect_stack_use_after_return=0}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
ctest --preset "$preset" -j "$(nproc)"
