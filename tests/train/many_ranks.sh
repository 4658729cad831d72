#!/usr/bin/env bash
# Any number of ranks trains to the weights of one process with the same groups, bit for bit, and
# validates, evaluates and embeds to the same figures.
#
#   many_ranks.sh PROGRAM ["1 2 4 8" [RECIPES]]      STEP_GROUPS=8: groups of a step
#
# RECIPES: words of the list below, or all. HOSTS=2 (as root): the ranks are shared out to two
# network namespaces that act as two hosts (two_hosts.sh); exit 77 where that is not allowed.
# DEVICE=cuda: on GPUs, added over MPI, with the same bits; with SUMS=nccl as well: added over NCCL,
# losses within a thousandth of those of one process.
set -euo pipefail
program=$1 sizes=${2:-1 2 4 8} wanted=${3:-all}
device=${DEVICE:-cpu} sums=${SUMS:-mpi}
here=$(cd "$(dirname "$0")" && pwd)
launcher=$here/../mpirun.sh
if [ "${HOSTS:-1}" != 1 ]; then
  launcher=$here/../two_hosts.sh
  "$launcher" 2 true || exit $?
fi
declare -A recipes=(
  [baseline]=smoke/rxrx1/table1/baseline [adabn]=smoke/rxrx1/table1/adabn
  [gradient-reversal]=smoke/rxrx1/table1/gradient-reversal
  [supervised]=smoke/cdcl/table1/supervised [dino]=smoke/cdcl/table1/ssl-dino
  [byol]=smoke/cdcl/table1/ssl-byol [cdcl]=smoke/cdcl/table1/cdcl
  [cdcl-global]=smoke/cdcl/table1/cdcl [byol-global]=smoke/cdcl/table3/ssl-byol-bl)
order="baseline adabn gradient-reversal supervised dino byol cdcl cdcl-global byol-global"
[ "$wanted" != all ] || wanted=$order
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$program" data synth --out "$work/screen" --seed 3 --experiments 4 --wells 32 --sirnas 4 \
  --cell-types 1 --image-size 48 >/dev/null

groups=${STEP_GROUPS:-8}
settings() {  # settings NAME: small
  case $1 in
    baseline | adabn | gradient-reversal)
      echo "--set batch.groups=$groups --set batch.group_size=4 --set train.epochs=2" \
        "--set test_curve.every_epochs=1" ;;
    *)
      echo "--set batch.groups=$groups --set batch.anchors=$((2 * groups)) --set train.epochs=2 --set views.size=32" \
        "--set validation.every_epochs=1"
      case $1 in dino | cdcl*) echo "--set views.local_size=16" ;; esac
      case $1 in *-global) echo "--set ssl.barlow_global=true" ;; esac
      ;;
  esac
}
losses() {
  grep -o '"loss": *[^,}]*' "$1/metrics.jsonl" | sed 's/.*: *//'
}
# Everything that must be the same: hashes of the newest checkpoint, the losses of every step, what
# was validated and recorded while training, and what `evaluate` and `embed` wrote.
results() {
  local newest
  newest=$(ls -d "$1"/ckpt/step_* | sort | tail -n 1)
  echo "$(basename "$newest") $(cat "$newest/model.safetensors" "$newest/optimizer.safetensors" | sha256sum)"
  losses "$1" | sha256sum
  grep -o '"accuracy": *[^,}]*' "$1/metrics.jsonl" | sha256sum
  (cd "$1" && find . "(" -name 'validation.jsonl' -o -name 'test_curve.jsonl' -o -path './evaluation/*.csv' \
    -o -path './evaluation/*.safetensors' -o -name '*.npy' -o -name metadata.csv ")" -exec sha256sum {} + | sort -k 2)
}

failed=0
wrong() {
  echo "FAILED: $1" >&2
  failed=1
}
for name in $wanted; do
  rxrx() {  # rxrx OUT.log [LAUNCHER RANKS] -- COMMAND...
    local log=$1 launch=()
    shift
    while [ "$1" != -- ]; do launch+=("$1"); shift; done
    shift
    "${launch[@]}" "$program" "$@" --device "$device" --threads 1 >>"$log" 2>&1 || {
      tail -n 5 "$log" >&2
      return 1
    }
  }
  whole() {  # whole OUT [LAUNCHER RANKS]: trains, evaluates, embeds
    local out=$1
    shift
    # shellcheck disable=SC2046
    rxrx "$out.log" "$@" -- train --recipe "${recipes[$name]}" --data "$work/screen" --out "$out" \
      --set ranks.gpu_sums="$sums" $(settings "$name")
    rxrx "$out.log" "$@" -- evaluate "$out"
    rxrx "$out.log" "$@" -- embed "$out" --parts train,test --out "$out/embedding"
  }
  whole "$work/$name"
  results "$work/$name" >"$work/expected"
  [ "$(grep -c -e '\.npy' -e validation -e test_curve "$work/expected")" -ge 2 ] || wrong "$name: there is nothing to compare"
  for n in $sizes; do
    whole "$work/$name-$n" "$launcher" "$n"
    if [ "$device-$sums" = cuda-nccl ]; then
      paste <(losses "$work/$name") <(losses "$work/$name-$n") | awk '
        { d = ($1 - $2) / $1; if (d < 0) d = -d; if (d > worst) worst = d }
        END { printf "losses differ by %.1e at most\n", worst; exit NR == 0 || worst > 1e-3 }' || wrong "$name on $n ranks"
    else
      results "$work/$name-$n" >"$work/got"
      diff "$work/expected" "$work/got" >&2 || wrong "$name on $n ranks: not what one process gives"
    fi
    grep -q "\"ranks\": *$n[,}]" "$work/$name-$n/metrics.jsonl" ||
      wrong "$name on $n ranks: metrics.jsonl says $(head -n 1 "$work/$name-$n/metrics.jsonl")"
    echo "$name on $n ranks: $(wc -l <"$work/expected") results compared"
    rm -rf "$work/$name-$n"
  done
done
[ $failed = 0 ] && echo "all the same"
exit $failed
