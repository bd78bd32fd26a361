#!/usr/bin/env python3
"""Trains a re-identification network from scratch with PyTorch, to compare Tessera's run with.

  python3 scripts/oracle/train_reid_torch.py --data DIR --model resnet18 --seed 0 --json result.json

DIR has the Market-1501 layout (bounding_box_train, query, bounding_box_test; PPPP_cC..._*.jpg). The
network is torchvision's, weights drawn anew (convolutions Kaiming-normal by fan-out, batch norms 1
and 0), average-pooled, followed by the baseline's head: linear 512 with bias, batch norm, dropout,
linear to the classes. Images are decoded once and kept in memory as bytes, so an epoch's seconds
hold augmentation, forward, backward and update, but no decoding.

The rules, in the order in which they act on a training image of H x W:
  resize    Pillow bicubic to H x W (no change when the file already has that size)
  crop      10 pixels of black on each side, then a random H x W window
  flip      left-right with probability 0.5
  scale     / 255, minus the ImageNet mean, over the ImageNet deviation
  erase     with probability --erasing-p one random rectangle of zeros (area 2-40 %, aspect 0.3-3.3)
Every epoch visits a new permutation, the incomplete last batch is dropped. SGD with Nesterov
momentum 0.9 and weight decay on all parameters. The rate falls once per epoch: by the cosine from
lr to lr / 100, or by 10 after two thirds of the epochs. During the first --warm-epoch epochs the
loss (not the rate) is multiplied by a factor that grows linearly, step by step, from 0.1 to 1.

A test feature is the batch norm's output in evaluation mode, summed over the image and its mirror
image and scaled to length 1. Gallery images of the query's identity and camera are left out; Rank@k
and mAP are means over all queries. mAP is the Market-1501 trapezoid; mAP_rect the plain average
precision.
"""
import argparse
import json
import math
import os
import re
import resource
import time

import numpy as np
import PIL
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import nn

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
PATTERN = re.compile(r"^(-?\d+)_c(\d)")
PAD = 10


def load_folder(folder, size):
    """Images (N, H, W, 3) uint8 in file-name order, identities and cameras."""
    images, ids, cams = [], [], []
    for name in sorted(os.listdir(folder)):
        match = PATTERN.match(name)
        if not match:
            continue
        with Image.open(os.path.join(folder, name)) as im:
            im = im.convert("RGB")
            if im.size != (size[1], size[0]):
                im = im.resize((size[1], size[0]), Image.BICUBIC)
            images.append(np.asarray(im))
        ids.append(int(match.group(1)))
        cams.append(int(match.group(2)))
    if not images:
        raise SystemExit(f"{folder}: no images named like 0001_c1s1_000000_00.jpg")
    return np.stack(images), np.array(ids), np.array(cams)


class ReidNet(nn.Module):
    """ResNet with its fc replaced by linear - batch norm - dropout - classifier."""

    def __init__(self, model, classes, last_stride, width, dropout):
        super().__init__()
        self.model = getattr(torchvision.models, model)(weights=None)
        features = self.model.fc.in_features
        self.model.fc = nn.Identity()
        if last_stride == 1:
            block = self.model.layer4[0]
            block.downsample[0].stride = (1, 1)
            (block.conv2 if hasattr(block, "conv3") else block.conv1).stride = (1, 1)
        self.linear = nn.Linear(features, width)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, classes)
        nn.init.normal_(self.linear.weight, 0, math.sqrt(2.0 / width))
        nn.init.zeros_(self.linear.bias)
        nn.init.normal_(self.norm.weight, 1.0, 0.02)
        nn.init.zeros_(self.norm.bias)
        nn.init.normal_(self.classifier.weight, 0, 1e-4)
        nn.init.zeros_(self.classifier.bias)

    def embed(self, x):
        return self.norm(self.linear(self.model(x)))

    def forward(self, x):
        return self.classifier(self.dropout(self.embed(x)))

    def head_parameters(self):
        for part in (self.linear, self.norm, self.classifier):
            yield from part.parameters()


