#!/usr/bin/env python3
"""PyTorch's side of `tessera bench`: the same options, the same JSON object.

  python3 bench/peers/torch_bench.py --model resnet50 --batch 8 --size 224 --mode train \\
      --threads 2 --layout nhwc --json

mode infer  evaluation mode, no gradient graph, forward
mode train  training mode: forward, cross entropy, backward, SGD with momentum
mode cold   import, network from a file of weights, first prediction
Weights, images and targets are random. Auxiliary classifiers are left out.

images_per_second  batch over the median step
gflops             billions of floating-point operations per second at the median step: 2 per
                   multiply-add of convolutions and linear layers, forward once for infer, three
                   times that for train
peak_rss_mb        the process's high-water mark (1 MB = 2^20 bytes)"""
import json
import time
import warnings

import peer


def network(torchvision, name):
    """torchvision's network with random weights, without auxiliary classifiers."""
    more = {}
    if name in ("googlenet", "inception_v3"):
        more = dict(aux_logits=False, init_weights=True)
    return getattr(torchvision.models, name)(weights=None, **more)


def multiply_adds(torch, net, height, width):
    """Of one image's forward pass: convolutions and linear layers, by their output shapes. Takes
    net's weights away: shapes are all that is needed."""
    total, hooks = 0, []

    def conv(module, _, y):
        nonlocal total
        kernel = module.kernel_size[0] * module.kernel_size[1]
        total += y.numel() * module.in_channels // module.groups * kernel

    def linear(module, _, y):
        nonlocal total
        total += y.numel() * module.in_features

    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            hooks.append(module.register_forward_hook(conv))
        elif isinstance(module, torch.nn.Linear):
            hooks.append(module.register_forward_hook(linear))
    net.to("meta").eval()
    with torch.no_grad():
        net(torch.zeros(1, 3, height, width, device="meta"))
    for hook in hooks:
        hook.remove()
    return total


def make_step(torch, net, call, x, target, mode):
    if mode == "infer":
        def infer():
            with torch.inference_mode():
                call(x)
        return infer
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4,
                                fused=True)

    def train():
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(call(x), target)
        loss.backward()
        optimizer.step()
    return train


def compiled(torch, net, mode):
    if mode == "infer":  # weights as constants: folds batch norm and packs filters ahead
        import torch._inductor.config as inductor
        inductor.freezing = True
    return torch.compile(net)


def run_steps(args):
    torch, torchvision = peer.require("torch", "torchvision")
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)  # random weights let signals fade; trained ones would not
    torch.manual_seed(args.seed)
    net = network(torchvision, args.model).train(args.mode == "train")
    x = torch.randn(args.batch, 3, args.height, args.width)
    target = (7 * torch.arange(args.batch) + 3) % peer.CLASSES
    if args.device != "cpu":
        torch.backends.cudnn.benchmark = True
        net, x, target = net.to(args.device), x.to(args.device), target.to(args.device)
    if args.layout == "nhwc":
        net = net.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    call = compiled(torch, net, args.mode) if args.compile else net
    step = make_step(torch, net, call, x, target, args.mode)

    def finished_step():
        step()
        torch.cuda.synchronize()
    times = peer.measure(step if args.device == "cpu" else finished_step, args)
    peak = peer.peak_rss_mb()
    return peer.steps_result(
        args, version(), times, peak, multiply_adds(torch, net, args.height, args.width),
        sum(p.numel() for p in net.parameters()), layout=args.layout, compile=args.compile,
        device=args.device)


def run_cold(args, directory):
    path = peer.exported(args, directory) + ".pt"
    begin = time.monotonic()
    torch, torchvision = peer.require("torch", "torchvision")
    torch.set_num_threads(args.threads)
    with torch.device("meta"):  # spares the random weights that the file replaces
        net = network(torchvision, args.model)
    net.load_state_dict(torch.load(path, mmap=True), assign=True)
    net.eval()
    if args.layout == "nhwc":
        net = net.to(memory_format=torch.channels_last)
    created = time.monotonic()
    x = torch.zeros(args.batch, 3, args.height, args.width)
    call = compiled(torch, net, "infer") if args.compile else net
    with torch.inference_mode():
        call(x).argmax(1).tolist()
    return peer.cold_result(args, version(), begin, created, time.monotonic(), layout=args.layout,
                            compile=args.compile)


def run(args, directory):
    warnings.simplefilter("ignore")  # initialisation of torchvision's Inception and GoogLeNet
    return run_cold(args, directory) if args.mode == "cold" else run_steps(args)


def version():
    return "PyTorch " + peer.require("torch", "torchvision")[0].__version__


def main():
    ap = peer.parser(__doc__, ("infer", "train", "cold"))
    ap.add_argument("--layout", choices=["nchw", "nhwc"], default="nhwc")
    ap.add_argument("--device", default="cpu", help="cpu or cuda (modes infer and train)")
    ap.add_argument("--compile", action="store_true", help="torch.compile the network")
    ap.add_argument("--list", action="store_true", help="print the networks' names as a JSON list")
    if ap.parse_args().list:
        models = peer.require("torchvision").models
        print(json.dumps(models.list_models(module=models)))
        return
    peer.main(ap, version, run)


if __name__ == "__main__":
    main()
