#!/usr/bin/env python3
"""Compares `train_rxrx forward` with torchvision and timm, parameter by parameter, on random weights.

    python tools/golden/parity.py --program build/cpu/train/train_rxrx [--models densenet121,resnet50]
        [--sizes 96,224] [--precision f64,f32] [--seeds 1,2] [--batch 4]
    python tools/golden/parity.py --models deit_small --channels 3,5,6 --sizes 224,112 --seeds 7

Needs PyTorch, torchvision, timm (for DeiT), safetensors. For each case: the engine's output, every gradient and every
running statistic against PyTorch in float64. In f64 everything must agree within 1e-8; in f32
outputs within 1e-4 and gradients within 1e-3 on settled cases, whose batch-norm offsets sit in gaps
of their channels' values, so that no ReLU input and no pooling window is near a tie; or, where the
random network is so badly conditioned that PyTorch's own float32 (printed beside) does not keep
that, within twice PyTorch's error. Errors are
max|a-b| / max|b| of each tensor. Modes: eval; train; domains (batch statistics per domain, images
in any order, against a PyTorch composition); sgd (five steps of momentum SGD).
"""
import argparse
import copy
import itertools
import os
import subprocess
import sys
import tempfile

import torch
import torchvision
from safetensors.torch import load_file, save_file

CLASSES = 31
BOUND = {"f64": (1e-8, 1e-8), "f32": (1e-4, 1e-3)}


class DomainBatchNorm(torch.nn.BatchNorm2d):
    """Batch norm with the statistics of each image's own domain; one running update from their mean."""

    domain = None

    def forward(self, x):
        if not self.training or DomainBatchNorm.domain is None:
            return super().forward(x)
        domain, y, means, variances = DomainBatchNorm.domain, torch.empty_like(x), [], []
        for d in domain.unique():
            part = x[domain == d]
            mean, var = part.mean((0, 2, 3)), part.var((0, 2, 3), unbiased=False)
            y[domain == d] = (part - mean[None, :, None, None]) / torch.sqrt(
                var[None, :, None, None] + self.eps)
            n = part.numel() / part.shape[1]
            means.append(mean.detach())
            variances.append(var.detach() * n / (n - 1))
        with torch.no_grad():
            self.running_mean += self.momentum * (torch.stack(means).mean(0) - self.running_mean)
            self.running_var += self.momentum * (torch.stack(variances).mean(0) - self.running_var)
        return y * self.weight[None, :, None, None] + self.bias[None, :, None, None]


