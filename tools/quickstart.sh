#!/usr/bin/env bash
# From nothing to a batch-corrected model: installs, builds, makes a synthetic screen, trains the
# paper's classifier with and without AdaBN on both splits, evaluates, and prints the table.
#
#   tools/quickstart.sh [DIR]      # default: runs/quickstart; 5 to 15 minutes on two cores
set -euo pipefail
if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"
  exit
fi
cd "$(dirname "$0")/.."
out=${1:-runs/quickstart}
tools/install_deps.sh

echo "== build"
cmake --preset cpu -DMONO_TESTS=OFF >/dev/null
cmake --build --preset cpu --target train_rxrx -j "$(nproc)"
program=build/cpu/train/train_rxrx

mkdir -p "$out"
if [ ! -f "$out/screen/metadata.csv" ]; then
  echo "== synthetic screen"
  rm -rf "$out/screen"
  "$program" data synth --out "$out/screen" --seed 1
fi
"$program" data check --data "$out/screen"
"$program" data montage --data "$out/screen" --out "$out/montage.png"

echo "== train and evaluate: baseline and AdaBN, separated and stratified"
"$program" reproduce rxrx1/table1 --smoke --methods baseline,baseline-posthoc,adabn --seeds 1 \
  --data "$out/screen" --out "$out/table1"

echo
echo "The screen as a picture: $out/montage.png"
echo "The table:               $out/table1/rxrx1/table1/table.md"
echo "The runs:                $out/table1"
