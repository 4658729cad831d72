#!/usr/bin/env bash
# Everything that only a machine with a GPU can tell, in one command, the most telling first.
#
#   tools/gpu_check.sh [--minutes N] [--first] [--python PYTHON] [--dry-run] [--emulated]
#
# Runs from a build (presets cuda and cpu) or from an unpacked bundle (tools/bundle.sh). The first
# parts, five minutes: fragment layouts, kernels against the CPU, emulator against device on a whole
# model, copy bandwidth, and a training step of DenseNet-161 beside PyTorch. Then all kernels' times,
# the other peers, graphs, compute-sanitizer where there is one, and the rest of the suite.
#
#   --minutes N   start nothing new after N minutes
#   --first       the first parts only
#   --python P    with PyTorch, torchvision; without it the peers are left out
#   --dry-run     print the commands
#   --emulated    the same on the emulated device, where that can be: tries this script out, writes
#                 no results
#
# A part that fails or runs out of its time stops no other. Exit 1 where one did; logs are in
# build/gpu_check/ (bundle: gpu_check/). Writes tools/results/DEVICE.json and the table in README.md.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

minutes=1000000 first='' dry='' device=cuda python=python3
while [ $# -gt 0 ]; do
  case $1 in
    --minutes) minutes=$2; shift ;;
    --first) first=1 ;;
    --python) python=$2; shift ;;
    --dry-run) dry=1 ;;
    --emulated) device=emulated ;;
    *) echo "gpu_check.sh: unknown option $1; see the head of the script" >&2; exit 2 ;;
  esac
  shift
done

if [ -x bin/train_rxrx ]; then
  programs=bin tests=bin benchmark=bin/bench_kernels emulated=emulated/train_rxrx logs=gpu_check
  export MONO_TEST_DATA_DIR=$PWD/tests/data MONO_PROGRAM=$PWD/bin/train_rxrx MONO_FAKE_NCCL=$PWD/lib/libfake_nccl.so
else
  preset=cuda
  [ $device = emulated ] && preset=cpu
  programs=build/$preset/train tests=build/$preset/tests benchmark=build/$preset/tools/bench_kernels
  emulated=build/cpu/train/train_rxrx logs=build/gpu_check
fi
[ $device = emulated ] && [ -x bin/train_rxrx ] && programs=emulated
program=$programs/train_rxrx
if [ -z "$dry" ]; then
  [ -x "$program" ] || { echo "gpu_check.sh: no $program; build it (cmake --preset cuda) or unpack a bundle" >&2; exit 2; }
  rm -rf "$logs"
  mkdir -p "$logs"
