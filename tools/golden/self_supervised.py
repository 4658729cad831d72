#!/usr/bin/env python3
"""Makes tests/data/golden/self_supervised.safetensors: the losses and heads of self-supervised learning, by
PyTorch in float64.

    python tools/golden/self_supervised.py [--out tests/data/golden]

Written from the formulas: losses term by term, cross-correlations as (K,K) matrices, batch norm and weight norm
by PyTorch's modules. Inputs follow the formula of models.py: uniform in [-1, 1), rounded to float32.

  domains (2B), images (D)     of the rows of the teacher's output; training images of each domain
  <loss>, <loss>.grad          dino, barlow, cdcl (0.25 / 0.75), each also as <loss>.cross (only terms between
                               different images); byol, byol_bl. Gradients are of the student's output
  centres, centres.plain, centres.single    after an update; weighted, unweighted, one for all
  <head>.y, <head>.grad.<parameter>, <head>.grad.x    dino_head, projector, predictor
"""
import argparse
import math
import os

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from torch import nn

from models import formula, uniform

B, K, VIEWS, DOMAINS = 5, 24, 8, 5
TEACHER_TEMPERATURE, STUDENT_TEMPERATURE, MOMENTUM = 0.05, 0.1, 0.9
DOMAIN = [1, 3, 1, 0, 0, 3, 1, 0, 1, 3]
IMAGES = [300, 500, 0, 7, 40]  # domain 2 has none; domain 3 is rare: its weight is clamped
WIDTH = 12


def values(name, *shape):
    n = int(np.prod(shape))
    return torch.from_numpy(uniform(name, n).astype(np.float32).astype(np.float64)).reshape(shape)


def image_of(view):
    return view if view < 2 else int(view >= 2 + (VIEWS - 2) // 2)


def terms(only_cross):
    return [(i, v) for i in range(2) for v in range(VIEWS)
            if (image_of(v) != i if only_cross else v != i)]


def batch_norm(x):
    return nn.BatchNorm1d(x.shape[1], affine=False, track_running_stats=False).double()(x)


def barlow_of(r):
    k = r.shape[0]
    diagonal = torch.diagonal(r)
    off = r[~torch.eye(k, dtype=torch.bool)]
    return (0.05 * ((1 - diagonal) ** 2).mean() + 0.95 * (off ** 2).mean()) / 0.0595


def losses(student, teacher, centres, domain, only_cross):
    centred = [(t - centres[domain[i * B:(i + 1) * B]]) / TEACHER_TEMPERATURE
               for i, t in enumerate(teacher.chunk(2))]
    views = [s / STUDENT_TEMPERATURE for s in student.chunk(VIEWS)]
    dino, barlow = 0, 0
    for i, v in terms(only_cross):
        dino = dino - (F.softmax(centred[i], 1) * F.log_softmax(views[v], 1)).sum(1).mean()
        barlow = barlow + barlow_of(batch_norm(centred[i]).T @ batch_norm(views[v]) / B)
    n = len(terms(only_cross))
    return dino / n / math.log(K), barlow / n


def new_centres(centres, teacher, domain, weighted):
    result = centres.clone()
    for d in range(len(centres)):
        rows = teacher[domain == d]
        if len(rows) == 0:
            continue
        weight = 1.0
        if weighted:
            weight = min(10.0, (len(rows) / len(teacher)) / (IMAGES[d] / sum(IMAGES)))
        step = (1 - MOMENTUM) * weight
        result[d] = (1 - step) * centres[d] + step * rows.mean(0)
    return result


class DinoHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 16), nn.GELU(), nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 8))
        self.last_layer = nn.utils.weight_norm(nn.Linear(8, K, bias=False))

    def forward(self, x):
        return self.last_layer(F.normalize(self.mlp(x), dim=-1, p=2))


def projector(width, out_norm):
    layers = [nn.Linear(width, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8)]
    return nn.Sequential(*layers, *([nn.BatchNorm1d(8)] if out_norm else []))


def head_case(out, name, head, x):
    head.double().train()
    with torch.no_grad():
        for key, p in head.named_parameters():
            p.copy_(formula(f"{name}.{key}", tuple(p.shape)))
    x = x.clone().requires_grad_(True)
    # Every view is a forward of its own: batch norms have the statistics of a view.
    y = torch.cat([head(view) for view in x.chunk(2)])
    y.backward(values(f"{name}.dy", *y.shape))
    out[f"{name}.y"], out[f"{name}.grad.x"] = y, x.grad
    for key, p in head.named_parameters():
        out[f"{name}.grad.{key}"] = p.grad


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default="tests/data/golden")
    folder = parser.parse_args().out
    out = {}
    domain = torch.tensor(DOMAIN)
    centres = 0.2 * values("centres", DOMAINS, K)
    teacher = values("teacher", 2 * B, K)
    for suffix, only_cross in (("", False), (".cross", True)):
        for name, weights in (("dino", (1, 0)), ("barlow", (0, 1)), ("cdcl", (0.25, 0.75))):
            student = values("student", VIEWS * B, K).requires_grad_(True)
            dino, barlow = losses(student, teacher, centres, domain, only_cross)
            loss = weights[0] * dino + weights[1] * barlow
            loss.backward()
            out[name + suffix], out[f"{name}{suffix}.grad"] = loss.reshape(1), student.grad
    out["centres"] = new_centres(centres, teacher, domain, True)
    out["centres.plain"] = new_centres(centres, teacher, domain, False)
    out["centres.single"] = MOMENTUM * centres[:1] + (1 - MOMENTUM) * teacher.mean(0, keepdim=True)

    p = values("prediction", 2 * B, WIDTH).requires_grad_(True)
    z = values("target", 2 * B, WIDTH)
    (p0, p1), (z0, z1) = p.chunk(2), z.chunk(2)
    loss = sum((2 - 2 * F.cosine_similarity(a, b, dim=1)).mean() for a, b in ((p0, z1), (p1, z0)))
    loss.backward()
    out["byol"], out["byol.grad"] = loss.reshape(1), p.grad.clone()
    p.grad = None
    r = (batch_norm(p0).T @ batch_norm(z1) + batch_norm(p1).T @ batch_norm(z0)) / (2 * B)
    loss = barlow_of(r)
    loss.backward()
    out["byol_bl"], out["byol_bl.grad"] = loss.reshape(1), p.grad

    x = values("x", 2 * B, WIDTH)
    head_case(out, "dino_head", DinoHead(), x)
    head_case(out, "projector", projector(WIDTH, True), x)
    head_case(out, "predictor", projector(WIDTH, False), x)

    arrays = {k: np.ascontiguousarray(v.detach().numpy()) for k, v in out.items()}
    arrays["domains"] = np.array(DOMAIN, dtype=np.int32)
    arrays["images"] = np.array(IMAGES, dtype=np.int32)
    save_file(dict(sorted(arrays.items())), os.path.join(folder, "self_supervised.safetensors"))


if __name__ == "__main__":
    main()
