#!/usr/bin/env bash
# Which lines of the CUDA kernels and their launchers (kernels/**/*.cuh, *.cu) the tests of the GPU
# kernels run on the SIMT emulator: a table, and failure below 95 % in all.
#
#   tools/kernel_coverage.sh [BUILD FOLDER] [--missed]    default build/cpu; --missed lists the lines
#
# Only the kernels are compiled with counters, and each test runs in one order: a minute.
set -euo pipefail
cd "$(dirname "$0")/.."
least=95
build=build/cpu
missed=0
for argument; do
  if [ "$argument" = --missed ]; then missed=1; else build=$argument; fi
done

log=$(mktemp)
trap 'rm -f "$log"' EXIT
cmake --build "$build" --target kernel_coverage -j "$(nproc)" >"$log" 2>&1 || {
  cat "$log"
  exit 1
}
objects=$build/tests/CMakeFiles/kernel_coverage.dir
find "$objects" -name '*.gcda' -delete
MONO_SIMT_SCHEDULE=forward "$build/tests/kernel_coverage" --gtest_brief=1 >"$log" 2>&1 || {
  cat "$log"
  exit 1
}

# gcov prints a line once in all and once for each template instance: it ran if any instance did.
cd "$build"  # its compiler was given paths relative to it
find tests/CMakeFiles/kernel_coverage.dir -name '*.gcda' -print0 | xargs -0 gcov --stdout 2>/dev/null | awk -v least=$least -v missed=$missed '
  /^ *-: *0:Source:/ {
    file = substr($0, index($0, "Source:") + 7)
    wanted = match(file, /kernels\/[^.]*\.cuh?$/)
    if (wanted) file = substr(file, RSTART)
    next
  }
  wanted && match($0, /^ *[0-9#=]+\*?: *[0-9]+:/) {
    split($0, part, ":")
    gsub(/ /, "", part[1]); gsub(/ /, "", part[2])
    key = file SUBSEP part[2]
    if (!(key in ran)) { ran[key] = 0; lines[file]++; all++ }
    text[key] = substr($0, RLENGTH + 1)
    if (part[1] ~ /^[1-9]/ && !ran[key]) { ran[key] = 1; hit[file]++; hits++ }
  }
  END {
    for (file in lines)
      printf "%-52s %5d of %5d lines  %5.1f %%\n", file, hit[file], lines[file], 100 * hit[file] / lines[file] | "sort"
    close("sort")
    if (missed)
      for (key in ran) if (!ran[key]) { split(key, part, SUBSEP); printf "%s:%d:%s\n", part[1], part[2], text[key] | "sort -t: -k1,1 -k2,2n" }
    close("sort -t: -k1,1 -k2,2n")
    share = all ? 100 * hits / all : 0
    printf "kernel line coverage: %.1f %% (%d of %d lines, at least %d %% wanted)\n", share, hits, all, least
    exit share < least
  }'