fi
have_python=''
"$python" -c 'import sys' 2>/dev/null && have_python=1
have_torch=''
"$python" -c 'import torch, torchvision' 2>/dev/null && have_torch=1
# cuBLASLt, cuDNN and NCCL may lie in Python packages only.
libraries=$("$python" -c '
import glob, sysconfig
print(":".join(glob.glob(sysconfig.get_paths()["purelib"] + "/nvidia/*/lib")))' 2>/dev/null)
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$libraries

start=$SECONDS failed=0
summary=()
# part NAME SECONDS COMMAND...: one part, with its own time limit and log.
part() {
  local name=$1 limit=$2 status began=$SECONDS
  shift 2
  if [ -n "$dry" ]; then
    printf '%-18s (at most %s s)  %s\n' "$name" "$limit" "$*"
    return
  fi
  if [ $((SECONDS - start)) -ge $((minutes * 60)) ]; then
    summary+=("$name: not run, $minutes minutes are over")
    printf '%s\tnot run\t0\n' "$name" >>"$logs/parts.tsv"
    return
  fi
  echo "== $name"
  timeout --kill-after=10 "$limit" "$@" 2>&1 | tee "$logs/$name.log" | grep -v -e '^\[ RUN ' -e '^\[       OK '
  status=${PIPESTATUS[0]}
  local text=ok
  [ "$status" = 0 ] || { text="FAILED, exit $status"; failed=1; }
  [ "$status" = 124 ] && text="FAILED, more than $limit s"
  local skipped
  skipped=$(grep -c '^\[  SKIPPED \].*ms)$' "$logs/$name.log")
  [ "$skipped" = 0 ] || text="$text, $skipped tests skipped"
  summary+=("$name: $text, $((SECONDS - began)) s")
  printf '%s\t%s\t%s\n' "$name" "$text" "$((SECONDS - began))" >>"$logs/parts.tsv"
}
# left_out NAME REASON
left_out() {
  summary+=("$1: left out: $2")
  if [ -n "$dry" ]; then echo "$1: left out: $2"; else printf '%s\tleft out: %s\t0\n' "$1" "$2" >>"$logs/parts.tsv"; fi
}

# shellcheck disable=SC2317  # called through part
dumps() {  # the same weights and images on the emulated and the real device
  "$python" tools/dumps.py make "$emulated" "$logs/dumps" &&
    "$python" tools/dumps.py run "$emulated" emulated "$logs/dumps" "$logs/dumps/emulated" &&
    "$python" tools/dumps.py run "$emulated" cpu "$logs/dumps" "$logs/dumps/cpu" &&
    "$python" tools/dumps.py run "$program" "$device" "$logs/dumps" "$logs/dumps/device" &&
    echo "device against emulator:" && "$python" tools/dumps.py compare "$logs/dumps/device" "$logs/dumps/emulated" &&
    echo "device against CPU:" && "$python" tools/dumps.py compare "$logs/dumps/device" "$logs/dumps/cpu"
}
# shellcheck disable=SC2317  # called through part
graphs() {  # a recorded step replayed, and the same steps without: the same losses, and they fall
  local size="--image-size 64 --batch 16 --steps 20"
  [ "$device" = cuda ] || size="--image-size 32 --batch 2 --steps 4"
  local options model
  for model in densenet_smoke deit_smoke; do
    options="--model $model $size --warm-up 0 --device $device --json"
    for precision in f32 bf16; do
      # shellcheck disable=SC2086  # options are words
      "$program" bench $options --precision "$precision" >"$logs/plain.json" &&
        "$program" bench $options --precision "$precision" --graph >"$logs/graph.json" || return 1
      "$python" - "$logs" "$model $precision" <<'PYTHON' || return 1
import json, sys
plain, graph = (json.load(open(f"{sys.argv[1]}/{name}.json"))["loss"] for name in ("plain", "graph"))
same, falls = plain == graph, plain[-1] < plain[0]
print(f"{sys.argv[2]}: {len(plain)} steps, loss {plain[0]:.5f} -> {plain[-1]:.5f}, graph {'the same bits' if same else 'differs'}")
sys.exit(0 if same and falls else 1)
PYTHON
    done
  done
}
# shellcheck disable=SC2317  # called through part
nccl() {  # NCCL is opened and joined by one rank, which has nothing to add: what streams and waits around it cost
  local options="--model densenet161 --image-size 224 --batch 64 --precision bf16 --device $device --steps 20 --json"
  # shellcheck disable=SC2086  # options are words
  "$tests/runtime_tests" --gtest_filter='Nccl*' && "$program" bench $options >"$logs/alone.json" &&
    "$program" bench $options --nccl >"$logs/nccl.json" && "$python" - "$logs" <<'PYTHON'
import json, sys
alone, nccl = (json.load(open(f"{sys.argv[1]}/{name}.json")) for name in ("alone", "nccl"))
print(f"step of DenseNet-161: {1e3 * alone['median_s']:.2f} ms, through NCCL as one rank {1e3 * nccl['median_s']:.2f} ms")
sys.exit(0 if alone["loss"] == nccl["loss"] else 1)
PYTHON
}
# shellcheck disable=SC2317  # called through part
ranks() {  # as many ranks as GPUs: sums, whole trainings, and how the step scales
  local gpus=$1 n
  tests/mpirun.sh "$gpus" "$tests/runtime_tests" --gtest_filter='ManyRanks.*' &&
    DEVICE=cuda tests/train/many_ranks.sh "$program" "$gpus" "adabn cdcl" &&
    DEVICE=cuda SUMS=nccl tests/train/many_ranks.sh "$program" "$gpus" "adabn cdcl" || return 1
  rm -rf "$logs/screen" "$logs/ranks"
  "$program" data synth --out "$logs/screen" --experiments 8 --wells 128 --image-size 512 >/dev/null || return 1
  for ((n = 1; n <= gpus; n *= 2)); do
    tests/mpirun.sh "$n" "$program" train --recipe rxrx1/table1/baseline --data "$logs/screen" --out "$logs/ranks/$n" \
      --device cuda --precision bf16 --set batch.groups="$n" --set train.epochs=2 --set checkpoint.every_epochs=0 >/dev/null &&
      echo "$n GPUs: $(grep -o '"images_per_s": *[0-9.]*' "$logs/ranks/$n/metrics.jsonl" | sed 's/.*: *//' | sort -n |
        awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }') images/s, median step" || return 1
  done
}
export -f dumps graphs nccl ranks
export python emulated logs program device tests

