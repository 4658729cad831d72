#!/usr/bin/env python3
"""Makes tests/data/golden/cdcl_step.safetensors and cdcl_gradients.safetensors: whole steps of CDCL on a tiny DeiT,
by PyTorch in float64 and in float32, composed from its modules with nothing of this engine.

    python tools/golden/cdcl_step.py [--out tests/data/golden]

The student, its teacher and the probe have the formula's weights (models.py; "teacher." and "probe." before the
names of the latter two), crops are the formula's "global" and "local". Teacher on the two global views; student on
all eight; DINO with a centre per domain and the Barlow term; backward; global-norm clipping; AdamW with the last
layer frozen; moving average; centres; the probe's Adam. Two steps on the same crops.

  losses (2, 4)            total, DINO / ln K, Barlow / 0.0595, probe's cross-entropy, of both steps
  norms (2)                of the gradient, before clipping
  student, teacher, probe  (tensors, 7) after the second step, rows as models.py makes them, by name
  centres (domains, K)     after the second step
each with _f64 and _f32. cdcl_gradients.safetensors has every gradient of the first step, before clipping, whole: those
in float64, stored as float32. How far PyTorch's float32 and its bf16 autocast are from them is printed.
"""
import argparse
import math
import os

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

from models import formula, rows, uniform

CHANNELS, DIM, HEADS, DEPTH, PATCH, SIDE, LOCAL = 3, 32, 2, 2, 4, 16, 8
HIDDEN, BOTTLENECK, K, CLASSES = 24, 16, 20, 4
PAIRS, LOCALS = 6, 6
DOMAINS = [0, 1, 0, 2, 1, 0, 1, 0, 2, 0, 2, 1]  # of images 1, then of images 2
LABELS = [0, 1, 2, 3, 0, 2]
SHARES = [1 / 3, 1 / 3, 1 / 3, 0]  # of the training images
LR, BETAS, EPS, CLIP = 3e-3, (0.9, 0.999), 1e-8, 0.05
DECAY, MOMENTUM, TEMPERATURES = (4e-3, 1e-2), (0.9, 0.999), (0.1, 0.04)
PROBE_LR, PROBE_FLOOR, PROBE_DECAY = 1e-2, 1e-8, 1e-3
TOTAL = 8


