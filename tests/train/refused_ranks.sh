#!/usr/bin/env bash
# Ranks that cannot work together: each a clear error on every rank, before anything is written.
#
#   refused_ranks.sh PROGRAM
set -euo pipefail
program=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$program" data synth --out "$work/screen" --seed 3 --experiments 4 --wells 16 --sirnas 4 \
  --image-size 32 >/dev/null 2>&1
"$program" data synth --out "$work/other" --seed 3 --experiments 4 --wells 16 --sirnas 4 \
  --image-size 32 --batch-effect 3 >/dev/null 2>&1
"$program" data synth --out "$work/smaller" --seed 3 --experiments 3 --wells 16 --sirnas 4 \
  --image-size 32 >/dev/null 2>&1

on_screen=(train --recipe smoke/rxrx1/table1/adabn --out "$work/out" --device cpu --threads 1
  --set batch.groups=4 --set batch.group_size=8 --set train.epochs=2 --set ranks.timeout_s=5)
train=("${on_screen[@]}" --data "$work/screen")
failed=0
# refused NAME EXIT TEXT RANKS COMMAND...: mpirun's words after its -np
refused() {
  local name=$1 expected=$2 text=$3 status=0
  shift 3
  local start=$SECONDS
  "$here/../mpirun.sh" "$@" >"$work/log" 2>&1 || status=$?
  if [ "$status" != "$expected" ] || ! grep -q "$text" "$work/log" || [ $((SECONDS - start)) -gt 20 ]; then
    echo "FAILED: $name: exit $status after $((SECONDS - start)) s, expected $expected and '$text':" >&2
    cat "$work/log" >&2
    failed=1
  elif [ -e "$work/out" ] && [ ! -e "$work/earlier" ]; then
    echo "FAILED: $name left a folder behind" >&2
    failed=1
  else
    echo "ok: $name: $(grep -v '^-' "$work/log" | grep -o "$text.*" | head -n 1 | cut -c 1-150)"
  fi
  [ -e "$work/earlier" ] || rm -rf "$work/out"
}

refused "ranks that do not divide the groups" 2 "start 1, 2, 4 ranks" 3 "$program" "${train[@]}"
refused "more ranks than groups" 2 "start 1, 2, 4 ranks" 8 "$program" "${train[@]}"
refused "different recipes" 2 "rank 1: has not the same recipe as rank 0" \
  1 "$program" "${train[@]}" : -np 1 "$program" "${train[@]}" --set optim.lr=0.123
refused "keys that decide no result" 2 "rank 1: has not the same recipe as rank 0" \
  1 "$program" "${train[@]}" : -np 1 "$program" "${train[@]}" --set ranks.bucket_mb=1
refused "different screens" 2 "rank 1: has not the same images as rank 0" \
  1 "$program" "${train[@]}" : -np 1 "$program" "${on_screen[@]}" --data "$work/smaller"
refused "a screen that one rank does not see" 3 "nowhere" \
  1 "$program" "${train[@]}" : -np 1 "$program" "${on_screen[@]}" --data "$work/nowhere"
refused "a rank that dies before the first step" 137 "" 2 bash -c \
  'if [ "$OMPI_COMM_WORLD_RANK" = 1 ]; then kill -9 $$; fi; exec "$@"' sh "$program" "${train[@]}"
MONO_START_TIMEOUT_S=2 refused "a rank that never starts" 6 "MPI_Init did not end within 2 s" \
  1 "$program" "${train[@]}" : -np 1 sleep 60
refused "another command" 2 "work on several ranks" 2 "$program" report "$work/out"
cmp "$work/screen/metadata.csv" "$work/other/metadata.csv" >&2
refused "another screen's images under the same table" 2 "rank 1: has not the same pixels as rank 0" \
  1 "$program" "${train[@]}" : -np 1 "$program" "${on_screen[@]}" --data "$work/other"
cp -r "$work/screen" "$work/without"
lacks=$(sed -n 's/^\([^,]*\),.*,test,.*/\1/p' "$work/screen/metadata.csv" | head -n 1)
[ -n "$lacks" ]
rm "$(find "$work/without" -path "*/${lacks%%_*}/*" -name '*.png' | sort | head -n 1)"
refused "a test image that one rank lacks" 2 "rank 1: has not the same images as rank 0" \
  1 "$program" "${train[@]}" : -np 1 "$program" "${on_screen[@]}" --data "$work/without"

"$here/../mpirun.sh" 2 "$program" "${train[@]}" --set checkpoint.every_steps=4 >"$work/log" 2>&1
cp -r "$work/out" "$work/earlier"
rm -r "$(ls -d "$work/earlier"/ckpt/step_* | sort | tail -n 1)"
refused "an evaluation of two checkpoints" 2 "rank 1: has not the same checkpoint as rank 0" \
  1 "$program" evaluate "$work/out" --threads 1 : -np 1 "$program" evaluate "$work/earlier" --threads 1
refused "a run that is there" 2 "holds a run already" 2 "$program" "${train[@]}"
# Two runs in one folder at a time: the second one is refused, the first one goes on.
rm -rf "$work/out"
"$here/../mpirun.sh" 2 "$program" "${train[@]}" --set train.epochs=40 >"$work/first" 2>&1 &
first=$!
while kill -0 $first 2>/dev/null && [ ! -s "$work/out/metrics.jsonl" ]; do sleep 0.05; done
status=0
"$here/../mpirun.sh" 2 "$program" "${train[@]}" --resume auto >"$work/log" 2>&1 || status=$?
if ! kill -0 $first 2>/dev/null || [ "$status" != 5 ] || ! grep -q "another train_rxrx" "$work/log"; then
  echo "FAILED: two runs in one folder: exit $status" >&2
  cat "$work/log" >&2
  failed=1
else
  echo "ok: two runs in one folder: exit $status, $(grep -o "another train_rxrx.*" "$work/log" | head -n 1)"
fi
kill -USR1 $first
status=0
wait $first || status=$?
[ "$status" = 75 ] || { echo "FAILED: the first one ended with $status" >&2; failed=1; }
exit $failed