def build(name, seed, channels, rule):
    torch.manual_seed(seed)
    if name.startswith("deit"):
        from deit import build_deit

        model = build_deit(name, channels, CLASSES, rule)
        for k, p in model.named_parameters():  # larger than fresh ones, so that every part matters
            torch.nn.init.normal_(p, 1.0 if "norm" in k and k.endswith("weight") else 0.0,
                                  p.shape[1] ** -0.5 if p.dim() == 2 else 0.2 if p.dim() < 4 else 0.04)
        return model.float().double()
    model = getattr(torchvision.models, name)(num_classes=CLASSES)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.__class__ = DomainBatchNorm
            torch.nn.init.normal_(module.weight, 1.0, 0.2)
            torch.nn.init.normal_(module.bias, 0.0, 0.2)
            torch.nn.init.normal_(module.running_mean, 0.0, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
        if isinstance(module, torchvision.models.resnet.Bottleneck):
            # A small last norm, as after zero-init-residual: a deep ResNet whose branches are as
            # large as its shortcuts is chaotic, and no float32 follows it.
            torch.nn.init.normal_(module.bn3.weight, 0.2, 0.02)
    stem = model.features.conv0 if hasattr(model, "features") else model.conv1
    new = torch.nn.Conv2d(channels, stem.out_channels, 7, 2, 3, bias=False)
    if hasattr(model, "features"):
        model.features.conv0 = new
    else:
        model.conv1 = new
    # Round to float: the weights file is float32.
    model = model.float().double()
    return model


def settle(model, x):
    """Moves batch-norm offsets so that every ReLU input's channel has 0 in the widest gap near it: a
    small shift, which leaves the network as well conditioned as it was. The ReLU input is a batch
    norm's output (DenseNet), or that plus a shortcut (ResNet): then the last batch norm that ran
    carries the shift."""
    handles, last = [], [None]

    def shifted(module, values):
        flat = values.detach().transpose(0, 1).flatten(1)
        ordered, _ = flat.sort(1)
        gaps = ordered[:, 1:] - ordered[:, :-1]
        middles = (ordered[:, 1:] + ordered[:, :-1]) / 2
        near = middles.abs() <= 0.25 * flat.std(1, keepdim=True)
        gaps = torch.where(near, gaps, torch.zeros_like(gaps))
        at, rows = gaps.argmax(1), torch.arange(flat.shape[0])
        # No value near 0: nothing to move.
        middle = torch.where(near.any(1), middles[rows, at], torch.zeros(len(rows), dtype=flat.dtype))
        new = (module.bias.data - middle).float().double()
        shift = new - module.bias.data
        module.bias.data = new
        return values + shift[None, :, None, None]

    def remember(module, _, y):
        last[0] = module
        return shifted(module, y) if hasattr(model, "features") else y

    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            handles.append(module.register_forward_hook(remember))
        if isinstance(module, torch.nn.ReLU) and not hasattr(model, "features"):
            handles.append(module.register_forward_pre_hook(lambda _, i: (shifted(last[0], i[0]),)))
    running = {k: v.clone() for k, v in model.named_buffers()}
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    with torch.no_grad():
        for k, v in model.named_buffers():
            v.copy_(running[k])


def engine(args, model_name, channels, mode, precision, weights, tensors, folder):
    paths = [os.path.join(folder, n) for n in ("w.safetensors", "x.safetensors", "y.safetensors")]
    save_file({k: v.detach().float().contiguous() for k, v in weights.items()}, paths[0])
    save_file({k: v.contiguous() for k, v in tensors.items()}, paths[1])
    command = [args.program, "forward", "--model", model_name, "--channels", str(channels),
               "--classes", str(CLASSES), "--mode", "train" if mode == "train" else "eval", "--weights", paths[0], "--input", paths[1],
               "--output", paths[2], "--backward", "--precision", precision]
    if model_name.startswith("deit"):
        command += ["--position-rule", mode]
    if args.kernels:
        command += ["--kernels", args.kernels]
    subprocess.run(command, check=True)
    return load_file(paths[2])


def error(a, b):
    a, b = a.double(), b.double()
    if a.shape != b.shape or not torch.isfinite(a).all():
        return float("inf")
    return ((a - b).abs().max() / b.abs().max().clamp_min(1e-30)).item()


def reference(model, x, dy):
    x = x.clone().requires_grad_()
    model.zero_grad()
    y = model(x)
    y.backward(dy)
    out = {"y": y.detach(), "grad.x": x.grad}
    out.update({"grad." + k: p.grad.clone() for k, p in model.named_parameters()})
    if model.training:
        out.update({"buffer." + k: b.clone() for k, b in model.named_buffers()
                    if not k.endswith("num_batches_tracked")})
    return out


def compare(ours, theirs):
    assert ours.keys() == theirs.keys(), (sorted(ours.keys() ^ theirs.keys()))
    worst = {}
    for name in theirs:
        kind = name.split(".")[0]
        worst[kind] = max(worst.get(kind, (0, "")), (error(ours[name], theirs[name]), name))
    return worst


def case(args, name, channels, size, mode, precision, seed, folder):
    deit = name.startswith("deit")
    model = build(name, seed, channels, mode)
    x = torch.randn(args.batch, channels, size, size).double()
    dy = torch.randn(args.batch, CLASSES).double()
    model.train(mode != "eval" and not deit)
    tensors = {"x": x, "dy": dy}
    DomainBatchNorm.domain = None
    if mode == "domains":
        half = args.batch // 2
        domain = torch.tensor([7, -3] * half + [7] * (args.batch - 2 * half), dtype=torch.int32)
        DomainBatchNorm.domain = tensors["domain"] = domain
    if precision != "f64" and not deit:
        settle(model, x)
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    if mode == "sgd":
        return sgd(args, model, name, channels, precision, x, dy, folder)
    theirs, peer = reference(model, x, dy), {}
    if precision == "f32":  # PyTorch's own error in float32
        model.load_state_dict(weights)
        single = {k: v.double() for k, v in reference(model.float(), x.float(), dy.float()).items()}
        peer = compare(single, theirs)
    run_as = mode if deit or mode == "eval" else "train"
    ours = engine(args, name, channels, run_as, precision, weights, tensors, folder)
    return compare(ours, theirs), peer


def sgd(args, model, name, channels, precision, x, dy, folder, steps=5):
    """Five momentum steps on the fixed linear loss <y, dy>; the engine's own trajectory. In f32
    the first step moves no weight by more than 2e-8, so that a settled model stays settled. The
    reference computes in float64 and, as both engines do, stores weights in float32: storing alone
    moves a ResNet's outputs by 1e-4, whatever the arithmetic."""
    largest = 1e-3 if precision == "f64" else 2e-8
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    moments = {}
    buffers = {k: b.clone() for k, b in model.named_buffers()}
    reference(model, x, dy)
    for k, b in model.named_buffers():
        b.data = buffers[k]
    lr = largest / max(p.grad.abs().max().item() for p in model.parameters())
    single = None
    if precision == "f32":  # PyTorch's own error in float32
        single = copy.deepcopy(model).float()
        for k, b in single.named_buffers():
            b.data = buffers[k].to(b.dtype, copy=True)
    models = [m for m in (model, single) if m]
    optimisers = [torch.optim.SGD(m.parameters(), lr=lr, momentum=0.9) for m in models]
    for _ in range(steps):
        theirs = reference(model, x, dy)
        if single:
            peer = reference(single, x.float(), dy.float())
        for optimiser in optimisers:
            optimiser.step()
        # Weights are float32 by contract (their file too): both sides continue from rounded ones.
        for t in list(model.parameters()) + [b for b in model.buffers() if b.is_floating_point()]:
            t.data = t.data.float().double()
        ours = engine(args, name, channels, "train", precision, weights, {"x": x, "dy": dy}, folder)
        for k, _ in model.named_parameters():
            g = ours["grad." + k].double()
            moments[k] = 0.9 * moments[k] + g if k in moments else g
            weights[k] = (weights[k] - lr * moments[k]).float().double()
        for k in weights:
            if "buffer." + k in ours:
                weights[k] = ours["buffer." + k].double()

    def finish(result, weights):
        worst = compare(result, theirs)
        worst["weights"] = max((error(weights[k], p.data), k) for k, p in model.named_parameters())
        return worst

    return finish(ours, weights), finish(peer, single.state_dict()) if single else {}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", default="build/cpu/train/train_rxrx")
    p.add_argument("--models", default="densenet121,densenet161,resnet50,resnet101")
    p.add_argument("--channels", default="6")
    p.add_argument("--sizes", default="96,224")
    p.add_argument("--modes", default="eval,train,domains,sgd")
    p.add_argument("--rules", default="cdcl,dino,deit,timm", help="modes of a DeiT")
    p.add_argument("--precision", default="f64,f32")
    p.add_argument("--seeds", default="1")
    p.add_argument("--batch", type=int, default=4)
    p.add_argument("--kernels", default="")
    args = p.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in args.models.split(","):
            modes = args.rules.split(",") if name.startswith("deit") else args.modes.split(",")
            for channels, size, mode, precision, seed in itertools.product(
                    map(int, args.channels.split(",")), map(int, args.sizes.split(",")), modes,
                    args.precision.split(","), map(int, args.seeds.split(","))):
                worst, peer = case(args, name, channels, size, mode, precision, seed, folder)
                bound_y, bound_g = BOUND.get(precision, (float("inf"),) * 2)
                ok = all(e <= max(bound_y if k in ("y", "buffer") else bound_g,
                                  2 * peer.get(k, (0,))[0])
                         for k, (e, _) in worst.items())
                failures += not ok
                text = "  ".join(f"{k} {e:.1e}" for k, (e, _) in worst.items())
                if peer:
                    text += "  (PyTorch f32:" + "".join(
                        f" {k} {e:.1e}" for k, (e, _) in peer.items()) + ")"
                where = "" if ok else "  worst: " + max(worst.values())[1]
                print(f"{name:12s} {channels} {size:4d} {mode:8s} {precision:5s} seed {seed}: "
                      f"{'ok  ' if ok else 'FAIL'} {text}{where}", flush=True)
    print(f"{failures} failures" if failures else "all agree")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
