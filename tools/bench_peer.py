#!/usr/bin/env python3
"""Times training steps of `train_rxrx bench` and of PyTorch side by side, in interleaved pairs.

    python3 tools/bench_peer.py [--device cpu|cuda] [--python PYTHON] [--pairs 7] [--out FILE]
    python3 tools/bench_peer.py --device cuda --cases 0 --modes bf16_cl --pairs 1      # the first case only

    python3 tools/bench_peer.py --step cdcl --pairs 3                              # whole CDCL steps of DeiT-S

PYTHON needs PyTorch and torchvision, and timm for DeiT. The best of PyTorch's modes of the same precision is the opponent; a mode that
fails is named and left out. Clocks drift: what counts is the median of the ratios of the pairs. Prints a table in
Markdown; on a GPU our steps run as a recorded graph where that works (--graph auto).
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

CASES = {  # model, image size, batch, precision, PyTorch's modes
    "cpu": [
        ("densenet161", 128, 8, "f32", ["fp32", "fp32_cl"]),
        ("densenet161", 128, 8, "bf16", ["bf16_cl"]),
        ("resnet50", 224, 8, "f32", ["fp32", "fp32_cl"]),
        ("resnet50", 224, 8, "bf16", ["bf16_cl"]),
        ("deit_small", 224, 8, "f32", ["fp32", "fp32_cl"]),
        ("deit_small", 224, 8, "bf16", ["bf16_cl"]),
    ],
    "cuda": [  # ordered by worth
        ("densenet161", 512, 32, "bf16", ["bf16_cl", "compile_bf16_cl"]),
        ("deit_small", 224, 256, "bf16", ["bf16_cl", "compile_bf16_cl"]),
        ("densenet161", 512, 32, "f32", ["fp32_cl"]),
        ("densenet161", 256, 96, "bf16", ["bf16_cl", "compile_bf16_cl"]),
        ("resnet50", 224, 256, "bf16", ["bf16_cl", "compile_bf16_cl"]),
        ("densenet161", 224, 8, "bf16", ["bf16_cl", "graphs_bf16_cl"]),
    ],
}
# Whole steps of CDCL: `bench --step cdcl` beside bench_torch_cdcl.py, `batch` pairs of eight views.
CDCL_CASES = {
    "cpu": [("deit_small", 224, 8, "f32", ["fp32"]), ("deit_small", 224, 8, "bf16", ["bf16"])],
    "cuda": [("deit_small", 224, 64, "bf16", ["bf16"]), ("deit_small", 224, 64, "f32", ["fp32"])],
}
HERE = os.path.dirname(os.path.abspath(__file__))


def run(command, timeout):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()[-400:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def save(path, rows):  # after every case: what stops the script later costs nothing
    if path:
        with open(path, "w") as f:
            json.dump({"format_version": 1, "rows": rows}, f, indent=1)
            f.write("\n")


def default_program():
    for path in ("bin/train_rxrx", "build/cuda/train/train_rxrx", "build/cpu/train/train_rxrx"):
        if os.path.exists(os.path.join(HERE, "..", path)):
            return os.path.join(HERE, "..", path)
    sys.exit("no train_rxrx: build it, or name it with --program")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program")
    p.add_argument("--device", choices=CASES, default="cpu")
    p.add_argument("--python", default="python3")
    p.add_argument("--step", choices=["supervised", "cdcl"], default="supervised")
    p.add_argument("--peer", help="default: bench_torch.py, or for --step cdcl bench_torch_cdcl.py")
    p.add_argument("--size", type=int, help="pixels a side, instead of the cases' own")
    p.add_argument("--batch", type=int, help="likewise; for --step cdcl in pairs")
    p.add_argument("--pairs", type=int, default=7)
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--cases", help="numbers of the cases in their order, e.g. 0,1")
    p.add_argument("--modes", help="only these modes of PyTorch")
    p.add_argument("--only", default="", help="only these models")
    p.add_argument("--graph", choices=["auto", "on", "off"], default="auto")
    p.add_argument("--timeout", type=float, default=600, help="seconds for one run of either side")
    p.add_argument("--out")
    a = p.parse_args()
    program = a.program or default_program()
    cdcl = a.step == "cdcl"
    script = a.peer or os.path.join(HERE, "bench_torch_cdcl.py" if cdcl else "bench_torch.py")
    cases = (CDCL_CASES if cdcl else CASES)[a.device]

    def peer(model, size, batch, mode):
        how = ["--precision", {"fp32": "f32"}.get(mode, mode)] if cdcl else ["--mode", mode]
        return run([a.python, script, "--model", model, "--image-size", str(size), "--batch", str(batch), *how,
                    "--device", a.device, "--steps", str(a.steps)], a.timeout)

    def ours(model, size, batch, precision, graph):
        return run([program, "bench", "--model", model, "--image-size", str(size), "--batch", str(batch), "--precision",
                    precision, "--device", a.device, "--steps", str(a.steps), "--step", a.step, "--json"]
                   + ["--graph"] * graph, a.timeout)

    rows, failures = [], 0
    chosen = range(len(cases)) if a.cases is None else [int(n) for n in a.cases.split(",")]
    print("| model | precision | ours s | PyTorch s (mode) | times as fast (median of pairs, range) | memory ours / PyTorch MB |")
    print("|---|---|---|---|---|---|")
    for number in chosen:
        model, size, batch, precision, modes = cases[number]
        size, batch = a.size or size, a.batch or batch
        if a.only and model not in a.only.split(","):
            continue
        row = {"model": model, "step": a.step, "image_size": size, "batch": batch, "precision": precision, "device": a.device,
               "pairs": a.pairs, "modes": {}}
        for mode in modes:
            if a.modes and mode not in a.modes.split(","):
                continue
            try:
                row["modes"][mode] = peer(model, size, batch, mode)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                print(f"PyTorch {mode} left out: {error}", file=sys.stderr)
        graph = a.device == "cuda" and a.graph != "off"
        try:
            try:
                first = ours(model, size, batch, precision, graph)
            except RuntimeError as error:
                if not graph or a.graph == "on":
                    raise
                print(f"without a graph: {error}", file=sys.stderr)
                graph = False
                first = ours(model, size, batch, precision, graph)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            print(f"{model} {size} batch {batch} {precision} failed: {error}", file=sys.stderr)
            failures += 1
            rows.append({**row, "failed": str(error)})
            save(a.out, rows)
            continue
        name = f"{model}{' CDCL' * cdcl} {size}² batch {batch}"
        row.update({"graph": graph, "ours_s": first["median_s"], "ours_mb": first["peak_mb"],
                    "saved_mb_per_image": first.get("saved_mb_per_image"), "loss": first["loss"],
                    "cpu": first["cpu"], "isa": first["isa"], "threads": first["threads"],
                    "hardware": first.get("hardware")})
        if not row["modes"]:
            print(f"| {name} | {precision} | {row['ours_s']:.4f} | - | - | {row['ours_mb']:.0f} / - |", flush=True)
        else:
            best = min(row["modes"], key=lambda mode: row["modes"][mode]["median_s"])
            # The first measurements are a pair; compiled peers take minutes to start and get no more.
            pairs = [(first, row["modes"][best])]
            while len(pairs) < a.pairs and not best.startswith(("compile", "graphs")):
                try:
                    pairs.append((ours(model, size, batch, precision, graph), peer(model, size, batch, best)))
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    print(f"{name}: pair {len(pairs) + 1} failed: {error}", file=sys.stderr)
                    failures += 1
                    break
            ratios = sorted(t["median_s"] / o["median_s"] for o, t in pairs)
            row.update({"mode": best, "torch": pairs[0][1]["torch"], "pairs": len(pairs),
                        "ours_s": statistics.median(o["median_s"] for o, _ in pairs),
                        "peer_s": statistics.median(t["median_s"] for _, t in pairs),
                        "ratio": statistics.median(ratios), "ratio_min": ratios[0], "ratio_max": ratios[-1],
                        "ours_mb": max(o["peak_mb"] for o, _ in pairs), "peer_mb": min(t["peak_mb"] for _, t in pairs)})
            print(f"| {name} | {precision} | {row['ours_s']:.4f} | {row['peer_s']:.4f} ({best}) | "
                  f"**{row['ratio']:.2f}** ({ratios[0]:.2f}-{ratios[-1]:.2f}) | {row['ours_mb']:.0f} / {row['peer_mb']:.0f} = "
                  f"{row['ours_mb'] / row['peer_mb']:.2f} |", flush=True)
        rows.append(row)
        save(a.out, rows)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
