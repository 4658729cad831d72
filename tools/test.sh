#!/usr/bin/env bash
# Builds and runs the whole test suite.
#
#   tools/test.sh          preset cpu: the optimised build, format, layering, every test, line
#                          coverage of the CUDA kernels
#   tools/test.sh asan     preset asan: AddressSanitizer and UndefinedBehaviorSanitizer
#   tools/test.sh tsan     preset tsan: ThreadSanitizer, which finds races in kernels (between threads
#                          of a block, blocks, streams and the host) and in threads
#   tools/test.sh cuda     preset cuda: the build for GPUs (needs nvcc, no GPU), no kernel spills
#                          registers, every test of kernels and devices; without a GPU those that
#                          need one say that they were skipped. The rest of the suite tests what the
#                          preset cpu tests already; `ctest --preset cuda` runs it
#
# Installs what is missing first (Debian packages, as root or through sudo; not CUDA).
set -euo pipefail
if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"
  exit
fi
cd "$(dirname "$0")/.."
preset=${1:-cpu}
if [ "$preset" = cuda ]; then
  PATH=$PATH:/usr/local/cuda/bin
  if ! command -v nvcc >/dev/null; then
    echo "tools/test.sh cuda: no nvcc in PATH or /usr/local/cuda/bin; install NVIDIA's CUDA toolkit 13" >&2
    exit 1
  fi
fi
tools/install_deps.sh

if [ "$preset" = cpu ] && [ -d .git ]; then
  echo "== format"
  git ls-files '*.cpp' '*.h' '*.cu' '*.cuh' | xargs clang-format --dry-run --Werror
fi

echo "== build ($preset)"
cmake --preset "$preset"
cmake --build --preset "$preset" -j "$(nproc)"

if [ "$preset" = cuda ]; then
  echo "== registers and spills"
  tools/ptxas_report.sh build/cuda
fi

echo "== tests ($preset)"
# Leaks: OpenCL, which oneDNN links, keeps memory to the end of the process. Use after return: GCC
# 12's fake stack is aligned to 32 bytes, too little for AVX-512 locals.
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=0:detect_stack_use_after_return=0}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
status=0
without_aslr=()  # GCC 12's ThreadSanitizer does not start where addresses are very random
if [ "$preset" = tsan ] && setarch -R true 2>/dev/null; then without_aslr=(setarch -R); fi
some=()
if [ "$preset" = cuda ]; then some=(-R 'Gpu|Device|Simt|Nccl|CommandLine|Conv2d|Matmul|_tests_|installed|bench|ptxas'); fi
"${without_aslr[@]}" ctest --preset "$preset" -j "$(nproc)" "${some[@]}" || status=$?

# Why tests were skipped, and how many.
log=build/$preset/Testing/Temporary/LastTest.log
if grep -qs ': Skipped$' "$log"; then
  echo "== skipped ($preset)"
  grep -A1 ': Skipped$' "$log" | grep -v -e ': Skipped$' -e '^--$' | sort | uniq -c | sort -rn
fi

if [ "$preset" = cpu ]; then
  echo "== line coverage of the CUDA kernels"
  tools/kernel_coverage.sh build/cpu | tail -n 1 || status=$?
fi
exit $status
