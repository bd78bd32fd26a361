#!/usr/bin/env python3
"""bench/limits with programs that only pretend."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIMITS = os.path.join(ROOT, "bench", "limits")
PEAK = dict(fp32_gflops=200.0, copy_gb_s=50.0)


def row(name, time, unit, **more):
    return dict(name=name, run_type="iteration", real_time=time, time_unit=unit, **more)


class Limits(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.program("peak_bench", json.dumps(PEAK))
        for name in ("norm_bench", "pointwise_bench", "geometry_bench"):
            self.program(name, "")  # as where no benchmark's name matches
        self.program("conv_bench", json.dumps(dict(benchmarks=[
            row("conv/real_time", 2500.0, "us", **{"GFLOP/s": 150.0, "GB/s": 5.0}),
            row("conv_f64/real_time", 5.0, "ms", **{"GFLOP/s": 75.0}),
            row("copy", 1e6, "ns", bytes_per_second=60e9),
            row("search", 2.0, "ms", items_per_second=3.5e6)])))

    def program(self, name, prints, code=0):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!{sys.executable}\nimport os, sys\n"
                       f"assert os.environ['TESSERA_NUM_THREADS'] == '3'\n"
                       f"print({prints!r}, end='')\nsys.exit({code})\n")
        os.chmod(path, 0o755)

    def run_limits(self, *args):
        return subprocess.run([sys.executable, "-B", LIMITS, "--folder", self.folder, "--threads",
                               "3", *args], capture_output=True, text=True, check=False)

    def test_share_of_the_nearer_limit(self):
        done = self.run_limits()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("3 thread(s): 200 GFLOP/s, 50.0 GB/s", done.stdout)
        self.assertIn("| conv | 2.500 | 150.0 (75 %) | 5.0 (10 %) | 75 % |", done.stdout)
        self.assertIn("| copy | 1.000 | – | 60.0 (120 %) | 120 % |", done.stdout)
        self.assertIn("| search | 2.000 | – | – | 3.50 M items/s |", done.stdout)
        self.assertNotIn("f64", done.stdout)  # it has another peak

    def test_programs_that_fail_or_are_missing(self):
        self.program("conv_bench", "", code=4)
        done = self.run_limits()
        self.assertEqual(done.returncode, 1)
        self.assertIn("conv_bench: status 4", done.stderr)
        os.remove(os.path.join(self.folder, "peak_bench"))
        done = self.run_limits()
        self.assertEqual(done.returncode, 1)
        self.assertIn("peak_bench", done.stderr)


if __name__ == "__main__":
    unittest.main()
