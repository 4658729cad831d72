#!/usr/bin/env python3
"""Times training steps of `train_rxrx bench` and of PyTorch side by side, in interleaved pairs.

    python tools/bench_peer.py --peer bench_torch.py --python PYTHON [--pairs 7] [--out tools/results/CPU.json]

The peer script is run as `PYTHON bench_torch.py --only CASE --modes MODE` and must print one JSON
object with median_s and peak_mb; the best of its modes of the same precision is the opponent.
Clocks drift: what counts is the median of the ratios of the pairs. Prints a table in Markdown.
"""
import argparse
import json
import statistics
import subprocess

CASES = [  # peer's case, model, image size, batch, precision, peer's modes
    ("densenet161_128_b8", "densenet161", 128, 8, "f32", ["fp32", "fp32_cl"]),
    ("densenet161_128_b8", "densenet161", 128, 8, "bf16", ["bf16_cl"]),
    ("resnet50_224_b8", "resnet50", 224, 8, "f32", ["fp32", "fp32_cl"]),
    ("resnet50_224_b8", "resnet50", 224, 8, "bf16", ["bf16_cl"]),
]


def run(command):
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(out.strip().splitlines()[-1])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", default="build/cpu/train/train_rxrx")
    p.add_argument("--peer", required=True)
    p.add_argument("--python", default="python3")
    p.add_argument("--pairs", type=int, default=7)
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--only", default="")
    p.add_argument("--out")
    a = p.parse_args()

    def peer(case, mode):
        return run([a.python, a.peer, "--only", case, "--modes", mode, "--steps", str(a.steps)])

    def ours(model, size, batch, precision):
        return run([a.program, "bench", "--model", model, "--image-size", str(size), "--batch", str(batch),
                    "--precision", precision, "--steps", str(a.steps), "--json"])

    rows = []
    print("| model | precision | ours s | PyTorch s (mode) | times as fast (median of pairs, range) | memory ours / PyTorch MB |")
    print("|---|---|---|---|---|---|")
    for case, model, size, batch, precision, modes in CASES:
        if a.only and model not in a.only.split(","):
            continue
        best = min(modes, key=lambda m: peer(case, m)["median_s"]) if len(modes) > 1 else modes[0]
        pairs = [(ours(model, size, batch, precision), peer(case, best)) for _ in range(a.pairs)]
        ratios = sorted(t["median_s"] / o["median_s"] for o, t in pairs)
        row = {"model": model, "image_size": size, "batch": batch, "precision": precision, "mode": best,
               "cpu": pairs[0][0]["cpu"], "isa": pairs[0][0]["isa"], "threads": pairs[0][0]["threads"],
               "torch": pairs[0][1]["torch"], "pairs": a.pairs,
               "ours_s": statistics.median(o["median_s"] for o, _ in pairs),
               "peer_s": statistics.median(t["median_s"] for _, t in pairs),
               "ratio": statistics.median(ratios), "ratio_min": ratios[0], "ratio_max": ratios[-1],
               "ours_mb": max(o["peak_mb"] for o, _ in pairs), "peer_mb": min(t["peak_mb"] for _, t in pairs)}
        rows.append(row)
        print(f"| {model} {size}² batch {batch} | {precision} | {row['ours_s']:.3f} | {row['peer_s']:.3f} ({best}) | "
              f"**{row['ratio']:.2f}** ({ratios[0]:.2f}-{ratios[-1]:.2f}) | {row['ours_mb']:.0f} / {row['peer_mb']:.0f} = "
              f"{row['ours_mb'] / row['peer_mb']:.2f} |", flush=True)
    if a.out:
        with open(a.out, "w") as f:
            json.dump({"format_version": 1, "rows": rows}, f, indent=1)
            f.write("\n")


if __name__ == "__main__":
    main()
