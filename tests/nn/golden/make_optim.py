#!/usr/bin/env python3
"""Makes optim.json: what PyTorch's optimizers and schedulers compute in float64.

  python3 tests/nn/golden/make_optim.py [--out tests/nn/golden/optim.json]

Optimizers  three parameters of 6, 4 and 1 elements with the stored start values and gradients (one
            row per step; null: the parameter has no gradient in that step). Parameters 0 and 1 form
            the first group, parameter 2 the second with its own rate and decay. `steps` holds the
            parameters after every step.
Schedules   `rates` holds the learning rate of each group before step t, t = 0, 1, ...
"""
import argparse
import json
import math
import os

import torch
from torch.optim import lr_scheduler as ls

SIZES, STEPS = (6, 4, 1), 7
SECOND_GROUP = {"lr": 0.02, "weight_decay": 0.03}
OPTIMIZERS = [
    ("sgd", "sgd", {"lr": 0.1}),
    ("sgd_decay", "sgd", {"lr": 0.1, "weight_decay": 0.05}),
    ("sgd_momentum", "sgd", {"lr": 0.05, "momentum": 0.9}),
    ("sgd_dampening", "sgd", {"lr": 0.05, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.01}),
    ("sgd_nesterov", "sgd", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}),
    ("adam", "adam", {"lr": 0.01}),
    ("adam_decay", "adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    ("adam_amsgrad", "adam", {"lr": 0.05, "amsgrad": True, "betas": (0.5, 0.7)}),
    ("adamw", "adamw", {"lr": 0.01, "weight_decay": 0.1}),
    ("adamw_amsgrad", "adamw", {"lr": 0.05, "weight_decay": 0.1, "amsgrad": True,
                                "betas": (0.5, 0.7)}),
    ("rmsprop", "rmsprop", {"lr": 0.01}),
    ("rmsprop_momentum", "rmsprop", {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.02}),
    ("rmsprop_centered", "rmsprop", {"lr": 0.01, "centered": True, "alpha": 0.9, "eps": 1e-3}),
    ("rmsprop_all", "rmsprop", {"lr": 0.01, "centered": True, "momentum": 0.5, "alpha": 0.8,
                                "weight_decay": 0.1}),
]
CLASSES = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW,
           "rmsprop": torch.optim.RMSprop}


def wave(a, b, c):
    return math.sin(0.9 * a + 1.7 * b + 0.4 * c) * (1 + 0.2 * b)


def run_optimizer(name, kind, options):
    start = [[wave(i, k, 3) for i in range(n)] for k, n in enumerate(SIZES)]
    parameters = [torch.tensor(s, dtype=torch.float64) for s in start]
    groups = [{"params": parameters[:2]}, {"params": parameters[2:], **SECOND_GROUP}]
    optimizer = CLASSES[kind](groups, foreach=False, **options)
    grads, steps = [], []
    for t in range(STEPS):
        row = []
        for k, n in enumerate(SIZES):
            # Parameter 1 joins at step 2 and pauses at step 4.
            g = None if k == 1 and t in (0, 1, 4) else [wave(i, k, 5 * t) for i in range(n)]
            parameters[k].grad = None if g is None else torch.tensor(g, dtype=torch.float64)
            row.append(g)
        optimizer.step()
        grads.append(row)
        steps.append([p.tolist() for p in parameters])
    return {"name": name, "kind": kind, "options": options, "second_group": SECOND_GROUP,
            "start": start, "grads": grads, "steps": steps}


RATES = (0.05, 0.005)
SCHEDULES = [
    ("step", 12, {"step_size": 3, "gamma": 0.5}, lambda o, a: ls.StepLR(o, **a)),
    ("multi_step", 12, {"milestones": [2, 5, 9], "gamma": 0.3}, lambda o, a: ls.MultiStepLR(o, **a)),
    ("exponential", 12, {"gamma": 0.8}, lambda o, a: ls.ExponentialLR(o, **a)),
    ("cosine", 12, {"total": 11, "eta_min": 0.001},
     lambda o, a: ls.CosineAnnealingLR(o, a["total"], a["eta_min"])),
    ("linear", 12, {"start": 0.25, "end": 0.8, "total": 7},
     lambda o, a: ls.LinearLR(o, a["start"], a["end"], a["total"])),
    ("polynomial", 12, {"total": 9, "power": 0.9},
     lambda o, a: ls.PolynomialLR(o, a["total"], a["power"])),
    ("one_cycle", 20, {"max_rate": 0.3, "total": 20, "warm": 0.3, "div": 25, "final_div": 1e4,
                       "cosine": True}, None),
    ("one_cycle", 17, {"max_rate": 0.3, "total": 17, "warm": 0.45, "div": 10, "final_div": 100,
                       "cosine": False}, None),
    ("cyclic", 22, {"max_rate": 0.4, "half": 4, "decay": 1},
     lambda o, a: ls.CyclicLR(o, list(RATES), a["max_rate"], a["half"], cycle_momentum=False)),
    ("cyclic", 22, {"max_rate": 0.4, "half": 3, "decay": 0.5},
     lambda o, a: ls.CyclicLR(o, list(RATES), a["max_rate"], a["half"], mode="triangular2",
                              cycle_momentum=False)),
    ("warmup_cosine", 16, {"start": 0.1, "steps": 4, "total": 11},
     lambda o, a: ls.SequentialLR(o, [ls.LinearLR(o, a["start"], 1, a["steps"]),
                                      ls.CosineAnnealingLR(o, a["total"])], [a["steps"]])),
    ("warmup_step", 16, {"start": 0.1, "steps": 5, "step_size": 3, "gamma": 0.5},
     lambda o, a: ls.SequentialLR(o, [ls.LinearLR(o, a["start"], 1, a["steps"]),
                                      ls.StepLR(o, a["step_size"], a["gamma"])], [a["steps"]])),
    ("chain", 16, {"milestones": [3, 8]},
     lambda o, a: ls.SequentialLR(o, [ls.ConstantLR(o, 0.5, 100), ls.ExponentialLR(o, 0.7),
                                      ls.LinearLR(o, 0.2, 1, 5)], a["milestones"])),
]


def run_schedule(kind, steps, arguments, make):
    groups = [{"params": [torch.zeros(1)], "lr": r} for r in RATES]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    if kind == "one_cycle":
        schedule = ls.OneCycleLR(
            optimizer, arguments["max_rate"], arguments["total"], pct_start=arguments["warm"],
            anneal_strategy="cos" if arguments["cosine"] else "linear", cycle_momentum=False,
            div_factor=arguments["div"], final_div_factor=arguments["final_div"])
    else:
        schedule = make(optimizer, arguments)
    rates = []
    for t in range(steps):
        rates.append([g["lr"] for g in optimizer.param_groups])
        optimizer.step()
        if t + 1 < steps:
            schedule.step()
    return {"kind": kind, "arguments": arguments, "initial": RATES, "rates": rates}


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default=os.path.join(here, "optim.json"))
    out = parser.parse_args().out
    result = {"torch": torch.__version__.split("+")[0],
              "optimizers": [run_optimizer(*o) for o in OPTIMIZERS],
              "schedules": [run_schedule(*s) for s in SCHEDULES]}
    with open(out, "w") as f:
        json.dump(result, f, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main()
