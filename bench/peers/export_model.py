#!/usr/bin/env python3
"""Writes torchvision's network with random weights, in evaluation mode, for the other programs:
NAME-HxW.onnx (any batch), .pt (torch's state dictionary), .safetensors and, last, .json with its
multiply-adds per image and number of parameters."""
import argparse
import json
import os
import struct
import warnings

import peer
import torch_bench


def write_safetensors(state, path):
    """Eight bytes of header length, a JSON header, the elements; float and int64 tensors."""
    header, offset = {}, 0
    for name, tensor in state.items():
        size = tensor.numel() * tensor.element_size()
        kind = "F32" if tensor.is_floating_point() else "I64"
        header[name] = dict(dtype=kind, shape=list(tensor.shape),
                            data_offsets=[offset, offset + size])
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in state.values():
            file.write(tensor.contiguous().numpy().tobytes())


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--model", required=True, help="a torchvision classification network")
    ap.add_argument("--size", default="224", help="S or HxW")
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--out", required=True, metavar="DIR")
    args = ap.parse_args()
    torch, torchvision = peer.require("torch", "torchvision")
    warnings.simplefilter("ignore")
    torch.manual_seed(args.seed)
    height, width = (int(v) for v in (args.size.split("x") * 2)[:2])
    net = torch_bench.network(torchvision, args.model).eval()
    os.makedirs(args.out, exist_ok=True)
    stem = os.path.join(args.out, f"{args.model}-{height}x{width}")
    # The older exporter: the newer one needs two more packages and takes many times as long.
    torch.onnx.export(net, (torch.zeros(1, 3, height, width),), stem + ".onnx", dynamo=False,
                      input_names=["images"], output_names=["logits"],
                      dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}})
    torch.save(net.state_dict(), stem + ".pt")
    write_safetensors(net.state_dict(), stem + ".safetensors")
    facts = dict(macs=torch_bench.multiply_adds(torch, net, height, width),
                 parameters=sum(p.numel() for p in net.parameters()))
    with open(stem + ".json.new", "w", encoding="utf-8") as file:
        json.dump(facts, file)
    os.replace(stem + ".json.new", stem + ".json")  # the others are there once this one is
    print(stem)


if __name__ == "__main__":
    main()
