#!/usr/bin/env python3
"""Makes tests/data/golden/optimisers.safetensors: AdamW with CDCL's schedules, clipping, a frozen layer and a
moving average, and the probe's Adam, by PyTorch in float64 and in float32.

    python tools/golden/optimisers.py [--out tests/data/golden]

Weights and gradients follow the formula of models.py (a gradient is that of "<name>.grad<step>", uniform in
[-1, 1), times SCALE[step]). Each array has a row a step, parameters one after the other in the order of SHAPES.

  adamw64, adamw32   weights after each step; teacher64, teacher32: the moving average's
  norm64             of the gradient, before clipping, where the frozen layer counts
  lr, decay, momentum  of each step
  adam64, adam32     weights of the probe after each step, adam_lr its learning rates
"""
import argparse
import math
import os

import numpy as np
import torch
from safetensors.numpy import save_file

from models import formula, uniform

SHAPES = {"fc.weight": (5, 7), "fc.bias": (5,), "norm.weight": (7,), "cls_token": (1, 1, 7),
          "last_layer.weight_v": (33, 5)}
PROBE = {"probe.weight": (3, 7), "probe.bias": (3,)}
SCALE = [0.1, 3.0, 1.0, 0.2, 5.0]
FROZEN_STEPS = 2  # of last_layer
WARM_UP, TOTAL = 2, 8
LR, START, FLOOR, MAX_NORM = 7e-2, 1e-3, 1e-3, 3.0
DECAY, MOMENTUM = (0.4, 1.0), (0.9, 0.9996)
PROBE_LR, PROBE_FLOOR, PROBE_DECAY, PROBE_PERIOD = 5e-2, 1e-8, 1e-1, 3


def cosine(start, end, it, total):
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * it / total))


def learning_rate(k):
    """Of the published code: k completed steps; the warm-up's last step overshoots."""
    if k <= WARM_UP:
        return START + (k + 1) / WARM_UP * (LR - START)
    return cosine(START + (WARM_UP + 1) / WARM_UP * (LR - START), FLOOR, k - WARM_UP, TOTAL - WARM_UP)


def parameters(shapes, dtype):
    return {k: torch.nn.Parameter(formula(k, s).to(dtype)) for k, s in shapes.items()}


def gradient(name, step, shape, dtype):
    n = int(np.prod(shape))
    values = (SCALE[step] * uniform(f"{name}.grad{step}", n)).astype(np.float32)
    return torch.from_numpy(values).reshape(shape).to(dtype)


def flat(tensors):
    return torch.cat([t.detach().reshape(-1) for t in tensors.values()]).numpy()


def adamw(dtype):
    student, teacher = parameters(SHAPES, dtype), parameters(SHAPES, dtype)
    decayed = [p for k, p in student.items() if p.dim() > 1 and not k.endswith(".bias")]
    spared = [p for k, p in student.items() if p.dim() == 1 or k.endswith(".bias")]
    optimiser = torch.optim.AdamW([{"params": decayed}, {"params": spared, "weight_decay": 0.0}],
                                  lr=learning_rate(0), weight_decay=DECAY[0])
    out = {k: [] for k in ("weights", "teacher", "norm", "lr", "decay", "momentum")}
    for step in range(len(SCALE)):
        for k, p in student.items():
            p.grad = gradient(k, step, p.shape, dtype)
        norm = torch.nn.utils.clip_grad_norm_(student.values(), MAX_NORM)
        if step < FROZEN_STEPS:
            student["last_layer.weight_v"].grad = None
        out["lr"].append(optimiser.param_groups[0]["lr"])
        out["decay"].append(optimiser.param_groups[0]["weight_decay"])
        optimiser.step()
        it = step + 1
        m = cosine(*MOMENTUM, it, TOTAL)
        with torch.no_grad():
            for k, p in teacher.items():
                p.mul_(m).add_((1 - m) * student[k])
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(it)
        optimiser.param_groups[0]["weight_decay"] = cosine(*DECAY, it, TOTAL)
        out["weights"].append(flat(student))
        out["teacher"].append(flat(teacher))
        out["norm"].append(norm.item())
        out["momentum"].append(m)
    return {k: np.array(v) for k, v in out.items()}


def adam(dtype):
    probe = parameters(PROBE, dtype)
    optimiser = torch.optim.Adam([{"params": [probe["probe.weight"]], "weight_decay": PROBE_DECAY},
                                  {"params": [probe["probe.bias"]]}], lr=PROBE_LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimiser, PROBE_PERIOD,
                                                                    eta_min=PROBE_FLOOR)
    weights, rates = [], []
    for step in range(len(SCALE)):
        for k, p in probe.items():
            p.grad = gradient(k, step, p.shape, dtype)
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
        weights.append(flat(probe))
    return np.array(weights), np.array(rates)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", default="tests/data/golden")
    args = p.parse_args()
    double, single = adamw(torch.float64), adamw(torch.float32)
    (probe64, rates), (probe32, _) = adam(torch.float64), adam(torch.float32)
    save_file({"adamw64": double["weights"], "adamw32": single["weights"],
               "teacher64": double["teacher"], "teacher32": single["teacher"],
               "norm64": double["norm"], "lr": double["lr"], "decay": double["decay"],
               "momentum": double["momentum"], "adam64": probe64, "adam32": probe32, "adam_lr": rates},
              os.path.join(args.out, "optimisers.safetensors"))


if __name__ == "__main__":
    main()
