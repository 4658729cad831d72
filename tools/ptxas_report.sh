#!/usr/bin/env bash
# What ptxas said of every kernel of a CUDA build: registers, static shared memory, stack, spills.
#
#   tools/ptxas_report.sh [BUILD]     BUILD: build/cuda
#
# Prints a table in Markdown, a row a kernel, with sm_80 and sm_90a side by side. Exits 1 where a
# kernel spills registers or where there is no report at all.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/cuda}
mapfile -t reports < <(find "$build/kernels" -name '*.ptxas' | LC_ALL=C sort)
if [ ${#reports[@]} = 0 ]; then
  echo "no ptxas reports below $build/kernels: build the preset cuda first" >&2
  exit 1
fi
awk '
  FNR == 1 { source = FILENAME; sub(/.*mono_kernels\.dir\//, "", source); sub(/\.o\.ptxas$/, "", source) }
  /Compiling entry function/ { split($0, part, "\047"); kernel = part[2]; arch = part[4] }
  /bytes stack frame/ { stack = $1; spill = $5 + $9 }
  /Used [0-9]+ registers/ {
    match($0, /Used [0-9]+/); registers = substr($0, RSTART + 5, RLENGTH - 5)
    shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART, RLENGTH) + 0 : 0
    print kernel "\t" source "\t" arch "\t" registers "\t" shared "\t" stack "\t" spill
  }' "${reports[@]}" | c++filt | LC_ALL=C sort -t $'\t' -k2,2 -k1,1 -k3,3 | awk -F '\t' '
  # "void mono::f<float, (mono::Pass)1>(int, float*)" -> "f<float, (Pass)1>"
  function short(name, i, c, depth) {
    gsub(/\(anonymous namespace\)::|mono::/, "", name)
    sub(/^void /, "", name)
    for (i = 1; i <= length(name); ++i) {
      c = substr(name, i, 1)
      if (c == "<") ++depth
      if (c == ">") --depth
      if (c == "(" && depth == 0) return substr(name, 1, i - 1)
    }
    return name
  }
  function flush_row() { if (name != "") print "| `" name "` | " cells["sm_80"] " | " cells["sm_90a"] " |" }
  BEGIN {
    print "| kernel | sm_80: registers, shared, stack, spills | sm_90a |"
    print "|---|---|---|"
  }
  {
    $1 = short($1)
    if ($1 != name) { flush_row(); name = $1; delete cells; ++kernels }
    cells[$3] = $4 ", " $5 ", " $6 ", " $7
    if ($7 > 0) bad = bad "\n" $1 " (" $2 ", " $3 ") spills " $7 " bytes"
  }
  END {
    flush_row()
    print "\n" kernels " kernels"
    if (bad != "") { print "REGISTER SPILLS:" bad; exit 1 }
  }'
