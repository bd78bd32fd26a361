"""Markdown tables of a comparison's document; pure functions of it."""
import math
import statistics

from harness.entrants import OURS

PEERS = ("PyTorch", "onnxruntime", "OpenVINO")
MODES = {"infer": "Inference", "train": "Training"}
DASH = "–"


def number(value):
    """Three digits."""
    if value <= 0 or not math.isfinite(value):
        return str(value)
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


def count(amount, noun):
    return f"{amount} {noun}" + ("" if amount == 1 else "s")


def percent(part, whole):
    return f"{100 * part / whole:.0f} %" if whole else DASH


def geometric_mean(values):
    return math.exp(statistics.fmean(math.log(v) for v in values))


def table(header, rows, left=1):
    """The first `left` columns are text, the others figures."""
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    return "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in row) + " |"
                     for row in [header, rule, *rows])


class Entry:
    """One entrant at one row: medians over the rounds of its medians and quantiles."""

    def __init__(self, records):
        self.variant = records[0]["variant"]
        results = [r["result"] for r in records if r["result"] and not r["error"]]
        errors = [r["error"] for r in records if r["error"]]
        self.ok = bool(results)
        self.error = errors[0] if errors else ""
        self.problem = ""
        if errors:
            self.problem = f"{len(errors)} of {len(records)} runs failed: {self.error}"
        if not results:
            return

        def median(key):
            return statistics.median(key(r) for r in results)
        self.memory = median(lambda r: r["peak_rss_mb"])
        if records[0]["mode"] == "cold":
            starts = sorted(r["cold_ms"] for r in results)
            self.ms = statistics.median(starts)
            self.fast, self.slow = (starts[round(q * (len(starts) - 1))] for q in (0.1, 0.9))
            self.weights = results[0].get("weights", "")
            return
        self.fast, self.ms, self.slow = (median(lambda r, q=q: r["step_ms"][q])
                                         for q in ("p10", "p50", "p90"))
        self.speed = records[0]["batch"] * 1e3 / self.ms
        # Operations of one step as the program counted them: both sides must have the same.
        self.gflop = median(lambda r: r["gflops"] * r["step_ms"]["p50"] / 1e3)
        self.gflops = 1e3 * self.gflop / self.ms
        self.parameters = results[0].get("parameters")


def row_key(record):
    return tuple(record[k] for k in ("model", "mode", "batch", "threads"))


class Figures:
    """Entries by row and group. A group's best mode is the fastest that ran."""

    def __init__(self, document):
        records = {}
        for record in document["runs"]:
            key = (row_key(record), record["group"], record["entrant"])
            records.setdefault(key, []).append(record)
        self.entries = {}
        for (row, group, _), runs in records.items():
            self.entries.setdefault((row, group), []).append(Entry(runs))
        self.peaks = {}
        for peak in document["peaks"]:
            if peak["result"]:
                self.peaks.setdefault(peak["threads"], []).append(peak["result"])

    def best(self, row, group):
        entries = self.entries.get((row, group))
        if not entries:
            return None
        running = [e for e in entries if e.ok]
        return min(running, key=lambda e: e.ms) if running else entries[0]

    def all(self, row, group):
        return self.entries.get((row, group), [])

    def peak(self, threads, key="fp32_gflops"):
        return max((p[key] for p in self.peaks.get(threads, [])), default=0)


def pair(ours, theirs):
    return f"{ours} / {theirs}"


def speed_cell(entry):
    if not entry.ok:
        return "failed: " + entry.error
    return number(entry.speed) + (f" ({entry.variant})" if entry.variant else "")


def spread(ours, theirs):
    """The ratio of speeds, and between which values it lies if each side is as slow or as fast as
    in nine of ten steps."""
    return (f"{theirs.ms / ours.ms:.2f} "
            f"({theirs.fast / ours.slow:.2f}{DASH}{theirs.slow / ours.fast:.2f})")


def notes_of(row, name, ours, entries):
    """What a reader must know of one row: failures of single modes, unequal networks."""
    place = f"{row[0]}, batch {row[2]}, {count(row[3], 'thread')}"
    notes = []
    for entry, who in [(ours, OURS)] + [(e, f"{name} {e.variant}".strip()) for e in entries]:
        if entry.problem:
            notes.append(f"{place}: {who}: {entry.problem}")
    good = [e for e in entries if e.ok]
    if not ours.ok or not good or row[1] == "cold":
        return notes
    theirs = good[0]
    if abs(theirs.gflop / ours.gflop - 1) > 0.01:
        notes.append(f"{place}: operations per step are counted unequally: {OURS} "
                     f"{ours.gflop:.2f}, {name} {theirs.gflop:.2f} billions")
    if None not in (ours.parameters, theirs.parameters) and ours.parameters != theirs.parameters:
        notes.append(f"{place}: the networks have {ours.parameters} ({OURS}) and "
                     f"{theirs.parameters} ({name}) parameters")
    return notes


def listed(notes):
    return ["\n".join("- " + note for note in dict.fromkeys(notes))] if notes else []


