#!/usr/bin/env bash
# A run that is interrupted at random moments and resumed ends with the weights of an undisturbed
# one, bit for bit.
#
#   interrupted_runs.sh PROGRAM [MOMENTS [SEED]]
#
# MOMENTS interruptions (default 6), in turn SIGTERM (must exit 75), SIGKILL, and a full disk (a
# small tmpfs; left out, and said so, where mounting is not allowed), at moments drawn from SEED.
set -euo pipefail
program=$1 moments=${2:-6}
RANDOM=${3:-1}
work=$(mktemp -d)
mounted=
cleanup() {
  [ -z "$mounted" ] || umount "$work/small" || true
  rm -rf "$work"
}
trap cleanup EXIT

"$program" data synth --out "$work/screen" --seed 3 --experiments 4 --wells 16 --sirnas 4 \
  --image-size 32 >/dev/null
train() {  # train OUT
  "$program" train --recipe smoke/rxrx1/table1/adabn --data "$work/screen" --out "$1" --resume auto \
    --set train.epochs=6 --set batch.group_size=8 --set checkpoint.every_steps=4 >>"$work/log" 2>&1
}
final_weights() {  # hash of the newest checkpoint's weights
  local newest
  newest=$(ls -d "$1"/ckpt/step_* | sort | tail -n 1)
  echo "$(basename "$newest") $(sha256sum <"$newest/model.safetensors")"
}

start=$(date +%s%N)
train "$work/undisturbed"
run_ms=$((($(date +%s%N) - start) / 1000000))
expected=$(final_weights "$work/undisturbed")
rows=$(wc -l <"$work/undisturbed/metrics.jsonl")
echo "undisturbed: $expected, $rows rows, $run_ms ms"

mkdir "$work/small"
if mount -t tmpfs -o size=64m none "$work/small" 2>/dev/null; then mounted=1; fi

check() {  # check OUT WHAT
  local got
  got=$(final_weights "$1")
  if [ "$got" != "$expected" ]; then
    echo "FAILED: $2: $got, expected $expected" >&2
    exit 1
  fi
  if [ "$(wc -l <"$1/metrics.jsonl")" != "$rows" ] ||
    [ "$(grep -o '"step": *[0-9]*' "$1/metrics.jsonl" | sort -u | wc -l)" != "$rows" ]; then
    echo "FAILED: $2: metrics.jsonl has gaps or repeats" >&2
    exit 1
  fi
}

passed=0 skipped=0
for ((i = 0; i < moments; ++i)); do
  out=$work/run$i
  wait_ms=$((RANDOM * run_ms / 32768))
  delay=$(printf '%d.%03d' $((wait_ms / 1000)) $((wait_ms % 1000)))
  case $((i % 3)) in
    0 | 1)
      signal=$([ $((i % 3)) = 0 ] && echo TERM || echo KILL)
      train "$out" &
      job=$!
      sleep "$delay"
      # The function's shell is the parent of the program.
      pkill -"$signal" -P "$job" 2>/dev/null || true
      status=0
      wait "$job" || status=$?
      # 75: saved. 0: it was done before the signal came. 143: before the handler was there.
      if [ "$signal" = TERM ] && [ "$status" != 75 ] && [ "$status" != 0 ] && [ "$status" != 143 ]; then
        echo "FAILED: SIGTERM after $delay s: exit $status, expected 75" >&2
        tail -n 5 "$work/log" >&2
        exit 1
      fi
      what="SIG$signal after $delay s (exit $status)"
      ;;
    2)
      if [ -z "$mounted" ]; then
        skipped=$((skipped + 1))
        continue
      fi
      # The run lives on the small disk, which fills up for a while and is freed again.
      out=$work/small/run$i
      train "$out" &
      job=$!
      sleep "$delay"
      dd if=/dev/zero of="$work/small/filler" bs=4k 2>/dev/null || true
      sleep 0.3
      rm -f "$work/small/filler"
      status=0
      wait "$job" || status=$?
      if [ "$status" != 0 ] && [ "$status" != 5 ]; then
        echo "FAILED: full disk after $delay s: exit $status, expected 0 or 5" >&2
        tail -n 5 "$work/log" >&2
        exit 1
      fi
      what="disk full after $delay s (exit $status)"
      ;;
  esac
  train "$out"
  check "$out" "$what"
  echo "ok: $what"
  rm -rf "$out"
  passed=$((passed + 1))
done
[ "$skipped" = 0 ] || echo "SKIPPED: $skipped full disks (mounting a tmpfs needs root)"
echo "$passed interruptions, all resumed to the same bits"