def to_tensor(batch):
    """(N, H, W, 3) uint8 -> normalised (N, 3, H, W) in channels_last memory."""
    x = (batch.astype(np.float32) / 255.0 - MEAN) / STD
    return torch.from_numpy(np.ascontiguousarray(x)).permute(0, 3, 1, 2)


def erase(x, rng):
    """One rectangle of zeros in the normalised image x (H, W, 3), in place."""
    height, width = x.shape[:2]
    for _ in range(100):
        area = rng.uniform(0.02, 0.4) * height * width
        aspect = rng.uniform(0.3, 1 / 0.3)
        h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if h < height and w < width:
            top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
            x[top:top + h, left:left + w] = 0
            return


def augment(images, indices, erasing_p, rng):
    height, width = images.shape[1:3]
    out = np.empty((len(indices), height, width, 3), np.float32)
    for row, index in enumerate(indices):
        padded = np.zeros((height + 2 * PAD, width + 2 * PAD, 3), np.uint8)
        padded[PAD:PAD + height, PAD:PAD + width] = images[index]
        top, left = rng.integers(0, 2 * PAD + 1, 2)
        crop = padded[top:top + height, left:left + width]
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        out[row] = (crop.astype(np.float32) / 255.0 - MEAN) / STD
        if rng.random() < erasing_p:
            erase(out[row], rng)
    return torch.from_numpy(out).permute(0, 3, 1, 2)


def epoch_rate(args, epoch):
    """Learning rate over its starting value."""
    if args.schedule == "cosine":
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * epoch / args.epochs))
    return 0.1 ** (epoch // (2 * args.epochs // 3))


@torch.no_grad()
def extract(net, images, batch=64):
    net.eval()
    parts = []
    for start in range(0, len(images), batch):
        x = to_tensor(images[start:start + batch])
        parts.append(F.normalize(net.embed(x) + net.embed(x.flip(3)), dim=1))
    return torch.cat(parts).numpy()


def evaluate(query, gallery):
    """Each argument is (features, identities, cameras). Returns Rank@1/5/10 and the two mAPs."""
    (qf, qi, qc), (gf, gi, gc) = query, gallery
    cmc, trapezoid, rectangle, skipped = np.zeros(len(gi)), 0.0, 0.0, 0
    for feature, identity, camera in zip(qf, qi, qc):
        order = np.argsort(-(gf @ feature), kind="stable")
        junk = (gi == -1) | ((gi == identity) & (gc == camera))
        order = order[~junk[order]]
        ranks = np.flatnonzero(gi[order] == identity)
        if not len(ranks):
            skipped += 1
            continue
        cmc[ranks[0]:] += 1
        hits = np.arange(len(ranks))
        before = np.where(ranks > 0, hits / np.maximum(ranks, 1), 1.0)
        after = (hits + 1) / (ranks + 1)
        trapezoid += np.mean((before + after) / 2)
        rectangle += np.mean(after)
    n = len(qi)
    return dict(rank1=cmc[0] / n, rank5=cmc[4] / n, rank10=cmc[9] / n, mAP=trapezoid / n,
                mAP_rect=rectangle / n, queries=n, queries_without_match=skipped)


def test(net, data, size):
    sets = []
    for name in ("query", "bounding_box_test"):
        images, ids, cams = load_folder(os.path.join(data, name), size)
        sets.append((extract(net, images), ids, cams))
    return evaluate(*sets)


def train_epoch(net, optimizer, images, labels, args, rng, epoch, warm):
    net.train()
    order = rng.permutation(len(images))
    steps = len(images) // args.batch
    loss_sum = correct = 0.0
    for step in range(steps):
        indices = order[step * args.batch:(step + 1) * args.batch]
        x, target = augment(images, indices, args.erasing_p, rng), labels[indices]
        optimizer.zero_grad(set_to_none=True)
        logits = net(x)
        loss = F.cross_entropy(logits, target)
        if epoch < args.warm_epoch:
            warm = min(1.0, warm + 0.9 / (round(len(images) / args.batch) * args.warm_epoch))
        (loss * (warm if args.warm_epoch else 1.0)).backward()
        optimizer.step()
        loss_sum += loss.item()
        correct += (logits.argmax(1) == target).float().mean().item()
    return loss_sum / steps, correct / steps, warm


def save_state(path, net, optimizer, rng, warm, rows):
    torch.save(dict(net=net.state_dict(), optimizer=optimizer.state_dict(), warm=warm, rows=rows,
                    numpy=rng.bit_generator.state, torch=torch.get_rng_state()), path + ".part")
    os.replace(path + ".part", path)


def load_state(path, net, optimizer, rng):
    state = torch.load(path, weights_only=False)
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])
    rng.bit_generator.state = state["numpy"]
    torch.set_rng_state(state["torch"])
    return state["warm"], state["rows"]


