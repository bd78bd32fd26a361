#!/usr/bin/env python3
"""Makes train_parity.json: PyTorch's losses in the first training steps of a network.

  python3 tests/golden/make_train_parity.py --golden DIR --data DIR [--also OTHER.json]
      [--out tests/golden/train_parity.json]

--golden is the folder that holds hash_fill.py, --data the cuhk03-subset folder.
--also names files that this script made under other versions of PyTorch: their float32 losses are
kept beside, as other_float32. These weights amplify rounding: the first step agrees to 1e-6, but a
few steps later two float32 runs have parted, and stay parted by up to 3 %. The other curves show
how far PyTorch is from itself.

Network   torchvision's ResNet-18 with fc = Linear(512, 350), last stride 2, training mode. Every
          state-dict entry is hash_fill.parameter(its name, its shape).
Images    bounding_box_train, sorted by file name (N = 3360). Decoded to RGB, resized by Pillow's
          bicubic to 256 x 128 (height x width) in bytes, then (byte / 255 - mean) / std in the
          run's dtype with the ImageNet mean and deviation. No augmentation.
Labels    rank of the identity (the name's first four characters) among the 350 sorted identities.
Order     slot k = 16 * step + j of the whole run holds image (1009 * k + 7) mod N. 1009 and N
          have no common factor, so every image comes once in N slots, and neighbours differ in
          identity.
Update    mean cross entropy; SGD 0.005, Nesterov momentum 0.9, weight decay 5e-4 on all parameters.
Loss      losses_float64[s] and losses_float32[s] are the loss of step s before its update.

A different JPEG decoder or resize shows in the FNV-1a 64 hashes of the first batch's bytes
(row-major height, width, RGB), taken once after decoding and once after resizing.
"""
import argparse
import importlib.util
import json
import os
import time

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image, features

BATCH, HEIGHT, WIDTH, RATE, DECAY = 16, 256, 128, 0.005, 5e-4
STRIDE, OFFSET = 1009, 7
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load_hash_fill(folder):
    path = os.path.join(folder, "hash_fill.py")
    spec = importlib.util.spec_from_file_location("hash_fill", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fnv1a(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & ((1 << 64) - 1)
    return f"{h:016x}"


class Images:
    def __init__(self, data):
        self.folder = os.path.join(data, "bounding_box_train")
        self.names = sorted(n for n in os.listdir(self.folder) if n.endswith(".jpg"))
        identities = sorted({n[:4] for n in self.names})
        self.classes = len(identities)
        self.labels = [identities.index(n[:4]) for n in self.names]

    def indices(self, step):
        return [(STRIDE * k + OFFSET) % len(self.names)
                for k in range(BATCH * step, BATCH * (step + 1))]

    def decoded(self, index):
        with Image.open(os.path.join(self.folder, self.names[index])) as im:
            return im.convert("RGB")

    def resized(self, index):
        return self.decoded(index).resize((WIDTH, HEIGHT), Image.BICUBIC)

    def batch(self, step, dtype):
        indices = self.indices(step)
        pixels = np.stack([np.asarray(self.resized(i)) for i in indices])
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(dtype) / 255
        mean, std = (torch.tensor(v, dtype=dtype).view(1, 3, 1, 1) for v in (MEAN, STD))
        return (x - mean) / std, torch.tensor([self.labels[i] for i in indices])


def losses(images, parameter, dtype, steps):
    net = torchvision.models.resnet18(weights=None, num_classes=images.classes)
    net.load_state_dict({k: torch.from_numpy(parameter(k, list(v.shape)))
                         for k, v in net.state_dict().items()})
    net = net.to(dtype).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=0.9, nesterov=True,
                                weight_decay=DECAY)
    out = []
    for step in range(steps):
        start = time.time()
        x, target = images.batch(step, dtype)
        loss = torch.nn.functional.cross_entropy(net(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        out.append(loss.item())
        print(dtype, step, out[-1], f"{time.time() - start:.1f}s", flush=True)
    return out


def other_runs(paths, result):
    out = []
    for path in paths:
        with open(path) as f:
            other = json.load(f)
        for key in ("model", "order", "first_batch"):
            if other[key] != json.loads(json.dumps(result[key])):
                raise SystemExit(f"{path}: {key} differs from this run's")
        out.append(dict(versions=other["versions"], losses=other["losses_float32"]))
    return out


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--golden", required=True, help="folder with hash_fill.py")
    ap.add_argument("--data", required=True, help="cuhk03-subset folder")
    ap.add_argument("--also", nargs="*", default=[], help="files made by other versions")
    ap.add_argument("--out", default=os.path.join(os.path.dirname(__file__), "train_parity.json"))
    ap.add_argument("--steps64", type=int, default=30)
    ap.add_argument("--steps32", type=int, default=30)
    ap.add_argument("--threads", type=int, default=2)
    args = ap.parse_args()
    torch.set_num_threads(args.threads)
    parameter, images = load_hash_fill(args.golden).parameter, Images(args.data)
    first = images.indices(0)
    result = dict(
        model="resnet18", classes=images.classes, images=len(images.names), batch=BATCH,
        height=HEIGHT, width=WIDTH, mean=MEAN, std=STD, lr=RATE, momentum=0.9, nesterov=True,
        weight_decay=DECAY,
        order=dict(formula="(stride * k + offset) mod images, k = batch * step + j",
                   stride=STRIDE, offset=OFFSET),
        first_batch=dict(files=[images.names[i] for i in first],
                         labels=[images.labels[i] for i in first],
                         decoded_fnv1a64=[fnv1a(images.decoded(i).tobytes()) for i in first],
                         resized_fnv1a64=[fnv1a(images.resized(i).tobytes()) for i in first]),
        versions=dict(torch=torch.__version__, torchvision=torchvision.__version__,
                      pillow=PIL.__version__, libjpeg_turbo=features.version("libjpeg_turbo")),
        losses_float64=losses(images, parameter, torch.float64, args.steps64),
        losses_float32=losses(images, parameter, torch.float32, args.steps32))
    result["other_float32"] = other_runs(args.also, result)
    with open(args.out, "w") as f:
        json.dump(result, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