def shapes():
    out = {"cls_token": (1, 1, DIM), "pos_embed": (1, 1 + (SIDE // PATCH) ** 2, DIM),
           "patch_embed.proj.weight": (DIM, CHANNELS, PATCH, PATCH), "patch_embed.proj.bias": (DIM,)}
    for i in range(DEPTH):
        b = f"blocks.{i}."
        out |= {b + "norm1.weight": (DIM,), b + "norm1.bias": (DIM,), b + "attn.qkv.weight": (3 * DIM, DIM),
                b + "attn.qkv.bias": (3 * DIM,), b + "attn.proj.weight": (DIM, DIM), b + "attn.proj.bias": (DIM,),
                b + "norm2.weight": (DIM,), b + "norm2.bias": (DIM,), b + "mlp.fc1.weight": (4 * DIM, DIM),
                b + "mlp.fc1.bias": (4 * DIM,), b + "mlp.fc2.weight": (DIM, 4 * DIM), b + "mlp.fc2.bias": (DIM,)}
    out |= {"norm.weight": (DIM,), "norm.bias": (DIM,)}
    out = {"backbone." + k: v for k, v in out.items()}
    widths = [DIM, HIDDEN, HIDDEN, BOTTLENECK]
    for layer, index in enumerate((0, 2, 4)):
        out |= {f"head.mlp.{index}.weight": (widths[layer + 1], widths[layer]),
                f"head.mlp.{index}.bias": (widths[layer + 1],)}
    return out | {"head.last_layer.weight_v": (K, BOTTLENECK)}


def weights(prefix, dtype):
    return {k: formula(prefix + k, s).to(dtype) for k, s in shapes().items()}


def position(p, side):
    """CDCL's rule: bicubic, the scale factor used for the coordinates as well."""
    pos, grid = p["backbone.pos_embed"], SIDE // PATCH
    tokens = (side // PATCH) ** 2
    if tokens == grid * grid:
        return pos
    table = pos[:, 1:].reshape(1, grid, grid, DIM).permute(0, 3, 1, 2)
    table = F.interpolate(table, scale_factor=math.sqrt(tokens / (grid * grid)), mode="bicubic")
    return torch.cat([pos[:, :1], table.permute(0, 2, 3, 1).reshape(1, tokens, DIM)], 1)


def features(p, x):
    g = lambda name: p["backbone." + name]
    norm = lambda t, name: F.layer_norm(t, (DIM,), g(name + ".weight"), g(name + ".bias"), 1e-6)
    layer = lambda t, name: F.linear(t, g(name + ".weight"), g(name + ".bias"))
    n, side = x.shape[0], x.shape[-1]
    t = F.conv2d(x, g("patch_embed.proj.weight"), g("patch_embed.proj.bias"), stride=PATCH).flatten(2).transpose(1, 2)
    t = torch.cat([g("cls_token").expand(n, -1, -1), t], 1) + position(p, side)
    for i in range(DEPTH):
        b = f"blocks.{i}."
        q, k, v = layer(norm(t, b + "norm1"), b + "attn.qkv").reshape(n, -1, 3, HEADS, DIM // HEADS).permute(2, 0, 3, 1, 4)
        a = (q @ k.transpose(-2, -1) * (DIM // HEADS) ** -0.5).softmax(-1) @ v
        t = t + layer(a.transpose(1, 2).reshape(n, -1, DIM), b + "attn.proj")
        t = t + layer(F.gelu(layer(norm(t, b + "norm2"), b + "mlp.fc1")), b + "mlp.fc2")
    return norm(t, "norm")[:, 0]


def head(p, x):
    layer = lambda t, i: F.linear(t, p[f"head.mlp.{i}.weight"], p[f"head.mlp.{i}.bias"])
    x = layer(F.gelu(layer(F.gelu(layer(x, 0)), 2)), 4)
    v = p["head.last_layer.weight_v"]
    return F.linear(F.normalize(x, dim=-1), v / v.norm(dim=1, keepdim=True))


def consistency(student, centred):
    dino, barlow, terms = 0, 0, 0
    s = (student / 0.1).chunk(2 + LOCALS)
    bn = lambda t: F.batch_norm(t, None, None, training=True)
    for i, t in enumerate(centred.chunk(2)):
        for v in range(2 + LOCALS):
            if v == i:
                continue
            dino = dino - (t.softmax(-1) * s[v].log_softmax(-1)).sum(-1).mean()
            r = bn(t).T @ bn(s[v]) / PAIRS
            diagonal = torch.diagonal(r)
            off = r.flatten()[:-1].reshape(K - 1, K + 1)[:, 1:]
            barlow = barlow + 0.05 * ((1 - diagonal) ** 2).mean() + 0.95 * (off ** 2).mean()
            terms += 1
    return dino / terms / math.log(K), barlow / terms / (0.05 + 0.95 * 0.01)


def crops(name, count, side, dtype):
    n = count * CHANNELS * side * side
    return torch.from_numpy((1.75 * uniform(name, n)).astype(np.float32)).reshape(count, CHANNELS, side, side).to(dtype)


def cosine(start, end, it):
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * it / TOTAL))


def run(dtype, bf16=False):
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=bf16)
    student = {k: v.requires_grad_() for k, v in weights("", dtype).items()}
    teacher = weights("teacher.", dtype)
    probe = {"weight": formula("probe.weight", (CLASSES, DIM)).to(dtype).requires_grad_(),
             "bias": formula("probe.bias", (CLASSES,)).to(dtype).requires_grad_()}
    decayed = [k for k, v in student.items() if not k.endswith(".bias") and v.dim() > 1]
    adamw = torch.optim.AdamW([{"params": [student[k] for k in decayed]},
                               {"params": [v for k, v in student.items() if k not in decayed], "weight_decay": 0.0}],
                              lr=LR, betas=BETAS, eps=EPS)
    adam = torch.optim.Adam([{"params": [probe["weight"]], "weight_decay": PROBE_DECAY}, {"params": [probe["bias"]]}])
    centres = torch.zeros(len(SHARES), K, dtype=dtype)
    domains, labels = torch.tensor(DOMAINS), torch.tensor(LABELS)
    x, local = crops("global", 2 * PAIRS, SIDE, dtype), crops("local", LOCALS * PAIRS, LOCAL, dtype)
    out = {"losses": [], "norms": []}
    for step in range(2):
        adamw.zero_grad()
        adam.zero_grad()
        with torch.no_grad():
            with autocast:
                seen = features(teacher, x)
                target = head(teacher, seen)
            seen, target = seen.to(dtype), target.to(dtype)
            centred = (target - centres[domains]) / TEMPERATURES[1]
        probe_loss = F.cross_entropy(F.linear(seen[:PAIRS], probe["weight"], probe["bias"]), labels)
        probe_loss.backward()
        with autocast:
            logits = head(student, torch.cat([features(student, x), features(student, local)]))
        logits = logits.to(dtype)
        dino, barlow = consistency(logits, centred)
        loss = 0.25 * dino + 0.75 * barlow
        loss.backward()
        if step == 0:
            gradients = {k: v.grad.double().numpy().copy() for k, v in student.items()}  # clipped in place below
        norm = torch.nn.utils.clip_grad_norm_(list(student.values()), CLIP)
        out["losses"].append([v.item() for v in (loss, dino, barlow, probe_loss)])
        out["norms"].append(norm.item())
        student["head.last_layer.weight_v"].grad = None  # frozen in the first epoch
        adamw.param_groups[0]["weight_decay"] = cosine(*DECAY, step)
        adamw.step()
        for group in adam.param_groups:
            group["lr"] = PROBE_FLOOR + 0.5 * (PROBE_LR - PROBE_FLOOR) * (1 + math.cos(math.pi * step / TOTAL))
        adam.step()
        beta = cosine(*MOMENTUM, step + 1)
        with torch.no_grad():
            for k in teacher:
                teacher[k] = beta * teacher[k] + (1 - beta) * student[k]
            for d, share in enumerate(SHARES):
                here = domains == d
                if here.any():
                    w = 0.1 * min(here.double().mean().item() / share, 10)
                    centres[d] = (1 - w) * centres[d] + w * target[here].mean(0)
    out["student"] = rows({k: v.double() for k, v in student.items()})
    out["teacher"] = rows({k: v.double() for k, v in teacher.items()})
    out["probe"] = rows({"probe." + k: v.double() for k, v in probe.items()})
    out["centres"] = centres.double().numpy()
    return {k: np.array(v, dtype=np.float64) for k, v in out.items()}, gradients


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default=os.path.join(os.path.dirname(__file__), "../../tests/data/golden"))
    args = parser.parse_args()
    torch.manual_seed(0)
    tensors, gradients = {}, {}
    for name, dtype in (("f64", torch.float64), ("f32", torch.float32)):
        values, gradients[name] = run(dtype)
        print(name, values["losses"].tolist(), values["norms"].tolist())
        tensors |= {f"{k}_{name}": v for k, v in values.items()}
    save_file(tensors, os.path.join(args.out, "cdcl_step.safetensors"))
    exact = gradients["f64"]
    save_file({k: v.astype(np.float32) for k, v in exact.items()},
              os.path.join(args.out, "cdcl_gradients.safetensors"))
    _, gradients["bf16 autocast"] = run(torch.float32, bf16=True)
    norm = lambda of: math.sqrt(sum((v * v).sum() for v in of.values()))
    for name in ("f32", "bf16 autocast"):
        errors = {k: np.abs(gradients[name][k] - v).max() / np.abs(v).max() for k, v in exact.items()}
        worst = max(errors, key=errors.get)
        print(f"gradients in {name}: within {errors[worst]:.1e} of their largest element ({worst}), "
              f"norm {norm(gradients[name]) / norm(exact) - 1:+.1e}")


if __name__ == "__main__":
    main()
