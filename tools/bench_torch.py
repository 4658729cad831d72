#!/usr/bin/env python3
"""Times training steps of a torchvision or timm model with PyTorch; bench_peer.py runs it beside `train_rxrx bench`.

    python3 tools/bench_torch.py --model densenet161 --image-size 512 --batch 32 --mode bf16_cl [--device cuda]

Modes: fp32 and fp32_cl (channels_last; TF32 off, like this project's f32), bf16_cl (autocast, channels_last),
compile_bf16_cl (torch.compile), graphs_bf16_cl (torch.compile with CUDA graphs). A step: zero_grad, forward,
cross-entropy, backward, SGD with momentum. Prints one JSON object.
"""
import argparse
import json
import os
import resource
import time

import torch
import torchvision


def build(name, channels, classes, size):
    if name.startswith("deit"):
        import timm

        return timm.create_model(name + "_patch16_224", num_classes=classes, in_chans=channels, img_size=size)
    model = getattr(torchvision.models, name)(weights=None, num_classes=classes)
    if hasattr(model, "features"):
        model.features.conv0 = torch.nn.Conv2d(channels, model.features.conv0.out_channels, 7, 2, 3, bias=False)
    else:
        model.conv1 = torch.nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    return model


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True)
    p.add_argument("--image-size", type=int, required=True)
    p.add_argument("--batch", type=int, required=True)
    p.add_argument("--mode", required=True)
    p.add_argument("--channels", type=int, default=6)
    p.add_argument("--classes", type=int, default=1139)
    p.add_argument("--device", default="cpu")
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--warm-up", type=int, default=3)
    a = p.parse_args()
    cuda = a.device == "cuda"
    torch.manual_seed(0)
    if cuda:
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    else:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0)))))
    model = build(a.model, a.channels, a.classes, a.image_size).to(a.device).train()
    x = torch.randn(a.batch, a.channels, a.image_size, a.image_size, device=a.device)
    y = torch.randint(0, a.classes, (a.batch,), device=a.device)
    if a.mode.endswith("_cl"):
        model = model.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    step = model
    if a.mode.startswith("graphs"):
        step = torch.compile(model, mode="reduce-overhead")
    elif a.mode.startswith("compile"):
        step = torch.compile(model)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, fused=cuda or None)
    synchronize = torch.cuda.synchronize if cuda else lambda: None
    seconds = []
    for i in range(a.warm_up + a.steps):
        if cuda and i == a.warm_up:
            torch.cuda.reset_peak_memory_stats()
        synchronize()
        start = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(a.device, dtype=torch.bfloat16, enabled="bf16" in a.mode):
            logits = step(x)
        torch.nn.functional.cross_entropy(logits.float(), y).backward()
        optimiser.step()
        synchronize()
        if i >= a.warm_up:
            seconds.append(time.perf_counter() - start)
    seconds.sort()
    peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"mode": a.mode, "torch": torch.__version__, "median_s": seconds[len(seconds) // 2],
                      "min_s": seconds[0], "max_s": seconds[-1], "peak_mb": round(peak / 2**20)}))


if __name__ == "__main__":
    main()
