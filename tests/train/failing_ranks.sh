#!/usr/bin/env bash
# A rank that fails ends all ranks within the timeout, is named, leaves no process behind, and the
# same command goes on to the weights of an undisturbed run, also on another number of ranks.
#
#   failing_ranks.sh PROGRAM [FAULTS [SEED]]
#
# FAULTS faults (default 10) on one of four ranks at steps drawn from SEED, in turn: killed,
# stopped, a flipped bit in its weights, a weight that is not a number, a full disk under rank 0 (a
# small tmpfs; left out, and said so, where mounting is not allowed), its main thread held, the main
# threads of all ranks held (noticed within twice the timeout); and SIGUSR1 to mpirun, as a batch
# system sends it, which is no fault: all is saved. Started by
# tools/cluster/one_node.sh, whose exit codes are looked at.
set -euo pipefail
program=$1 faults=${2:-10}
RANDOM=${3:-1}
here=$(cd "$(dirname "$0")" && pwd)
ranks=4 timeout=6
work=$(mktemp -d)
mounted=
cleanup() {
  pkill -KILL -f "$work" 2>/dev/null || true
  [ -z "$mounted" ] || umount "$work/small" || true
  rm -rf "$work"
}
trap cleanup EXIT

"$program" data synth --out "$work/screen" --seed 3 --experiments 4 --wells 32 --sirnas 4 \
  --image-size 32 >/dev/null
train() {  # train OUT RANKS
  # As mpirun.sh has it: as root, more ranks than cores, without ptrace and ssh.
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_plm=isolated
  export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
  RANKS=$2 TRAIN_RXRX=$program exec "$here/../../tools/cluster/one_node.sh" smoke/rxrx1/table1/adabn \
    "$work/screen" "$1" --device cpu --threads 1 --set batch.groups=4 --set batch.group_size=8 \
    --set train.epochs=8 --set checkpoint.every_steps=4 --set ranks.timeout_s=$timeout \
    --set ranks.check_steps=1
}
weights() {
  local newest
  newest=$(ls -d "$1"/ckpt/step_* | sort | tail -n 1)
  echo "$(basename "$newest") $(sha256sum <"$newest/model.safetensors")"
}
(train "$work/undisturbed" 1) >"$work/log" 2>&1
expected=$(weights "$work/undisturbed")
steps=$(wc -l <"$work/undisturbed/metrics.jsonl")
echo "undisturbed: $expected, $steps steps"

mkdir "$work/small"
if mount -t tmpfs -o size=24m none "$work/small" 2>/dev/null; then mounted=1; fi

fail() {
  echo "FAILED: $1" >&2
  tail -n 20 "$work/log" >&2
  exit 1
}
processes() {  # the ranks of this run
  pgrep -f "^$program train .*--out $out " || true
}
rank_process() {  # rank_process RANK
  local pid
  for pid in $(processes); do
    if tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -qx "OMPI_COMM_WORLD_RANK=$1"; then
      echo "$pid"
      return
    fi
  done
}
at_step() {  # waits until the run has logged a step, or is over
  while kill -0 "$job" 2>/dev/null; do
    [ ! -e "$out/metrics.jsonl" ] || [ "$(wc -l <"$out/metrics.jsonl")" -lt "$1" ] || break
    sleep 0.02
  done
}

