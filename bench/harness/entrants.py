"""Who takes part: Tessera and the peers' modes, commands with the same options and output."""
import dataclasses
import json
import os
import subprocess

OURS = "Tessera"


@dataclasses.dataclass(frozen=True)
class Entrant:
    key: str       # as --peers names it
    group: str     # entrants of one group are modes of one program; its best mode counts
    variant: str   # what the mode is called in tables, empty where there is one only
    modes: tuple
    options: tuple = ()
    script: str = ""


PEERS = (
    Entrant("nchw", "PyTorch", "NCHW", ("infer", "train", "cold"), ("--layout", "nchw"),
            "torch_bench.py"),
    Entrant("nhwc", "PyTorch", "channels last", ("infer", "train", "cold"), ("--layout", "nhwc"),
            "torch_bench.py"),
    Entrant("compiled", "PyTorch", "compiled", ("infer", "train"),
            ("--layout", "nhwc", "--compile"), "torch_bench.py"),
    Entrant("onnxruntime", "onnxruntime", "", ("infer", "cold"), (), "onnxruntime_bench.py"),
    Entrant("openvino", "OpenVINO", "", ("infer", "cold"), (), "openvino_bench.py"),
)
TESSERA = Entrant("tessera", OURS, "", ("infer", "train", "cold"))


class Programs:
    """Where the programs are, and how they are called."""

    def __init__(self, tessera, python, peers_dir, files_dir):
        self.tessera, self.python = tessera, python
        self.peers_dir, self.files_dir = peers_dir, files_dir

    def prefix(self, entrant):
        if entrant is TESSERA:
            return [self.tessera, "bench"]
        return [self.python, os.path.join(self.peers_dir, entrant.script), *entrant.options]

    def command(self, entrant, row, seconds):
        command = self.prefix(entrant) + [
            "--model", row["model"], "--batch", str(row["batch"]), "--size", str(row["size"]),
            "--mode", row["mode"], "--threads", str(row["threads"]), "--seconds", str(seconds),
            "--json"]
        if entrant is not TESSERA:
            return command + ["--files", self.files_dir]
        weights = os.path.join(self.files_dir, stem(row) + ".safetensors")
        if row["mode"] == "cold" and os.path.exists(weights):
            command += ["--weights", weights]
        return command

    def export(self, row):
        """Writes what mode cold reads, which no timed process shall do; None or what went wrong."""
        command = [self.python, os.path.join(self.peers_dir, "export_model.py"), "--model",
                   row["model"], "--size", str(row["size"]), "--out", self.files_dir]
        return answer(command)[1]

    def version(self, entrant):
        """(name and version, None), or (None, why the entrant is absent)."""
        if entrant is TESSERA:
            text, problem = answer([self.tessera, "--version"])
            return (None if problem else f"{OURS} {text.strip()}"), problem
        script = self.prefix(entrant)[1]
        if not os.path.exists(script):
            return None, f"no {script}"
        reply, problem = json_answer(self.prefix(entrant) + ["--version"])
        if problem:
            return None, problem
        return reply.get("program"), reply.get("absent")

    def our_models(self):
        """Name -> usual input size."""
        reply, problem = json_answer([self.tessera, "models", "--json"])
        if problem:
            raise RuntimeError(f"{self.tessera} models: {problem}")
        return {m["name"]: m["input_size"] for m in reply}

    def torch_models(self):
        """The names torchvision has, or None where it is absent."""
        reply, problem = json_answer([self.python, os.path.join(self.peers_dir, "torch_bench.py"),
                                      "--list"])
        return None if problem or isinstance(reply, dict) else reply


def stem(row):
    height, width = (str(row["size"]).split("x") * 2)[:2]
    return f"{row['model']}-{height}x{width}"


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def answer(command):
    """(standard output, None) of a short command, or ("", what went wrong)."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return "", str(error)
    if done.returncode != 0:
        return "", f"exit {done.returncode}: {last_line(done.stderr)}"
    return done.stdout, None


def parse_json(text):
    """(the JSON of the last line, None), or (None, what went wrong)."""
    try:
        return json.loads(last_line(text)), None
    except ValueError:
        return None, f"printed no JSON: {last_line(text)!r}"


def json_answer(command):
    text, problem = answer(command)
    return (None, problem) if problem else parse_json(text)
