#!/usr/bin/env python3
"""A whole CDCL step in PyTorch, plainly composed: the peer of `train_rxrx bench --step cdcl`.

    python tools/bench_torch_cdcl.py --model deit_small --image-size 224 --batch 8 [--precision bf16]

Teacher on two global views, student on two global and six local ones of half the size, DINO with a centre per
domain and the Barlow term of all fourteen pairs, backward, global-norm clipping, AdamW (fused where PyTorch has
it), moving average by foreach, centres. Views are random and stay the same. Prints one JSON line, with the keys of
`bench`. Needs PyTorch and timm; --threads and the environment's OMP_NUM_THREADS as usual.
"""
import argparse
import json
import math
import os
import resource
import time

import torch
import torch.nn.functional as F
import timm

K, HIDDEN, BOTTLENECK, LOCALS, DOMAINS = 4096, 1024, 512, 6, 4


class Network(torch.nn.Module):
    def __init__(self, name, channels, size):
        super().__init__()
        self.backbone = timm.create_model(f"{name}_patch16_224", num_classes=0, in_chans=channels, img_size=size,
                                          dynamic_img_size=True)
        d = self.backbone.num_features
        self.mlp = torch.nn.Sequential(torch.nn.Linear(d, HIDDEN), torch.nn.GELU(), torch.nn.Linear(HIDDEN, HIDDEN),
                                       torch.nn.GELU(), torch.nn.Linear(HIDDEN, BOTTLENECK))
        self.v = torch.nn.Parameter(torch.empty(K, BOTTLENECK).uniform_(-BOTTLENECK ** -0.5, BOTTLENECK ** -0.5))

    def forward(self, groups):
        x = torch.cat([self.backbone(views) for views in groups])
        return F.linear(F.normalize(self.mlp(x), dim=-1), F.normalize(self.v, dim=-1))


def losses(student, centred):
    dino = barlow = 0
    parts = (student.float() / 0.1).chunk(2 + LOCALS)
    logs = [p.log_softmax(-1) for p in parts]
    normed = [F.batch_norm(p, None, None, training=True) for p in parts]
    for i, t in enumerate(centred.chunk(2)):
        p, bn = t.softmax(-1), F.batch_norm(t, None, None, training=True)
        for v in range(2 + LOCALS):
            if v == i:
                continue
            dino = dino - (p * logs[v]).sum(-1).mean()
            r = bn.T @ normed[v] / t.shape[0]
            diagonal = torch.diagonal(r)
            off = r.flatten()[:-1].view(K - 1, K + 1)[:, 1:]
            barlow = barlow + 0.05 * (1 - diagonal).square().mean() + 0.95 * off.square().mean()
    return 0.25 * dino / 14 / math.log(K) + 0.75 * barlow / 14 / 0.0595


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="deit_small")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--channels", type=int, default=6)
    parser.add_argument("--precision", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int,
                        default=int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0)))))
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    a = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(a.threads)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # like bench's f32
    device = torch.device(a.device)
    student = Network(a.model, a.channels, a.image_size).to(device).train()
    teacher = Network(a.model, a.channels, a.image_size).to(device)
    teacher.load_state_dict(student.state_dict())
    size, half = a.image_size, a.image_size // 2
    views = [torch.randn(2 * a.batch, a.channels, size, size, device=device),
             torch.randn(LOCALS * a.batch, a.channels, half, half, device=device)]
    domains = torch.arange(2 * a.batch, device=device) % DOMAINS
    centres = torch.zeros(DOMAINS, K, device=device)
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-4, weight_decay=4e-3, fused=True)
    params, averaged = list(student.parameters()), list(teacher.parameters())
    wait = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    times, values = [], []
    for i in range(a.warm_up + a.steps):
        wait()
        start = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=a.precision == "bf16"):
            with torch.no_grad():
                target = teacher(views[:1]).float()
            logits = student(views)
        loss = losses(logits, (target - centres[domains]) / 0.04)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 3.0)
        optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(averaged, params, 0.005)
            for d in range(DOMAINS):
                here = domains == d
                weight = 0.1 * min(here.float().mean().item() * DOMAINS, 10)
                centres[d].lerp_(target[here].mean(0), weight)
        wait()
        if i >= a.warm_up:
            times.append(time.perf_counter() - start)
        values.append(loss.item())
    times.sort()
    median = times[len(times) // 2]
    peak = (torch.cuda.max_memory_allocated() if device.type == "cuda"
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    print(json.dumps(dict(model=a.model, step="cdcl", channels=a.channels, image_size=size, batch=a.batch,
                          precision=a.precision, device=str(device), threads=a.threads, steps=a.steps,
                          median_s=round(median, 4), min_s=round(times[0], 4), max_s=round(times[-1], 4),
                          images_per_s=round(a.batch / median, 3), peak_mb=round(peak / 2**20, 1),
                          loss=[round(v, 5) for v in values], torch=torch.__version__)))


if __name__ == "__main__":
    main()
