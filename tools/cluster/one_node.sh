#!/usr/bin/env bash
# Eight ranks on this machine, one group of 64 images each: the paper's batch of 512.
#
#   one_node.sh RECIPE DATA OUT [train_rxrx flags]      RANKS=8, TRAIN_RXRX=train_rxrx
#
# A rank that fails ends all of them; the same command goes on from the last checkpoint. Cores are
# divided among the ranks unless --threads says otherwise; on GPUs each rank takes its own. Exit codes
# are train_rxrx's, also where mpirun has one of its own for a rank that was killed: 6.
set -euo pipefail
if [ $# -lt 3 ]; then
  echo "usage: one_node.sh RECIPE DATA OUT [train_rxrx flags]" >&2
  exit 2
fi
recipe=$1 data=$2 out=$3
shift 3
mpirun -np "${RANKS:-8}" --bind-to none \
  "${TRAIN_RXRX:-train_rxrx}" train --recipe "$recipe" --data "$data" --out "$out" --resume auto "$@" </dev/null &
mpirun=$!
for signal in INT TERM USR1; do
  # shellcheck disable=SC2064  # now
  trap "kill -$signal $mpirun 2>/dev/null || true" "$signal"
done
while :; do  # a signal that is passed on ends a wait
  status=0
  wait "$mpirun" || status=$?
  kill -0 "$mpirun" 2>/dev/null || break
done
status=0
wait "$mpirun" || status=$?  # its own, where a signal ended the last wait just then
if [ "$status" -gt 128 ]; then
  echo "one_node.sh: a rank was killed (mpirun: exit $status). The last checkpoint is whole: run the same command again" >&2
  exit 6
fi
exit "$status"
