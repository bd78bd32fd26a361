#!/usr/bin/env python3
"""bench/compare with programs that only pretend, and its tables from stored figures."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMPARE = os.path.join(ROOT, "bench", "compare")
sys.path.insert(0, os.path.join(ROOT, "bench"))
sys.path.insert(0, os.path.join(ROOT, "bench", "peers"))
from harness import tables  # noqa: E402
import peer  # noqa: E402

# A program that answers as tessera, a peer or the peak program do. ME names it, MS is its step time
# for one image; every call is written to the file LOG with the thread variable it was given.
FAKE = """#!{python}
import json, os, sys, time
ME, MS, LOG, VERSION, FAILS = {me!r}, {ms!r}, {log!r}, {version!r}, {fails!r}
args = sys.argv[1:]
def option(name, default=None):
    return args[args.index(name) + 1] if name in args else default
if "--version" in args:
    print(VERSION); sys.exit()
if "--list" in args:
    print(json.dumps(["net_a", "net_b", "only_theirs"])); sys.exit()
if "models" in args:
    print(json.dumps([dict(name=n, input_size=64) for n in ("net_a", "net_b", "only_ours")]))
    sys.exit()
if "--out" in args:
    stem = os.path.join(option("--out"), option("--model") + "-64x64")
    open(stem + ".safetensors", "w").close(); print(stem); sys.exit()
who = ME + "".join(" " + a for a in args if a in ("nchw", "nhwc", "--compile"))
with open(LOG, "a") as log:
    print(who, option("--model"), option("--mode"), option("--threads"),
          os.environ["OMP_NUM_THREADS"], "weights" if "--weights" in args else "", file=log)
if ME == "peak":
    gflops = 100.0 * int(option("--threads"))
    print(json.dumps(dict(vectors="fake", fp32_gflops=gflops, copy_gb_s=5.0))); sys.exit()
kind = FAILS.get(who + " " + option("--model"))
if kind == "exit":
    print("some trace", file=sys.stderr); print("out of luck", file=sys.stderr); sys.exit(3)
if kind == "signal":
    os.kill(os.getpid(), 9)
if kind == "words":
    print("no figures today"); sys.exit()
if kind == "sleep":
    time.sleep(60)
batch, mode = int(option("--batch")), option("--mode")
speedup = 1.25 if "--compile" in args else 1 if "nhwc" in args else 0.5 if "nchw" in args else 1
ms = MS * batch / speedup
result = dict(program=VERSION, batch=batch, peak_rss_mb=MS * 10)
if mode == "cold":
    result.update(finished_at=time.monotonic(), weights="file")
else:
    result.update(images_per_second=1e3 * batch / ms, gflops=batch * 2.0 / ms * 1e3, parameters=7,
                  step_ms=dict(p10=0.9 * ms, p50=ms, p90=1.1 * ms, min=ms, max=ms))
