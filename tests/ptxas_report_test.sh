#!/usr/bin/env bash
# tools/ptxas_report.sh finds a spill, passes where there is none, and fails where there is no report.
#   ptxas_report_test.sh SOURCE_DIR
set -euo pipefail
report=$1/tools/ptxas_report.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
folder=$work/kernels/CMakeFiles/mono_kernels.dir/pool
mkdir -p "$folder"
if "$report" "$work" 2>/dev/null; then
  echo "no report at all was accepted" >&2
  exit 1
fi
say() {  # say SPILLED
  cat <<END
ptxas info    : Compiling entry function '_ZN4mono10add_kernelIfEEvlPKT_S3_PS1_' for 'sm_80'
ptxas info    : Function properties for _ZN4mono10add_kernelIfEEvlPKT_S3_PS1_
    $1 bytes stack frame, $1 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 26 registers, used 1 barriers, 2048 bytes smem, 376 bytes cmem[0]
END
}
say 0 >"$folder/pool.cu.o.ptxas"
# shellcheck disable=SC2016  # no expansion is meant
"$report" "$work" | grep -q -F '| `add_kernel<float>` | 26, 2048, 0, 0 |'
say 8 >"$folder/pool.cu.o.ptxas"
if "$report" "$work" >"$work/out"; then
  echo "a spill was accepted" >&2
  exit 1
fi
grep -q 'add_kernel<float> (pool/pool.cu, sm_80) spills 8 bytes' "$work/out"
