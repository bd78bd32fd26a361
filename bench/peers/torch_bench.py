#!/usr/bin/env python3
"""PyTorch's side of `tessera bench`: the same options, the same JSON object.

  python3 bench/peers/torch_bench.py --model resnet50 --batch 8 --size 224 --mode train \
      --threads 2 --layout nhwc --json

mode infer  evaluation mode, no gradient graph, forward.
mode train  training mode: forward, cross entropy, backward, SGD with momentum 0.9 (rate 0.001).
Weights, images and targets are random; they stay in memory. Warm-up steps run first, then steps are
timed one by one until both --steps and --seconds are reached.

images_per_second  batch over the median step
gflops             billions of floating-point operations per second at the median step: 2 per
                   multiply-add of convolutions and linear layers, forward once for infer, three
                   times that for train
peak_rss_mb        the process's high-water mark (1 MB = 2^20 bytes)
"""
import argparse
import json
import resource
import time

import numpy as np
import torch
import torchvision
from torch import nn


def multiply_adds(net, x):
    """Of one forward pass over x: convolutions and linear layers, by their output shapes."""
    total, hooks = 0, []

    def conv(module, _, y):
        nonlocal total
        kernel = module.kernel_size[0] * module.kernel_size[1]
        total += y.numel() * module.in_channels // module.groups * kernel

    def linear(module, _, y):
        nonlocal total
        total += y.numel() * module.in_features

    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(conv))
        elif isinstance(module, nn.Linear):
            hooks.append(module.register_forward_hook(linear))
    with torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()
    return total


def make_step(net, call, x, target, mode):
    if mode == "infer":
        def infer():
            with torch.no_grad():
                call(x)
        return infer
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)

    def train():
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(call(x), target)
        loss.backward()
        optimizer.step()
        loss.item()
    return train


def measure(step, args):
    for _ in range(args.warmup):
        step()
    times, begin = [], time.perf_counter()
    while len(times) < args.steps or time.perf_counter() - begin < args.seconds:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return np.array(times) * 1e3


def run(args):
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    net = getattr(torchvision.models, args.model)(weights=None)
    height, width = (int(v) for v in (args.size.split("x") * 2)[:2])
    x = torch.randn(args.batch, 3, height, width)
    target = torch.randint(0, 1000, (args.batch,))
    if args.layout == "nhwc":
        net = net.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    net.eval()
    operations = 2 * multiply_adds(net, x) * (3 if args.mode == "train" else 1)
    net.train(args.mode == "train")
    call = torch.compile(net) if args.compile else net
    step_ms = measure(make_step(net, call, x, target, args.mode), args)
    median = float(np.median(step_ms))
    quantiles = {f"p{q}": round(float(np.percentile(step_ms, q)), 3) for q in (10, 50, 90)}
    return dict(
        program="torch " + torch.__version__, model=args.model, batch=args.batch, size=args.size,
        mode=args.mode, threads=args.threads, layout=args.layout, compile=args.compile,
        steps=len(step_ms), images_per_second=round(args.batch * 1e3 / median, 3),
        gflops=round(operations / median * 1e-6, 2),
        peak_rss_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        step_ms=dict(quantiles, min=round(float(step_ms.min()), 3),
                     max=round(float(step_ms.max()), 3)))


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--model", default="resnet50", help="a torchvision classification network")
    ap.add_argument("--batch", type=int, default=8)
    ap.add_argument("--size", default="224", help="S or HxW")
    ap.add_argument("--mode", choices=["infer", "train"], default="infer")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--layout", choices=["nchw", "nhwc"], default="nhwc")
    ap.add_argument("--compile", action="store_true", help="torch.compile the network")
    ap.add_argument("--steps", type=int, default=10, help="timed steps at least")
    ap.add_argument("--seconds", type=float, default=3.0, help="timed seconds at least")
    ap.add_argument("--warmup", type=int, default=3)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--json", action="store_true", help="one JSON object on standard output")
    args = ap.parse_args()
    result = run(args)
    if args.json:
        print(json.dumps(result))
    else:
        print(f"{args.model} {args.mode} batch {args.batch} {args.layout}: "
              f"{result['images_per_second']} images/s, {result['gflops']} GFLOP/s, "
              f"step {result['step_ms']['p50']} ms, peak {result['peak_rss_mb']} MB")


if __name__ == "__main__":
    main()
