#!/usr/bin/env bash
# When the Slurm examples queue their job again, with srun and scontrol of our own.
set -euo pipefail
cluster=$(cd "$(dirname "$0")/../../tools/cluster" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
cat >"$work/bin/srun" <<'SRUN'
#!/usr/bin/env bash
[ -z "$NEW_CHECKPOINT" ] || mkdir -p "run/ckpt/$NEW_CHECKPOINT"
echo "$SRUN_CPUS_PER_TASK cores: $*"
exit "$STATUS"
SRUN
cat >"$work/bin/scontrol" <<'SCONTROL'
#!/usr/bin/env bash
echo "scontrol $*"
SCONTROL
chmod +x "$work"/bin/*
export PATH=$work/bin:$PATH SLURM_JOB_ID=7 SLURM_CPUS_PER_TASK=8
cd "$work"
failed=0
# tried STATUS NEW_CHECKPOINT AGAIN: what srun ends with, what it leaves, whether that is tried again
tried() {
  local script status text again
  for script in slurm_one_node slurm_nodes; do
    rm -rf run
    mkdir -p run/ckpt/step_00000050
    status=0
    text=$(STATUS=$1 NEW_CHECKPOINT=$2 bash "$cluster/$script.sbatch" recipe data run --seed 3) || status=$?
    again=no
    [[ $text != *"scontrol requeue 7"* ]] || again=yes
    if [ "$status" != "$1" ] || [ "$again" != "$3" ] ||
      [[ $text != "8 cores: "*"train --recipe recipe --data data --out run --resume auto --threads 8 --seed 3"* ]]; then
      echo "FAILED: $script, exit code $1, new checkpoint '$2': exit code $status, again: $again; $text" >&2
      failed=1
    fi
  done
}
tried 0 step_00000100 no
tried 75 "" yes  # interrupted
tried 6 "" no    # a rank failed, and would again
tried 6 step_00000100 yes
tried 137 step_00000100 yes # a rank or its node is gone
tried 2 step_00000100 no    # a recipe that cannot be
tried 4 step_00000100 no    # diverged
[ $failed = 0 ] && echo "14 ends, each queued again or not as it says"
exit $failed