def steps_table(figures, rows, name):
    """Rows of one mode against one peer: (Markdown parts, [(row, speed ratio, memory ratio)])."""
    header = ["network", "batch", "threads", f"{OURS} images/s", f"{name} images/s",
              f"{OURS} / {name} (10{DASH}90 %)", "GFLOP/s", "of peak", "peak memory, MB",
              "memory ratio"]
    lines, ratios, notes = [], [], []
    for row in rows:
        ours, theirs = figures.best(row, OURS), figures.best(row, name)
        if ours is None or theirs is None:
            continue
        line = [row[0], row[2], row[3], speed_cell(ours), speed_cell(theirs)]
        notes += notes_of(row, name, ours, figures.all(row, name))
        if ours.ok and theirs.ok:
            peak = figures.peak(row[3])
            ratios.append((row, theirs.ms / ours.ms, ours.memory / theirs.memory))
            line += [spread(ours, theirs), pair(number(ours.gflops), number(theirs.gflops)),
                     pair(percent(ours.gflops, peak), percent(theirs.gflops, peak)),
                     pair(f"{ours.memory:.0f}", f"{theirs.memory:.0f}"), f"{ratios[-1][2]:.2f}"]
        else:
            line += [DASH] * 5
        lines.append(line)
    if not lines:
        return [], []
    return [table(header, lines)] + listed(notes), ratios


def cold_table(figures, rows):
    header = ["network", "threads", "program", "first prediction after, ms (10–90 %)",
              f"times {OURS}'s", "peak memory, MB", "weights from"]
    lines, notes = [], []
    for row in rows:
        ours = figures.best(row, OURS)
        for name in (OURS, *PEERS):
            entry = figures.best(row, name)
            if entry is None:
                continue
            if entry.problem:
                notes.append(f"{row[0]}, {count(row[3], 'thread')}: {name}: {entry.problem}")
            label = name + (f" ({entry.variant})" if entry.variant and entry.ok else "")
            if not entry.ok:
                lines.append([row[0], row[3], label, "failed: " + entry.error] + [DASH] * 3)
                continue
            ratio = f"{entry.ms / ours.ms:.2f}" if ours and ours.ok else DASH
            lines.append([row[0], row[3], label,
                          f"{entry.ms:.0f} ({entry.fast:.0f}{DASH}{entry.slow:.0f})", ratio,
                          f"{entry.memory:.0f}", entry.weights or DASH])
    return [table(header, lines)] + listed(notes) if lines else []


def means_table(ratios):
    """Geometric means by mode, peer, batch and threads, and over all of each."""
    header = ["mode", "peer", "batch", "threads", "rows", f"{OURS} / peer, images/s", "lowest",
              f"{OURS} / peer, memory"]
    lines = []
    for (mode, name), entries in ratios.items():
        parts = {}
        for row, speed, memory in entries:
            parts.setdefault((row[2], row[3]), []).append((speed, memory))
        if len(parts) > 1:
            parts["all", "all"] = [(speed, memory) for _, speed, memory in entries]
        for (batch, threads), values in parts.items():
            speeds, memories = zip(*values)
            lines.append([mode, name, batch, threads, len(values),
                          f"{geometric_mean(speeds):.2f}", f"{min(speeds):.2f}",
                          f"{geometric_mean(memories):.2f}"])
    return table(header, lines, left=2) if lines else ""


def machine_text(machine):
    memory = f"{machine['memory_gb']} GB, " if machine.get("memory_gb") else ""
    return (f"{machine['cpu']}, family/model/stepping {machine['cpu_family_model']} "
            f"({', '.join(machine['instructions'])}), "
            f"{machine['usable_processors']} of {machine['processors']} processors, "
            f"{memory}{machine['system']}, kernel {machine['kernel']}")


def machine_lines(document, figures):
    machine = document["machine"]
    lines = [f"{machine_text(machine)}. "
             f"{document['date']}. {count(document['rounds'], 'round')}, "
             f"at least {document['seconds']:g} s each."]
    programs = [*document["programs"].values()]
    programs += [f"{name}: absent ({why})" for name, why in document["absent"].items()]
    lines.append("Programs: " + "; ".join(programs) + ".")
    for threads in sorted(figures.peaks):
        vectors = figures.peaks[threads][0].get("vectors", "")
        lines.append(f"Peak on {count(threads, 'thread')}: {number(figures.peak(threads))} GFLOP/s "
                     f"({vectors}), copying {number(figures.peak(threads, 'copy_gb_s'))} GB/s read "
                     "and written.")
    failed = {p["threads"]: p["error"] for p in document["peaks"] if p["error"]}
    lines += [f"Peak on {count(threads, 'thread')}: not measured ({why})."
              for threads, why in failed.items()]
    if machine["load_at_start"] > 0.5:
        lines.append(f"**The machine was busy at the start (load {machine['load_at_start']}): "
                     "these figures say little.**")
    most = max((row["threads"] for row in document["rows"]), default=0)
    if most > machine["usable_processors"]:
        lines.append(f"**{most} threads shared {machine['usable_processors']} processors.**")
    return ["\n".join("- " + line for line in lines), f"    {document['command']}"]


def markdown(document):
    figures = Figures(document)
    parts = machine_lines(document, figures)
    rows = [row_key(row) for row in document["rows"]]
    ratios = {}
    for mode, title in MODES.items():
        of_mode = [row for row in rows if row[1] == mode]
        for name in PEERS:
            lines, found = steps_table(figures, of_mode, name)
            if lines:
                parts += [f"### {title}: {OURS} and {name}", *lines]
            if found:
                ratios[title.lower(), name] = found
    cold = cold_table(figures, [row for row in rows if row[1] == "cold"])
    if cold:
        parts += ["### Cold start", *cold]
    means = means_table(ratios)
    if means:
        parts += ["### Geometric means", means]
    return "\n\n".join(parts)
