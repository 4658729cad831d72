#!/usr/bin/env bash
# Any number of ranks trains to the weights of one process with the same groups, bit for bit.
#
#   many_ranks.sh PROGRAM ["1 2 4 8" [RECIPES]]
#
# RECIPES: words of the list below, or all. HOSTS=2 (as root): the ranks are shared out to two
# network namespaces that act as two hosts (two_hosts.sh).
set -euo pipefail
program=$1 sizes=${2:-1 2 4 8} wanted=${3:-all}
here=$(cd "$(dirname "$0")" && pwd)
launcher=$here/../mpirun.sh
[ "${HOSTS:-1}" = 1 ] || launcher=$here/../two_hosts.sh
declare -A recipes=(
  [baseline]=smoke/rxrx1/table1/baseline [adabn]=smoke/rxrx1/table1/adabn
  [gradient-reversal]=smoke/rxrx1/table1/gradient-reversal
  [supervised]=smoke/cdcl/table1/supervised [dino]=smoke/cdcl/table1/ssl-dino
  [byol]=smoke/cdcl/table1/ssl-byol [cdcl]=smoke/cdcl/table1/cdcl)
order="baseline adabn gradient-reversal supervised dino byol cdcl"
[ "$wanted" != all ] || wanted=$order
work=$(mktemp -d)
cleanup() {
  rm -rf "$work"
}
trap cleanup EXIT

"$program" data synth --out "$work/screen" --seed 3 --experiments 4 --wells 32 --sirnas 4 \
  --cell-types 1 --image-size 48 >/dev/null

settings() {  # settings NAME: small, with eight groups
  case $1 in
    baseline | adabn | gradient-reversal)
      echo "--set batch.groups=8 --set batch.group_size=4 --set train.epochs=2" ;;
    *)
      echo "--set batch.groups=8 --set batch.anchors=16 --set train.epochs=2 --set views.size=32" \
        "--set validation.every_epochs=1"
      case $1 in dino | cdcl) echo "--set views.local_size=16" ;; esac
      ;;
  esac
}
weights() {  # hash of everything that the newest checkpoint holds
  local newest
  newest=$(ls -d "$1"/ckpt/step_* | sort | tail -n 1)
  echo "$(basename "$newest") $(cat "$newest/model.safetensors" "$newest/optimizer.safetensors" | sha256sum)"
}
figures() {  # the losses of every step
  grep -o '"step": *[0-9]*\|"loss": *[^,}]*\|"accuracy": *[^,}]*' "$1/metrics.jsonl" | sha256sum
}

failed=0
for name in $wanted; do
  train() {  # train OUT [LAUNCHER...]
    local out=$1
    shift
    # shellcheck disable=SC2046
    "$@" "$program" train --recipe "${recipes[$name]}" --data "$work/screen" --out "$out" \
      --device cpu --threads 1 $(settings "$name") >"$out.log" 2>&1 || {
      tail -n 5 "$out.log" >&2
      return 1
    }
  }
  train "$work/$name"
  expected=$(weights "$work/$name")
  for n in $sizes; do
    train "$work/$name-$n" "$launcher" "$n"
    got=$(weights "$work/$name-$n")
    if [ "$got" != "$expected" ] || [ "$(figures "$work/$name-$n")" != "$(figures "$work/$name")" ]; then
      echo "FAILED: $name on $n ranks: $got, one process $expected" >&2
      failed=1
    else
      echo "ok: $name on $n ranks"
    fi
    if ! grep -q "\"ranks\": *$n[,}]" "$work/$name-$n/metrics.jsonl"; then
      echo "FAILED: $name on $n ranks: metrics.jsonl says $(head -n 1 "$work/$name-$n/metrics.jsonl")" >&2
      failed=1
    fi
  done
done
exit $failed
