#!/usr/bin/env bash
# Eight ranks on this machine, one group of 64 images each: the paper's batch of 512.
#
#   one_node.sh RECIPE DATA OUT [train_rxrx flags]
#
# A rank that fails ends all of them; the same command goes on from the last checkpoint. Cores are
# divided among the ranks unless --threads says otherwise.
set -euo pipefail
recipe=$1 data=$2 out=$3
shift 3
exec mpirun -np "${RANKS:-8}" --bind-to none \
  "${TRAIN_RXRX:-train_rxrx}" train --recipe "$recipe" --data "$data" --out "$out" --resume auto "$@"