passed=0 skipped=0 missed=0
kinds=(kill stop flip-bit nan disk hold hold-all usr1)
for ((i = 0; i < faults; ++i)); do
  kind=${kinds[$((i % ${#kinds[@]}))]}
  rank=$((RANDOM % ranks)) step=$((RANDOM % (steps - 8) + 5))
  out=$work/run$i
  case $kind in
    # Not rank 0's: a bit that flips there between the comparison and the save is in the checkpoint.
    flip-bit | nan) rank=$((RANDOM % (ranks - 1) + 1)) ;;
  esac
  if [ "$kind" = disk ]; then
    rank=0 out=$work/small/run$i
    if [ -z "$mounted" ]; then
      skipped=$((skipped + 1))
      continue
    fi
  fi
  (train "$out" $ranks) >"$work/log" 2>&1 &
  job=$!
  at_step "$step"
  victim=$(rank_process "$rank")
  at=$(date +%s%N) done=0 helper= limit=$((timeout + 10))
  case $kind in
    kill | stop) kill -"${kind^^}" "$victim" 2>/dev/null || done=1 ;;
    flip-bit | nan) python3 "$here/rank_fault.py" "$kind" "${victim:-0}" "$out" >>"$work/log" 2>&1 || done=$? ;;
    hold | hold-all)
      if [ "$kind" = hold-all ]; then
        rank=all limit=$((2 * timeout + 10)) victim=$(processes | paste -s -d ' ')
      fi
      python3 "$here/rank_fault.py" hold "${victim:-0}" 60 >>"$work/log" 2>&1 &
      helper=$!
      ;;
    usr1) kill -USR1 "$job" || done=1 ;;
    disk) dd if=/dev/zero of="$work/small/filler" bs=4k 2>/dev/null || true ;;
  esac
  if [ "$done" = 77 ]; then
    skipped=$((skipped + 1))
    kill "$job"
    wait "$job" || true
    continue
  fi
  status=0
  wait "$job" || status=$?
  seconds=$((($(date +%s%N) - at) / 1000000000))
  if [ -n "$helper" ]; then  # it holds on until it is told; 77: it is not allowed to, 1: too late
    kill "$helper" 2>/dev/null || true
    wait "$helper" 2>/dev/null || done=$?
    [ "$done" != 143 ] || done=0
    if [ "$done" = 77 ]; then
      skipped=$((skipped + 1))
      continue
    fi
  fi
  rm -f "$work/small/filler"
  what="$kind on rank $rank after step $step: exit $status, $seconds s"
  [ "$seconds" -le $limit ] || [ "$done" != 0 ] || fail "$what: too late"
  case $kind in
    stop) reason="lost rank $rank" expect=6 ;;
    hold) reason="rank $rank .*is stuck" expect=6 ;;
    # One that stands between two collectives is behind the others; within one, waits for them.
    hold-all) reason="is stuck\|none of the $ranks ranks has moved\|waited for each other" expect=6 ;;
    kill) reason="rank $rank .*signal 9\|lost rank $rank" expect=6 ;;
    usr1) reason="SIGUSR1: saved after step" expect=75 ;;
    flip-bit) reason="of rank $rank is not that of the other ranks" expect=6 ;;
    nan) reason="of rank $rank is not that of the other ranks\|diverged.*rank $rank" expect= ;;
    disk) reason="rank 0 .*No space left" expect=5 ;;
  esac
  if [ "$status" = 0 ]; then  # the run was over before, or freed space was enough
    missed=$((missed + 1))
    [ "$done" != 0 ] || [ "$kind" = disk ] || fail "$what: nobody noticed"
  else
    grep -q "$reason" "$work/log" || fail "$what: no word of '$reason'"
    [ -z "$expect" ] || [ "$status" = "$expect" ] || fail "$what: exit $expect expected"
  fi
  sleep 0.2
  left=$(processes)
  [ -z "$left" ] || fail "$what: processes left: $left"
  again=$((1 << RANDOM % 3))  # 1, 2 or 4
  (train "$out" $again) >"$work/log" 2>&1 || fail "$what: the rerun on $again ranks failed"
  [ "$(weights "$out")" = "$expected" ] || fail "$what: the rerun on $again ranks gave $(weights "$out")"
  [ "$(wc -l <"$out/metrics.jsonl")" = "$steps" ] || fail "$what: metrics.jsonl has gaps or repeats"
  echo "ok: $what; rerun on $again ranks"
  rm -rf "$out"
  passed=$((passed + 1))
done
[ "$skipped" = 0 ] || echo "SKIPPED: $skipped faults (a tmpfs or another process's memory needs root)"
echo "$passed faults, $missed of them after the end of the run; all ended, named and resumed to the same bits"
[ $((missed * 2)) -le "$passed" ] || fail "most faults came too late to test anything"
