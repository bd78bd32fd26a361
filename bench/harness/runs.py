"""Running entrants in turn and keeping every figure."""
import json
import os
import signal
import subprocess
import sys
import time

from harness import entrants as who

COLD_STARTS = 3  # per round: a single start of a process varies most


def run(command, threads, timeout):
    """(the printed object, None) or (None, what went wrong)."""
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads),
               TESSERA_NUM_THREADS=str(threads))
    started = time.monotonic()
    try:  # a session of its own: what the process has started ends with it
        process = subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, start_new_session=True)
    except OSError as error:
        return None, str(error)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        return None, f"not done after {timeout:g} s"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode < 0:
        return None, f"ended by {signal.Signals(-process.returncode).name}"
    if process.returncode > 0:
        return None, f"exit {process.returncode}: {who.last_line(err)}"
    result, problem = who.parse_json(out)
    if result is not None and "absent" in result:
        return None, result["absent"]
    if result is not None and "finished_at" in result:
        result["cold_ms"] = 1e3 * (result["finished_at"] - started)
    return result, problem


class Comparison:
    """One run of bench/compare: document is what --json keeps and the tables are made of."""

    def __init__(self, document, programs, options):
        self.document, self.programs, self.options = document, programs, options
        self.done, self.begin = 0, time.monotonic()
        present = [e for e in who.PEERS
                   if e.key in options.peers and e.group not in document["absent"]]
        self.present = [who.TESSERA] + present
        self.cold_problems = {}

    def entrants(self, row):
        return [e for e in self.present if row["mode"] in e.modes]

    def total(self):
        cold = {"cold": COLD_STARTS}
        return self.options.rounds * sum(
            len(self.entrants(row)) * cold.get(row["mode"], 1) for row in self.document["rows"])

    def everything(self):
        for row in self.document["rows"]:
            if row["mode"] == "cold" and len(self.present) > 1:
                self.cold_problems[row["model"]] = self.programs.export(row)
        for number in range(1, self.options.rounds + 1):
            for threads in self.options.threads:
                self.peak(threads, number)
            for row in self.document["rows"]:
                for _ in range(COLD_STARTS if row["mode"] == "cold" else 1):
                    for entrant in self.entrants(row):
                        self.one(entrant, row, number)
            self.save()

    def peak(self, threads, number):
        command = [self.options.peak, "--threads", str(threads), "--seconds",
                   str(min(1.0, self.options.seconds))]
        result, problem = run(command, threads, self.options.timeout)
        self.document["peaks"].append(
            dict(round=number, threads=threads, result=result, error=problem))
        if problem:
            self.say(f"peak on {threads} threads: {problem}")

    def one(self, entrant, row, number):
        command = self.programs.command(entrant, row, self.options.seconds)
        problem = self.cold_problems.get(row["model"]) if entrant is not who.TESSERA else None
        result = None
        if row["mode"] != "cold" or not problem:
            result, problem = run(command, row["threads"], self.options.timeout)
        self.document["runs"].append(dict(
            row, entrant=entrant.key, group=entrant.group, variant=entrant.variant, round=number,
            command=command, result=result, error=problem))
        self.done += 1
        name = f"{entrant.group} {entrant.variant}".strip()
        self.say(f"[{self.done}/{self.total()}] round {number}: {row['model']} {row['mode']} batch "
                 f"{row['batch']}, threads {row['threads']}: {name}: {figure(result, problem)}")

    def say(self, text):
        minutes, seconds = divmod(int(time.monotonic() - self.begin), 60)
        print(f"{minutes:3}:{seconds:02} {text}", file=sys.stderr, flush=True)

    def save(self):
        path = self.options.json
        if not path:
            return
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.document, file, indent=1)
            file.write("\n")
        os.replace(path + ".new", path)


def figure(result, problem):
    if problem:
        return "failed: " + problem
    if "cold_ms" in result:
        return f"{result['cold_ms']:.0f} ms"
    return f"{result['images_per_second']:.2f} images/s"
