#!/usr/bin/env python3
"""Outputs, gradients and running statistics of a small model, on two devices, tensor by tensor.

    tools/dumps.py make PROGRAM DIR                weights of a short training run, images, gradients
    tools/dumps.py run PROGRAM DEVICE DIR OUT      forward and backward in f32 and bf16: OUT/f32.safetensors, ...
    tools/dumps.py compare A B                     exits 1 where a tensor differs by more than its tolerance

PROGRAM is train_rxrx, of any build; DEVICE what its --device takes. `compare` measures the largest
difference over the largest magnitude. Needs nothing but Python.
"""
import array
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

MODEL = ["--model", "rxrx1_densenet_smoke", "--channels", "6", "--mode", "train", "--backward"]
IMAGES, CHANNELS, SIDE = 6, 6, 32
# One product rounds to 2^-9 (bf16) or 2^-24 (f32); some forty layers lie between input and gradient,
# and a value at a ReLU's edge may fall on the other side.
TOLERANCE = {"f32": 2e-3, "bf16": 0.25}


def write(path, tensors):
    header, data = {}, b""
    for name, (kind, shape, values) in tensors.items():
        raw = array.array("f" if kind == "F32" else "i", values).tobytes()
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def read(path):
    with open(path, "rb") as f:
        content = f.read()
    size, = struct.unpack("<Q", content[:8])
    tensors = {}
    for name, entry in json.loads(content[8:8 + size]).items():
        if name == "__metadata__" or entry["dtype"] not in ("F32", "F64"):
            continue
        begin, end = entry["data_offsets"]
        values = array.array("f" if entry["dtype"] == "F32" else "d")
        values.frombytes(content[8 + size + begin:8 + size + end])
        tensors[name] = values
    return tensors


def make(program, folder):
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        def call(*words):
            subprocess.run([program, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        call("data", "synth", "--out", work + "/screen", "--seed", "3", "--experiments", "4", "--wells", "16",
             "--sirnas", "4", "--image-size", "32")
        call("train", "--recipe", "smoke/rxrx1/table1/adabn", "--data", work + "/screen", "--out", work + "/run",
             "--device", "cpu", "--set", "train.epochs=2", "--set", "batch.group_size=8",
             "--set", "model.growth=16", "--set", "model.stem=32", "--set", "model.blocks=[3,4,4]", "--set", "model.neck=1024")
        newest = sorted(os.listdir(work + "/run/ckpt"))[-1]
        with open(f"{work}/run/ckpt/{newest}/model.safetensors", "rb") as f:
            weights = f.read()
    with open(folder + "/weights.safetensors", "wb") as f:
        f.write(weights)
    size, = struct.unpack("<Q", weights[:8])
    classes = json.loads(weights[8:8 + size])["head.weight"]["shape"][0]
    with open(folder + "/classes", "w") as f:
        f.write(str(classes))
    rng = random.Random(1)
    normal = lambda n, scale: [rng.gauss(0, scale) for _ in range(n)]
    write(folder + "/x.safetensors", {
        "x": ("F32", [IMAGES, CHANNELS, SIDE, SIDE], normal(IMAGES * CHANNELS * SIDE * SIDE, 1)),
        "dy": ("F32", [IMAGES, classes], normal(IMAGES * classes, 0.1)),
        "domain": ("I32", [IMAGES], [0, 0, 0, 1, 1, 1]),
    })


def run(program, device, folder, out):
    os.makedirs(out, exist_ok=True)
    with open(folder + "/classes") as f:
        classes = f.read()
    for precision in TOLERANCE:
        subprocess.run([program, "forward", *MODEL, "--classes", classes, "--weights", folder + "/weights.safetensors", "--input",
                        folder + "/x.safetensors", "--output", f"{out}/{precision}.safetensors", "--precision",
                        precision, "--device", device], check=True)


def compare(a, b):
    failed = False
    for precision, tolerance in TOLERANCE.items():
        left, right = read(f"{a}/{precision}.safetensors"), read(f"{b}/{precision}.safetensors")
        if left.keys() != right.keys():
            sys.exit(f"{precision}: other tensors: {sorted(left.keys() ^ right.keys())}")
        worst = []
        for name, values in left.items():
            largest = max(abs(v) for v in right[name])
            difference = max(abs(v - w) if v == v and w == w else float("inf") for v, w in zip(values, right[name]))
            worst.append((difference / largest if largest else difference, name))
        worst.sort(reverse=True)
        bad = worst[0][0] > tolerance
        failed |= bad
        print(f"{precision}: {len(worst)} tensors, largest relative difference {worst[0][0]:.2e} ({worst[0][1]}), "
              f"tolerance {tolerance:g}{': TOO LARGE' if bad else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    words = sys.argv[1:]
    if len(words) == 3 and words[0] == "make":
        sys.exit(make(*words[1:]))
    if len(words) == 5 and words[0] == "run":
        sys.exit(run(*words[1:]))
    if len(words) == 3 and words[0] == "compare":
        sys.exit(compare(*words[1:]))
    sys.exit(__doc__)
