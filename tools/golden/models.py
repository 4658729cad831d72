#!/usr/bin/env python3
"""Makes tests/data/golden/: what PyTorch computes, in float64, for torchvision's and timm's models.

    python tools/golden/models.py [--out tests/data/golden] [--only densenet121_train]

Needs PyTorch, torchvision, timm, safetensors. No weights are stored: weights, running statistics, input and
output gradient follow a formula of tensor name and element index that tests/models/formula.h repeats,
bit for bit. Nor are whole gradients stored: each tensor leaves a row of seven numbers, its largest
magnitude, its Euclidean norm, its product with a pseudo-random vector, and four of its elements. Rows
are sorted by name.

  y       (N, classes)   the logits; batch (N, experiments), of the paper's classifier
  grad    (tensors, 7)   of grad.<parameter>, and of the input as "x"
  buffer  (tensors, 7)   of the running statistics after a training step; absent in eval mode
  weight  (tensors, 7)   sgd: of the parameters after the last step; losses (steps)
  offset  (values)       settled: the batch-norm offsets, in the order of torchvision's modules, which
                         replace the formula's. They sit in gaps of their channels' values, so that
                         no ReLU input is near zero and single precision can be compared.
"""
import argparse
import os

import numpy as np
import torch
import torchvision
from safetensors.numpy import save_file

from deit import build_deit
from parity import DomainBatchNorm, reference, settle

CHANNELS, CLASSES = 6, 31
U64 = np.uint64