def run(args):
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(args.seed)
    size = tuple(int(v) for v in args.size.split("x"))
    images, ids, _ = load_folder(os.path.join(args.data, "bounding_box_train"), size)
    classes, labels = np.unique(ids, return_inverse=True)
    labels = torch.from_numpy(labels)
    net = ReidNet(args.model, len(classes), args.stride, 512, args.droprate)
    net = net.to(memory_format=torch.channels_last)
    head = list(net.head_parameters())
    known = {id(p) for p in head}
    groups = [dict(params=[p for p in net.parameters() if id(p) not in known],
                   scale=args.backbone_lr_scale), dict(params=head, scale=1.0)]
    optimizer = torch.optim.SGD(groups, lr=args.lr, momentum=0.9, nesterov=True,
                                weight_decay=args.weight_decay)
    result = dict(config=vars(args), torch=torch.__version__, pillow=PIL.__version__,
                  torchvision=torchvision.__version__, images=len(images), classes=len(classes),
                  parameters=sum(p.numel() for p in net.parameters()), epochs=[])
    warm = 0.1
    if args.state and os.path.exists(args.state):
        warm, result["epochs"] = load_state(args.state, net, optimizer, rng)
    for epoch in range(len(result["epochs"]), args.epochs):
        for group in optimizer.param_groups:
            group["lr"] = args.lr * group["scale"] * epoch_rate(args, epoch)
        start = time.perf_counter()
        loss, accuracy, warm = train_epoch(net, optimizer, images, labels, args, rng, epoch, warm)
        row = dict(epoch=epoch + 1, lr=optimizer.param_groups[1]["lr"], loss=loss,
                   accuracy=accuracy, seconds=time.perf_counter() - start)
        if args.eval_every and (epoch + 1) % args.eval_every == 0 and epoch + 1 < args.epochs:
            row.update(test(net, args.data, size))
        print(json.dumps(row), flush=True)
        result["epochs"].append(row)
        if args.state:
            save_state(args.state, net, optimizer, rng, warm, result["epochs"])
    result["peak_rss_train_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result["seconds_per_epoch"] = float(np.median([row["seconds"] for row in result["epochs"]]))
    result["test"] = test(net, args.data, size)
    result["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result["test"]), flush=True)
    if args.json:
        with open(args.json + ".part", "w") as f:
            json.dump(result, f, indent=1)
        os.replace(args.json + ".part", args.json)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--data", required=True, help="folder in the Market-1501 layout")
    ap.add_argument("--model", default="resnet18", help="a torchvision ResNet")
    ap.add_argument("--epochs", type=int, default=20)
    ap.add_argument("--batch", type=int, default=32)
    ap.add_argument("--lr", type=float, default=0.02)
    ap.add_argument("--backbone-lr-scale", type=float, default=1.0,
                    help="backbone rate over head rate (0.1 suits a pretrained backbone)")
    ap.add_argument("--weight-decay", type=float, default=5e-4)
    ap.add_argument("--schedule", choices=["cosine", "step"], default="cosine")
    ap.add_argument("--warm-epoch", type=int, default=0)
    ap.add_argument("--droprate", type=float, default=0.5)
    ap.add_argument("--erasing-p", type=float, default=0.0)
    ap.add_argument("--stride", type=int, choices=[1, 2], default=1, help="of the last stage")
    ap.add_argument("--size", default="128x64", help="height x width")
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--eval-every", type=int, default=0, help="epochs between evaluations, 0: end")
    ap.add_argument("--state", help="file written after each epoch; resumed from if it exists")
    ap.add_argument("--json", help="result file")
    run(ap.parse_args())


if __name__ == "__main__":
    main()