print(json.dumps(result))
"""


class Fakes:
    """A folder of pretending programs."""

    def __init__(self, folder):
        self.folder, self.log = folder, os.path.join(folder, "log")
        self.fails = {}

    def write(self, name, me, ms, version):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(FAKE.format(python=sys.executable, me=me, ms=ms, log=self.log,
                                   version=version, fails=self.fails))
        os.chmod(path, 0o755)
        return path

    def all(self, openvino=True):
        said = lambda program: json.dumps({"program": program})
        self.write("tessera", "tessera", 100.0, "1.2.3")
        self.write("peak", "peak", 1.0, "")
        self.write("export_model.py", "export", 1.0, "")
        self.write("torch_bench.py", "torch", 150.0, said("PyTorch 9"))
        self.write("onnxruntime_bench.py", "ort", 80.0, json.dumps({"absent": "No module named x"}))
        if openvino:
            self.write("openvino_bench.py", "ov", 50.0, said("OpenVINO 8"))

    def command(self, *options):
        path = lambda name: os.path.join(self.folder, name)
        return [sys.executable, "-B", COMPARE, "--tessera", path("tessera"), "--peak", path("peak"),
                "--peers-dir", self.folder, "--json", path("out.json"), *options]

    def compare(self, *options, code=0):
        done = subprocess.run(self.command(*options), capture_output=True, text=True, check=False)
        if done.returncode != code:
            raise AssertionError(f"exit {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout if code == 0 else done.stderr

    def document(self):
        with open(os.path.join(self.folder, "out.json"), encoding="utf-8") as file:
            return json.load(file)

    def calls(self):
        if not os.path.exists(self.log):
            return []
        with open(self.log, encoding="utf-8") as file:
            return [line.split() for line in file]


def cells(text, start):
    """The cells of the only table row whose cells begin so."""
    rows = [[c.strip() for c in line.strip("| \n").split(" | ")]
            for line in text.splitlines() if line.startswith("| ")]
    found = [row for row in rows if row[:len(start)] == start]
    if len(found) != 1:
        raise AssertionError(f"{len(found)} rows begin with {start}:\n{text}")
    return found[0]


def section(text, title):
    parts = text.split("### ")
    return next(part for part in parts if part.startswith(title + "\n"))


class Compare(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.fakes = Fakes(scratch.name)

    def test_tables_of_a_run(self):
        self.fakes.all()
        text = self.fakes.compare("--modes", "infer,cold", "--batches", "4", "--threads", "2",
                                  "--rounds", "1", "--cold-models", "net_a", "--seconds", "0")
        row = cells(section(text, "Inference: Tessera and PyTorch"), ["net_a"])
        # 100 ms an image against 150 / 1.25: the compiled mode is the best.
        self.assertEqual(row, ["net_a", "4", "2", "10.0", "8.33 (compiled)", "1.20 (0.98–1.47)",
                               "20.0 / 16.7", "10 % / 8 %", "1000 / 1500", "0.67"])
        row = cells(section(text, "Inference: Tessera and OpenVINO"), ["net_b"])
        self.assertEqual(row[3:6], ["10.0", "20.0", "0.50 (0.41–0.61)"])
        self.assertIn("onnxruntime: absent (No module named x)", text)
        self.assertNotIn("Tessera and onnxruntime", text)
        self.assertNotIn("only_", text)  # what only one side has is not compared
        self.assertEqual(cells(section(text, "Geometric means"), ["inference", "PyTorch"])[2:],
                         ["4", "2", "2", "1.20", "1.20", "0.67"])
        cold = section(text, "Cold start")
        self.assertEqual(cells(cold, ["net_a", "2", "Tessera"])[4:], ["1.00", "1000", "file"])
        self.assertGreater(float(cells(cold, ["net_a", "2", "OpenVINO"])[3].split()[0]), 1)

    def test_programs_take_turns_with_their_threads(self):
        self.fakes.all()
        self.fakes.compare("--models", "net_a", "--modes", "train,cold", "--batches", "1",
                           "--threads", "1,2", "--rounds", "2", "--peers", "nhwc,openvino",
                           "--cold-models", "net_a")
        calls = self.fakes.calls()
        self.assertEqual([c[0] for c in calls if "train" in c], ["tessera", "torch"] * 4)
        self.assertEqual([c[0] for c in calls if "cold" in c], ["tessera", "torch", "ov"] * 12)
        self.assertEqual(sum(c[0] == "peak" for c in calls), 4)
        for call in calls:  # threads asked for by option and variable alike
            numbers = [word for word in call if word in ("1", "2")]
            self.assertEqual(len(numbers), 2, call)
            self.assertEqual(numbers[0], numbers[1], call)
        ours = [c for c in calls if c[0] == "tessera" and "cold" in c]
        self.assertTrue(all(c[-1] == "weights" for c in ours))
        document = self.fakes.document()
        self.assertEqual(len(document["runs"]), 8 + 36)
        for key in ("cpu", "processors", "kernel"):
            self.assertTrue(document["machine"][key], key)
        self.assertEqual(document["programs"], {"Tessera": "Tessera 1.2.3", "PyTorch": "PyTorch 9",
                                                "OpenVINO": "OpenVINO 8"})

    def test_failures_are_rows(self):
        self.fakes.fails = {"torch nhwc --compile net_a": "exit", "ov net_a": "words",
                            "torch nchw net_b": "signal", "torch nhwc net_b": "sleep",
                            "torch nhwc --compile net_b": "exit"}
        self.fakes.all()
        begin = time.monotonic()
        text = self.fakes.compare("--modes", "infer", "--batches", "1", "--threads", "1",
                                  "--rounds", "1", "--timeout", "10")
        self.assertLess(time.monotonic() - begin, 50)
        torch = section(text, "Inference: Tessera and PyTorch")
        # The compiled mode failed: the next best counts, and a note says so.
        self.assertEqual(cells(torch, ["net_a"])[4:6],
                         ["6.67 (channels last)", "1.50 (1.23–1.83)"])
        self.assertIn("- net_a, batch 1, 1 thread: PyTorch compiled: 1 of 1 runs failed: "
                      "exit 3: out of luck", torch)
        # All modes failed: a row without figures.
        self.assertEqual(cells(torch, ["net_b"])[3:],
                         ["10.0", "failed: ended by SIGKILL"] + ["–"] * 5)
        self.assertIn("PyTorch channels last: 1 of 1 runs failed: not done after 10 s", torch)
        openvino = section(text, "Inference: Tessera and OpenVINO")
        self.assertEqual(cells(openvino, ["net_a"])[4],
                         "failed: printed no JSON: 'no figures today'")
        self.assertEqual(cells(section(text, "Geometric means"), ["inference", "PyTorch"])[4:6],
                         ["1", "1.50"])  # of the rows that have a ratio

    def test_interrupted(self):
        self.fakes.fails = {"torch nhwc net_a": "sleep"}
        self.fakes.all()
        command = self.fakes.command("--modes", "infer", "--models", "net_b,net_a", "--batches",
                                     "1", "--threads", "1", "--peers", "nhwc")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as process:
            while not any(call[:3] == ["torch", "nhwc", "net_a"] for call in self.fakes.calls()):
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)  # the sleeper is not waited for
        self.assertEqual(process.returncode, 130, err)
        torch = section(out, "Inference: Tessera and PyTorch")
        self.assertEqual(cells(torch, ["net_b"])[3], "10.0")
        self.assertEqual(len(self.fakes.document()["runs"]), 3)

    def test_absent_programs(self):
        self.fakes.all(openvino=False)
        os.remove(os.path.join(self.fakes.folder, "peak"))
        text = self.fakes.compare("--modes", "infer", "--models", "only_ours", "--batches", "1",
                                  "--threads", "1", "--rounds", "1", "--peers", "openvino")
        self.assertIn("OpenVINO: absent (no ", text)
        self.assertIn("Peak on 1 thread: not measured", text)
        os.remove(os.path.join(self.fakes.folder, "tessera"))
        self.assertIn("cannot run", self.fakes.compare(code=2))

    def test_wrong_arguments(self):
        self.fakes.all()
        for options, part in ((["--models", "net_c", "--modes", "infer"],
                               "Tessera has no net_c (it has net_a, net_b"),
                              (["--modes", "sleep"], "'sleep' is not among"),
                              (["--threads", "0"], "numbers from 1"),
                              (["--rounds", "0"], "--rounds"),
                              (["--from", "/nowhere/x.json"], "/nowhere/x.json")):
            self.assertIn(part, self.fakes.compare(*options, code=2))

    def test_stored_figures_make_the_same_tables(self):
        self.fakes.all()
        text = self.fakes.compare("--models", "net_a", "--modes", "train", "--batches", "1",
                                  "--threads", "1", "--rounds", "1")
        stored = os.path.join(self.fakes.folder, "out.json")
        os.remove(self.fakes.log)
        self.assertEqual(self.fakes.compare("--from", stored), text)
        self.assertFalse(os.path.exists(self.fakes.log))


def record(group, entrant, number, ms, **more):
    result = dict(images_per_second=1, gflops=more.pop("gflop", 4.0) / ms * 1e3, peak_rss_mb=100,
                  parameters=more.pop("parameters", 7), step_ms=dict(p10=ms, p50=ms, p90=ms))
    return dict(model="net", mode="infer", batch=2, threads=1, entrant=entrant, group=group,
                variant="", round=number, result=result, error=None, **more)


def document(runs):
    return dict(date="today", command="bench/compare", seconds=1, rounds=3, programs={}, absent={},
                machine=dict(cpu="cpu", cpu_family_model="", instructions=[],
                             usable_processors=1, processors=1,
                             system="s", kernel="k", load_at_start=0.1),
                rows=[dict(model="net", mode="infer", batch=2, threads=1)], peaks=[], runs=runs)


class Tables(unittest.TestCase):
    def test_medians_over_rounds(self):
        runs = [record("Tessera", "tessera", i, ms) for i, ms in enumerate((10, 100, 20))]
        runs += [record("OpenVINO", "openvino", i, ms) for i, ms in enumerate((30, 50, 1))]
        row = cells(tables.markdown(document(runs)), ["net"])
        self.assertEqual(row[3:6], ["100", "66.7", "1.50 (1.50–1.50)"])
        self.assertEqual(row[7], "– / –")  # no peak, no share

    def test_unequal_networks_are_told(self):
        text = tables.markdown(document([record("Tessera", "tessera", 1, 10),
                                         record("OpenVINO", "openvino", 1, 10, gflop=4.1,
                                                parameters=8)]))
        self.assertIn("counted unequally: Tessera 4.00, OpenVINO 4.10 billions", text)
        self.assertIn("7 (Tessera) and 8 (OpenVINO) parameters", text)

    def test_numbers(self):
        self.assertEqual([tables.number(v) for v in (0.01234, 1.234, 12.34, 123.4, 1234.0)],
                         ["0.0123", "1.23", "12.3", "123", "1234"])
        self.assertAlmostEqual(tables.geometric_mean([0.5, 2, 8]), 2)


class Peer(unittest.TestCase):
    def test_object_of_a_measurement(self):
        args = peer.parser("", ("infer", "train")).parse_args(
            ["--batch", "2", "--mode", "train", "--steps", "3", "--seconds", "0"])
        args.height = args.width = 8
        calls = []
        self.assertEqual(len(peer.measure(lambda: calls.append(1), args)), 3)
        self.assertEqual(len(calls), 6)  # three to warm up
        result = peer.steps_result(args, "p", [0.1, 0.2, 0.4], 5, macs=1e9, parameters=7)
        self.assertEqual(result["images_per_second"], 10)
        self.assertEqual(result["gflops"], 2 * 2 * 3 / 0.2)  # operations, images, passes
        self.assertEqual(result["step_ms"], dict(p10=100, p50=200, p90=400, min=100, max=400))


if __name__ == "__main__":
    unittest.main()
