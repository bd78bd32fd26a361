"""What a table must say about the machine it was made on."""
import datetime
import os
import platform


def _first(path, key):
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line.startswith(key):
                    return line.split(":" if ":" in line else "=", 1)[1].strip().strip('"')
    except OSError:
        pass
    return ""


def describe():
    flags = _first("/proc/cpuinfo", "flags").split()
    wanted = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile")
    memory = _first("/proc/meminfo", "MemTotal").split()
    return {
        "cpu": _first("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cpu_family_model": "/".join(_first("/proc/cpuinfo", key)
                                     for key in ("cpu family", "model\t", "stepping")),
        "instructions": [flag for flag in wanted if flag in flags],
        "processors": os.cpu_count(),
        "usable_processors": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory[0]) / 1e6, 1) if memory else None,
        "system": _first("/etc/os-release", "PRETTY_NAME") or platform.system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def date():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
