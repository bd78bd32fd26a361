"""What the peers of `tessera bench` share: options, timing and the JSON object they print.

Standard library only: a peer imports its engine with require() after parse() has set the thread
variables, so that a missing engine is reported and the threads are honoured from the first import.
"""
import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

CLASSES = 1000


def parser(doc, modes=("infer", "cold")):
    ap = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("--model", default="resnet50", help="a torchvision classification network")
    ap.add_argument("--batch", type=int, default=8)
    ap.add_argument("--size", default="224", help="S or HxW")
    ap.add_argument("--mode", choices=modes, default="infer")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--steps", type=int, default=5, help="timed steps at least")
    ap.add_argument("--seconds", type=float, default=5.0, help="timed seconds at least")
    ap.add_argument("--warmup", type=int, default=3, help="steps before")
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--files", metavar="DIR",
                    help="keep exported networks here (default: a temporary folder)")
    ap.add_argument("--version", action="store_true", help="only say which engine this is")
    ap.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return ap


def parse(ap):
    args = ap.parse_args()
    args.height, args.width = (int(v) for v in (args.size.split("x") * 2)[:2])
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(args.threads)
    return args


def require(*names):
    """The modules of these names; where one is missing, {"absent": why} is printed and the program
    ends with 0: a peer that is not installed is no error."""
    try:
        modules = [importlib.import_module(name) for name in names]
    except ImportError as error:
        print(json.dumps({"absent": str(error)}))
        sys.exit(0)
    return modules[0] if len(modules) == 1 else modules


def exported(args, directory):
    """The path of args.model below directory without its ending: export_model.py makes the files
    where they are missing, in a process of its own, so that this one's peak memory is the
    engine's alone."""
    stem = os.path.join(directory, f"{args.model}-{args.height}x{args.width}")
    if not os.path.exists(stem + ".json"):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "export_model.py")
        done = subprocess.run(
            [sys.executable, script, "--model", args.model, "--size", args.size, "--seed",
             str(args.seed), "--out", directory], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
            sys.exit(f"{args.model} cannot be exported: {reason}")
        if not os.path.exists(stem + ".json"):  # the exporter's own absent engine
            print(done.stdout.strip())
            sys.exit(0)
    return stem


def counts(stem):
    """What export_model.py counted: macs (of one image) and parameters."""
    with open(stem + ".json", encoding="utf-8") as file:
        return json.load(file)


def peak_rss_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # 1 MB = 2^20 bytes


def measure(step, args):
    """Seconds of each timed step, sorted."""
    for _ in range(args.warmup):
        step()
    times, begin = [], time.perf_counter()
    while len(times) < args.steps or time.perf_counter() - begin < args.seconds:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return sorted(times)


def percentile(times, p):
    """The nearest of the sorted times, as `tessera bench` has it."""
    return times[int(p * (len(times) - 1) + 0.5)]


def described(args, program):
    return dict(program=program, model=args.model, batch=args.batch, height=args.height,
                width=args.width, mode=args.mode, threads=args.threads)


def steps_result(args, program, times, peak_mb, macs, parameters, **more):
    """The object of modes infer and train. macs are those of one image's forward pass."""
    median = percentile(times, 0.5)
    operations = 2 * macs * args.batch * (3 if args.mode == "train" else 1)
    quantiles = dict(p10=0.1, p50=0.5, p90=0.9, min=0, max=1)
    return dict(
        described(args, program), **more, parameters=parameters, steps=len(times),
        images_per_second=round(args.batch / median, 3), gflops=round(operations / median / 1e9, 3),
        peak_rss_mb=round(peak_mb, 1),
        step_ms={name: round(1e3 * percentile(times, p), 4) for name, p in quantiles.items()})


def cold_result(args, program, begin, created, finished, **more):
    """The object of mode cold: time.monotonic() when the engine was asked for, when the network was
    ready and when the first prediction was there. Whoever started the process subtracts its own
    clock from finished_at: Linux has one monotonic clock for all processes."""
    return dict(described(args, program), **more, weights="file",
                create_ms=round(1e3 * (created - begin), 3),
                predict_ms=round(1e3 * (finished - created), 3), finished_at=finished,
                peak_rss_mb=round(peak_rss_mb(), 1))


def main(ap, version, run):
    """Parses the arguments and prints run(args, directory of exported networks)."""
    args = parse(ap)
    if args.version:
        print(json.dumps({"program": version()}))
        return
    with tempfile.TemporaryDirectory() as scratch:
        directory = args.files or scratch
        os.makedirs(directory, exist_ok=True)
        result = run(args, directory)
    if args.json:
        print(json.dumps(result))
        return
    head = f"{result['program']}: {args.model} {args.mode} batch {args.batch}: "
    if args.mode == "cold":
        print(head + f"ready after {result['create_ms']} ms, predicted {result['predict_ms']} ms "
              f"later, peak memory {result['peak_rss_mb']} MB")
    else:
        print(head + f"{result['images_per_second']} images/s, {result['gflops']} GFLOP/s, step "
              f"{result['step_ms']['p50']} ms, peak memory {result['peak_rss_mb']} MB")