if [ $device = cuda ]; then
  # shellcheck disable=SC2016  # expanded by the inner shell
  part device 60 bash -c 'nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem --format=csv
    "$program" --version && ! "$program" list devices | grep "no GPU"'
else
  part device 60 "$program" --version
fi
if [ $device = cuda ] || [ "$programs" != emulated ]; then
  part layouts 60 "$tests/kernels_tests" --gtest_filter='InstructionsGpu*:Gpu.*'
  part kernels 180 "$tests/kernels_tests" --gtest_filter='*Gpu*'
fi
if [ -n "$have_python" ]; then part dumps 120 bash -c dumps; else left_out dumps "no Python"; fi
if [ $device = cuda ]; then
  part bandwidth 60 "$benchmark" --device cuda --op conv2d --model densenet161 --size 512 --only block1.layer1.conv --dtype bf16 \
    --seconds 0.1 --json "$logs/first.json"
  if [ -n "$have_torch" ]; then
    part peers-first 240 "$python" tools/bench_peer.py --program "$program" --device cuda --python "$python" --cases 0 --modes bf16_cl \
      --pairs 1 --out "$logs/peers-first.json"
  else
    left_out peers-first "$python has no PyTorch and torchvision"
    part step 120 "$program" bench --model densenet161 --image-size 512 --batch 32 --precision bf16 --device cuda
  fi
else
  part bench-kernels 300 "${benchmark/bin/emulated}" --device emulated --only layer1
  left_out peers "the emulator's speed says nothing"
fi
if [ -z "$first" ]; then
  if [ -n "$have_python" ]; then part graphs 120 bash -c graphs; else left_out graphs "no Python"; fi
  if [ $device = cuda ]; then
    part bench-kernels 420 "$benchmark" --device cuda --seconds 0.05 --json "$logs/kernels.json"
    if [ -n "$have_python" ]; then part nccl 180 bash -c nccl; else left_out nccl "no Python"; fi
    gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU') || gpus=0
    if [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then gpus=$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | wc -l); fi
    for n in 8 4 2; do if [ "$gpus" -ge $n ]; then break; fi; done  # ranks divide eight groups equally
    if [ "$gpus" -lt 2 ]; then
      left_out ranks "one GPU"
    elif ! command -v mpirun >/dev/null || [ -x bin/train_rxrx ]; then
      left_out ranks "needs mpirun and a build (preset cuda) instead of a bundle"
    else
      part ranks 900 bash -c "ranks $n"
    fi
    part step-f32 120 "$program" bench --model densenet161 --image-size 512 --batch 32 --precision f32 --device cuda
    if [ -n "$have_torch" ]; then
      part peers 1500 "$python" tools/bench_peer.py --program "$program" --device cuda --python "$python" --pairs 3 \
        --out "$logs/peers.json"
    fi
    sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
    probe=""
    if [ -n "$sanitizer" ] && [ -z "$dry" ]; then
      probe=$(timeout 60 "$sanitizer" "$tests/kernels_tests" --gtest_filter='Gpu.AGraph*' 2>&1 || true)
    fi
    if grep -q "Device not supported" <<<"$probe"; then
      left_out sanitizer "compute-sanitizer does not support this device"
    elif [ -n "$sanitizer" ]; then
      for tool in memcheck racecheck synccheck; do
        part "$tool" 300 "$sanitizer" --tool "$tool" --error-exitcode 1 "$tests/kernels_tests" \
          --gtest_filter='InstructionsGpu*:Conv2d*Gpu*:Matmul*Gpu*:BatchNormGpu*'
      done
    else
      left_out sanitizer "no compute-sanitizer"
    fi
  fi
  for suite in runtime nn models train kernels; do
    [ -x "$tests/${suite}_tests" ] || [ -n "$dry" ] || continue
    part "suite-$suite" 600 "$tests/${suite}_tests"
  done
fi

[ -n "$dry" ] && exit 0
echo "== summary"
printf '%s\n' "${summary[@]}"
if [ $device = cuda ]; then
  if [ -n "$have_python" ]; then
    "$python" tools/gpu_results.py "$logs" || failed=1
  else
    echo "no Python: tools/results/ and README.md are as they were"
  fi
fi
exit $failed
