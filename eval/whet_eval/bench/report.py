"""The report of a benchmark: the figures, the machine, the versions."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from whet_eval.bench.figure import Figure

PACKAGES = ("whet", "grpcio", "protobuf", "aiohttp", "sqlalchemy", "textual", "openai", "langgraph")


def machine() -> dict[str, str]:
    """Describe the machine in the few words a reader needs to weigh the figures."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")),
        platform.processor(),
    )
    memory = next((line.split()[1] for line in _lines(Path("/proc/meminfo")) if line.startswith("MemTotal")), "0")
    return {
        "cpu": cpu,
        "cores": str(os.cpu_count()),
        "memory_gib": f"{int(memory) / 2**20:.0f}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": " ".join(f"{value:.1f}" for value in os.getloadavg()),
    }


def write(figures: Sequence[Figure], folder: Path, *, name: str) -> Path:
    """Write `<folder>/<name>.json` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    report = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": _revision(),
        "machine": machine(),
        "versions": {package: version(package) for package in PACKAGES},
        "figures": [asdict(figure) | {"ok": not figure.short} for figure in figures],
    }
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return path


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _revision() -> str:
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S607 -- a report names its revision where git is there
    return git.stdout.strip()
