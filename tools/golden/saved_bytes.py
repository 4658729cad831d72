#!/usr/bin/env python3
"""What autograd keeps for backward, an image: PyTorch beside `train_rxrx bench`.

    PYTHON tools/golden/saved_bytes.py [--model densenet161] [--size 224] [--program build/cpu/train/train_rxrx]

PyTorch: torchvision's or timm's model under bf16 autocast; every tensor that the saved-tensor hooks see, each
storage counted once, parameters left out. Two batch sizes are run and their difference taken, so
that what does not grow with the batch (bf16 copies of weights) is left out as well. Ours: what the
tape keeps alive in bf16, which the tests compare with the allocator's count.
"""
import argparse
import json
import subprocess

import os
import sys

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from bench_torch import build


def saved_bytes(model, batch, size, channels):
    storages = {}
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    x = torch.randn(batch, channels, size, size).to(memory_format=torch.channels_last)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), torch.autocast("cpu", dtype=torch.bfloat16):
        y = model(x)
    del y
    return sum(storages.values())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default="densenet161")
    p.add_argument("--size", type=int, default=224)
    p.add_argument("--channels", type=int, default=6)
    p.add_argument("--classes", type=int, default=1139)
    p.add_argument("--batch", type=int, default=2)
    p.add_argument("--program", default="build/cpu/train/train_rxrx")
    p.add_argument("--device", default="cpu", help="of the program: cpu or cuda")
    a = p.parse_args()

    model = build(a.model, a.channels, a.classes, a.size).to(memory_format=torch.channels_last).train()
    small, large = (saved_bytes(model, n, a.size, a.channels) for n in (a.batch, 2 * a.batch))
    theirs = (large - small) / a.batch / 2**20

    out = subprocess.run([a.program, "bench", "--model", a.model, "--channels", str(a.channels), "--classes",
                          str(a.classes), "--image-size", str(a.size), "--batch", str(a.batch), "--precision",
                          "bf16", "--warm-up", "0", "--steps", "1", "--device", a.device, "--json"],
                         capture_output=True, text=True, check=True).stdout
    ours = json.loads(out)["saved_mb_per_image"]
    print(f"{a.model}, {a.channels} x {a.size} x {a.size}, bf16: the tape keeps {ours:.1f} MB an image, "
          f"PyTorch {torch.__version__} {theirs:.1f} MB: {ours / theirs:.3f}")


if __name__ == "__main__":
    main()
