#!/usr/bin/env bash
# mpirun as tests want it: mpirun.sh RANKS PROGRAM [ARGUMENTS]. On this machine alone, any number of
# ranks whatever its cores, as root too (containers).
set -euo pipefail
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_btl_vader_single_copy_mechanism=none  # ptrace is not allowed in containers
export OMPI_MCA_plm=isolated  # no other machine, so no ssh, which need not be installed
ranks=$1
shift
exec mpirun --oversubscribe --bind-to none -np "$ranks" "$@"
