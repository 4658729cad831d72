#!/usr/bin/env python3
"""Turns the logs of tools/gpu_check.sh into tools/results/DEVICE.json and the GPU table of README.md.

    tools/gpu_results.py LOGS [--readme README.md] [--results tools/results]

What was not measured stays "not measured". Nothing is computed here but medians.
"""
import argparse
import json
import os
import re
import statistics
import sys

BEGIN, END = "<!-- gpu table: written by tools/gpu_check.sh -->", "<!-- end of gpu table -->"


def load(path):
    try:
        with open(path) as f:
            return json.load(f)
    except (OSError, ValueError):
        return None


def peers_table(rows):
    lines = ["| training step | precision | ours | PyTorch (mode) | times as fast | peak memory, ours / PyTorch |",
             "|---|---|---|---|---|---|"]
    for r in rows:
        name = f"{r['model']} {r['image_size']}², batch {r['batch']}"
        if "failed" in r:
            lines.append(f"| {name} | {r['precision']} | failed | | | |")
            continue
        images = r["batch"] / r["ours_s"]
        if "ratio" in r:
            lines.append(f"| {name} | {r['precision']} | {images:.0f} img/s | {r['batch'] / r['peer_s']:.0f} img/s ({r['mode']}) | "
                         f"**{r['ratio']:.2f}** | {r['ours_mb'] / r['peer_mb']:.2f} ({r['ours_mb']:.0f} MB) |")
        else:
            lines.append(f"| {name} | {r['precision']} | {images:.0f} img/s | not measured | | {r['ours_mb']:.0f} MB |")
    return lines


def kernels_table(kernels):
    groups = {}
    for row in kernels["rows"]:
        if row["chosen"] and row["seconds"] > 0:
            groups.setdefault((row["op"], row["pass"], row["dtype"], row["variant"]), []).append(row["share_of_bound"])
    lines = ["| kernel | pass | precision | variant | share of the bound: median (least to most, cases) |", "|---|---|---|---|---|"]
    for (op, direction, dtype, variant), shares in sorted(groups.items()):
        lines.append(f"| {op} | {direction} | {dtype} | {variant} | {statistics.median(shares):.2f} "
                     f"({min(shares):.2f} to {max(shares):.2f}, {len(shares)}) |")
    return lines


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("logs")
    p.add_argument("--readme", default="README.md")
    p.add_argument("--results", default="tools/results")
    a = p.parse_args()
    kernels = load(f"{a.logs}/kernels.json") or load(f"{a.logs}/first.json")
    peers = load(f"{a.logs}/peers.json") or load(f"{a.logs}/peers-first.json")
    if not kernels and not peers:
        print("gpu_results.py: nothing was measured; README.md stays as it is")
        return 1
    device = kernels["device"] if kernels else peers["rows"][0].get("hardware") or "gpu"
    parts = []
    if os.path.exists(f"{a.logs}/parts.tsv"):
        with open(f"{a.logs}/parts.tsv") as f:
            for line in f:
                name, result, seconds = line.rstrip("\n").split("\t")
                parts.append({"part": name, "result": result, "seconds": int(seconds)})
    slug = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    os.makedirs(a.results, exist_ok=True)
    path = f"{a.results}/{slug}.json"
    with open(path, "w") as f:
        json.dump({"format_version": 1, "device": device, "parts": parts, "peers": peers["rows"] if peers else [],
                   "kernels": kernels}, f, indent=1)
        f.write("\n")

    lines = [f"Measured on {device} (`{path}`)" + (f", PyTorch {peers['rows'][0].get('torch', '?')}" if peers else "") + ".", ""]
    if kernels:
        lines += [f"Copy {kernels['copy_bytes_per_s'] / 1e12:.2f} TB/s (bytes read and written); matrix product bf16 "
                  f"{kernels['flops_bf16'] / 1e12:.0f}, f32 {kernels['flops_f32'] / 1e12:.0f} TFLOP/s ({kernels['flops_source']}).", ""]
    lines += peers_table(peers["rows"]) if peers else ["Training steps: not measured."]
    lines += [""]
    lines += kernels_table(kernels) if kernels else ["Kernels: not measured."]
    with open(a.readme) as f:
        readme = f.read()
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        print(f"{a.readme} lacks the marks of the table", file=sys.stderr)
        return 1
    before, rest = readme.split(BEGIN)
    after = rest.split(END)[1]
    with open(a.readme, "w") as f:
        f.write(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after)
    print(f"wrote {path} and the table of {a.readme}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
