#!/usr/bin/env python3
"""Makes torch.safetensors with the safetensors package: one tensor of every dtype.

  python3 tests/io/golden/make_safetensors.py [--out tests/io/golden/torch.safetensors]
  python3 tests/io/golden/make_safetensors.py --check FILE    compares FILE's tensors with them

Values: element i is (i - 2) * 1.5, i - 2 for integers, i for u8, i % 2 for bool.
"""
import argparse
import os
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file

DTYPES = {"f32": torch.float32, "f64": torch.float64, "f16": torch.float16,
          "bf16": torch.bfloat16, "i64": torch.int64, "i32": torch.int32, "u8": torch.uint8,
          "bool": torch.bool}


def tensors():
    result = {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3)}
    for name, dtype in DTYPES.items():
        i = torch.arange(6, dtype=torch.float64)
        values = (i - 2) * 1.5 if dtype.is_floating_point else i - 2
        if name == "u8":
            values = i
        elif name == "bool":
            values = i % 2
        result[name] = values.to(dtype).reshape(2, 3)
    return result


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default=os.path.join(here, "torch.safetensors"))
    parser.add_argument("--check")
    args = parser.parse_args()
    if not args.check:
        save_file(tensors(), args.out, metadata={"made by": "safetensors", "unit": "\u00e4"})
        return
    expected = tensors()
    with safe_open(args.check, "pt") as file:
        print("metadata", file.metadata())
        bad = set(file.keys()) ^ set(expected)
        for name in file.keys():
            t = file.get_tensor(name)
            if name in expected and not (t.dtype == expected[name].dtype
                                         and torch.equal(t, expected[name])):
                bad.add(name)
    sys.exit(f"differs: {sorted(bad)}" if bad else 0)


if __name__ == "__main__":
    main()