def fnv1a(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def bits(name, n):
    """n 64-bit words: splitmix64 of hash(name) + i * golden ratio."""
    with np.errstate(over="ignore"):
        z = U64(fnv1a(name)) + np.arange(1, n + 1, dtype=U64) * U64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
        return z ^ (z >> U64(31))


def uniform(name, n):
    """In [-1, 1)."""
    return (bits(name, n) >> U64(11)).astype(np.float64) * 2.0**-52 - 1.0


def formula(name, shape):
    n = int(np.prod(shape))
    u = uniform(name, n)
    if len(shape) == 4:
        values = np.sqrt(6.0 / (n // shape[0])) * u
    elif len(shape) == 2:
        values = np.sqrt(3.0 / shape[1]) * u
    elif name.endswith("running_var"):
        values = 1.0 + 0.5 * u
    elif name.endswith("weight"):
        values = 1.0 + 0.3 * u
    else:  # offsets, biases, running means
        values = 0.3 * u
    return torch.from_numpy(values.astype(np.float32).astype(np.float64).reshape(shape))


def row(name, tensor):
    flat = tensor.detach().numpy().astype(np.float64).reshape(-1)
    n = flat.size
    samples = bits(name + ".sample", 4) % U64(n)
    return [np.abs(flat).max(), np.sqrt((flat * flat).sum()), (flat * uniform(name + ".probe", n)).sum(),
            *flat[samples.astype(np.int64)]]


def rows(tensors):
    return np.array([row(k, tensors[k]) for k in sorted(tensors)], dtype=np.float64)


def build(name):
    if name == "densenet_smoke":
        model = torchvision.models.DenseNet(16, (3, 4, 4), 32, num_classes=CLASSES)
    else:
        model = getattr(torchvision.models, name)(num_classes=CLASSES)
    densenet = hasattr(model, "features")
    stem = model.features.conv0 if densenet else model.conv1
    new = torch.nn.Conv2d(CHANNELS, stem.out_channels, 7, 2, 3, bias=False)
    if densenet:
        model.features.conv0 = new
    else:
        model.conv1 = new
    model = model.double()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.__class__ = DomainBatchNorm
    fill(model)
    return model


def fill(model):
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if not key.endswith("num_batches_tracked"):
                tensor.copy_(formula(key, tuple(tensor.shape)))


def batch(n, size):
    x = 1.75 * uniform("x", n * CHANNELS * size * size)
    dy = uniform("dy", n * CLASSES)
    rounded = [torch.from_numpy(v.astype(np.float32).astype(np.float64)) for v in (x, dy)]
    return rounded[0].reshape(n, CHANNELS, size, size), rounded[1].reshape(n, CLASSES)


def gradient_case(name, mode, size, n):
    model = build(name)
    model.train(mode != "eval")
    x, dy = batch(n, size)
    DomainBatchNorm.domain = None
    if mode == "domains":  # uneven segments, in order
        DomainBatchNorm.domain = torch.tensor([0] * (n // 2 + n % 2) + [1] * (n // 2))
    out = {}
    if mode == "settled":
        settle(model, x)
        out["offset"] = torch.cat([m.bias.data for m in model.modules()
                                   if isinstance(m, DomainBatchNorm)]).float().numpy()
    result = reference(model, x, dy)
    out["y"] = result["y"].numpy()
    out["grad"] = rows({k[5:]: v for k, v in result.items() if k.startswith("grad.")})
    buffers = {k[7:]: v for k, v in result.items() if k.startswith("buffer.")}
    if buffers:
        out["buffer"] = rows(buffers)
    return out


def deit_case(name, rule, size, n):
    """A vision transformer, its position embedding resampled by a rule; nothing depends on the mode."""
    model = build_deit(name, CHANNELS, CLASSES, rule).double().eval()
    fill(model)
    result = reference(model, *batch(n, size))
    return {"y": result["y"].numpy(),
            "grad": rows({k[5:]: v for k, v in result.items() if k.startswith("grad.")})}


class Reverse(torch.autograd.Function):
    """Gradient reversal (Ganin and Lempitsky 2015) with lambda 0.5."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, dy):
        return -0.5 * dy


class RxRx1(torch.nn.Module):
    """The paper's classifier on a DenseNet: neck, head, and a batch head behind gradient reversal."""

    def __init__(self, width, batch_classes):
        super().__init__()
        linear, norm = torch.nn.Linear, torch.nn.BatchNorm1d
        self.backbone = build("densenet_smoke")
        features = self.backbone.classifier.in_features
        del self.backbone.classifier
        self.neck = torch.nn.ModuleDict({
            "fc1": linear(features, width, bias=False), "norm1": norm(width),
            "fc2": linear(width, width, bias=False), "norm2": norm(width)})
        self.head, self.batch_head = linear(width, CLASSES), linear(width, batch_classes)

    def forward(self, x):
        x = torch.relu(self.backbone.features(x)).mean((2, 3))
        for i in "12":
            x = torch.relu(self.neck["norm" + i](self.neck["fc" + i](x)))
        return self.head(x), self.batch_head(Reverse.apply(x))


def reversed_case(size, n):
    DomainBatchNorm.domain = None
    model = RxRx1(24, 7).double().train()
    fill(model)
    x, dy = batch(n, size)
    dbatch = torch.from_numpy(uniform("dbatch", n * 7).astype(np.float32).astype(np.float64)).reshape(n, 7)
    x.requires_grad_()
    y, z = model(x)
    torch.autograd.backward((y, z), (dy, dbatch))
    gradients = {k: p.grad for k, p in model.named_parameters()} | {"x": x.grad}
    buffers = {k: b for k, b in model.named_buffers() if not k.endswith("num_batches_tracked")}
    return {"y": y.detach().numpy(), "batch": z.detach().numpy(), "grad": rows(gradients),
            "buffer": rows(buffers)}


def sgd_case(name, size, n, steps=5):
    """Cross entropy of class 7i mod CLASSES for image i; decay spares batch norms and biases."""
    DomainBatchNorm.domain = None
    model = build(name).train()
    x, _ = batch(n, size)
    target = torch.tensor([7 * i % CLASSES for i in range(n)])
    spared = [p for p in model.parameters() if p.dim() == 1]
    decayed = [p for p in model.parameters() if p.dim() > 1]
    optimiser = torch.optim.SGD([{"params": decayed, "weight_decay": 0.01},
                                 {"params": spared, "weight_decay": 0.0}],
                                lr=0.05, momentum=0.9, nesterov=True)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), target)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return {"losses": np.array(losses), "weight": rows(dict(model.named_parameters())),
            "buffer": rows({k: v for k, v in model.named_buffers() if not k.endswith("tracked")})}


# File: what makes it. tests/models/golden_test.cpp has the same list.
CASES = {
    "densenet_smoke_train": lambda: gradient_case("densenet_smoke", "train", 64, 3),
    "densenet_smoke_eval": lambda: gradient_case("densenet_smoke", "eval", 64, 3),
    "densenet_smoke_domains": lambda: gradient_case("densenet_smoke", "domains", 64, 5),
    "densenet_smoke_settled": lambda: gradient_case("densenet_smoke", "settled", 64, 3),
    "densenet_smoke_sgd": lambda: sgd_case("densenet_smoke", 64, 3),
    "rxrx1_densenet_smoke_reversed": lambda: reversed_case(64, 5),
    "resnet18_train": lambda: gradient_case("resnet18", "train", 64, 3),
    "resnet18_eval": lambda: gradient_case("resnet18", "eval", 64, 3),
    "resnet18_settled": lambda: gradient_case("resnet18", "settled", 64, 3),
    "densenet121_train": lambda: gradient_case("densenet121", "train", 96, 2),
    "densenet121_eval": lambda: gradient_case("densenet121", "eval", 96, 2),
    "densenet121_domains": lambda: gradient_case("densenet121", "domains", 64, 5),
    "densenet121_settled": lambda: gradient_case("densenet121", "settled", 96, 2),
    "densenet161_train": lambda: gradient_case("densenet161", "train", 96, 2),
    "densenet161_eval": lambda: gradient_case("densenet161", "eval", 96, 2),
    "resnet50_train": lambda: gradient_case("resnet50", "train", 96, 2),
    "resnet50_eval": lambda: gradient_case("resnet50", "eval", 96, 2),
    "resnet101_train": lambda: gradient_case("resnet101", "train", 96, 2),
    "resnet101_eval": lambda: gradient_case("resnet101", "eval", 96, 2),
    "deit_tiny_cdcl": lambda: deit_case("deit_tiny", "cdcl", 48, 3),
    "deit_tiny_dino": lambda: deit_case("deit_tiny", "dino", 48, 3),
    "deit_tiny_deit": lambda: deit_case("deit_tiny", "deit", 48, 3),
    "deit_tiny_timm": lambda: deit_case("deit_tiny", "timm", 48, 3),
    "deit_small_cdcl": lambda: deit_case("deit_small", "cdcl", 112, 1),
}
NAMED = ["densenet121", "densenet161", "densenet169", "densenet201", "resnet18", "resnet50", "resnet101",
         "deit_tiny", "deit_small", "deit_base"]


def state_dict_names(folder):
    """names.txt: for each model the number of tensors and the FNV-1a hash of the sorted lines
    "name (shape)" of its state dict, num_batches_tracked left out."""
    with open(os.path.join(folder, "names.txt"), "w") as file:
        for name in NAMED:
            with torch.device("meta"):
                model = (build_deit(name, 3, CLASSES, "cdcl") if name.startswith("deit") else
                         getattr(torchvision.models, name)(num_classes=CLASSES))
            lines = sorted(f"{k} ({','.join(map(str, v.shape))})\n" for k, v in model.state_dict().items()
                           if not k.endswith("num_batches_tracked"))
            file.write(f"{name} {len(lines)} {fnv1a(''.join(lines)):016x}\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", default="tests/data/golden")
    p.add_argument("--only", default="", help="one case")
    args = p.parse_args()
    os.makedirs(args.out, exist_ok=True)
    state_dict_names(args.out)
    for name, make in CASES.items():
        if args.only in ("", name):
            tensors = {k: np.ascontiguousarray(v) for k, v in make().items()}
            save_file(tensors, os.path.join(args.out, name + ".safetensors"))
            print(name, {k: v.shape for k, v in tensors.items()}, flush=True)


if __name__ == "__main__":
    main()
