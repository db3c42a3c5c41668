"""The same pseudo-terminal, keys and provider for other agent terminals: `python -m whet_eval.bench.terminal_peers`.

Each runs in an environment and a home of its own, is pointed at the provider on loopback by its own documented options,
and gets the same treatment: start, type, leave alone, talk for a while, type while an answer streams.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from whet_agent.connect import stop
from whet_eval.bench import report, screen
from whet_eval.bench.children import provider, resident_mb
from whet_eval.bench.figure import Figure, median, percentile
from whet_eval.bench.venvs import prepare
from whet_eval.terminal import NotSeen, Terminal, processor_seconds, terminal

STARTS: Final = 3
ECHOES: Final = 40
EXCHANGES: Final = 20
"""Questions with a short answer each, before the last measurements: twice as many messages."""
IDLE_SECONDS: Final = 10.0
PATIENCE: Final = 90.0
"""Seconds for a start or an answer: some load for long."""
MODEL: Final = "prose?rate=300&chunks=12000&brief=40"
STREAMING: Final = "associativity"
"""A word that comes late in an answer."""
ANSWERED: Final = "neutral element"
"""What every answer says in its first line."""
ENTER: Final = "\r"
MODERN: Final = ("python3.14", "python3.13", "python3.12")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """How one terminal is installed, pointed at the provider and spoken to."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    prompt: str
    """What its first frame shows."""
    ready: str
    """What is shown once it can take a message."""
    send: str = ENTER


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What was measured. A figure that could not be taken is missing, and `why` says what was seen instead."""

    figures: Mapping[str, float]
    why: str = ""


def whet(home: Path, url: str) -> Program:
    (home / "config.toml").write_text(screen.MIND_CONFIG.format(url=url, mind=MODEL), encoding="utf-8")
    return Program(
        name="whet",
        command=[sys.executable, "-m", "whet_tui"],
        environment={"WHET_DATA": str(home / "data"), "WHET_CONFIG": str(home / "config.toml")},
        prompt=screen.PROMPT,
        ready="stub/prose",
    )


def elia(home: Path, url: str) -> Program:
    folder = home / ".config" / "elia"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(
        f'default_model = "stub"\n[[models]]\nid = "stub"\nname = "openai/{MODEL}"\n'
        f'api_base = "{url}"\napi_key = "none"\n',
        encoding="utf-8",
    )
    return Program(
        name="elia-chat",
        command=[_program("elia-chat", "elia")],
        environment={"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        prompt="History",
        ready="Send message",
        send="\n",
    )


def dcode(home: Path, url: str) -> Program:
    folder = home / ".deepagents"
    folder.mkdir()
    (folder / "config.toml").write_text(
        f'[models.providers.stub]\nclass_path = "langchain_openai:ChatOpenAI"\nmodels = ["{MODEL}"]\n'
        f'base_url = "{url}"\napi_key_env = "STUB_KEY"\n',
        encoding="utf-8",
    )
    off = {"ONBOARDING": "0", "OFFLINE": "1", "NO_UPDATE_CHECK": "1"}
    return Program(
        name="deepagents-code",
        command=[_program("deepagents-code", "dcode"), "-M", f"stub:{MODEL}", "--no-mcp"],
        environment={"STUB_KEY": "none", "LANGSMITH_TRACING": "false"}
        | {f"DEEPAGENTS_CODE_{name}": value for name, value in off.items()},
        prompt="dcode",
        ready="Context: 0%",
    )


def vibe(home: Path, url: str) -> Program:
    (home / "config.toml").write_text(
        'active_model = "stub"\nenable_telemetry = false\nenable_update_checks = false\n'
        f'[[providers]]\nname = "stub"\napi_base = "{url}"\napi_key_env_var = "STUB_KEY"\n'
        'api_style = "openai"\nbackend = "generic"\n'
        f'[[models]]\nname = "{MODEL}"\nprovider = "stub"\nalias = "stub"\n',
        encoding="utf-8",
    )
    return Program(
        name="mistral-vibe",
        command=[_program("mistral-vibe", "vibe", modern=True), "--trust"],
        environment={"VIBE_HOME": str(home), "STUB_KEY": "none"},
        prompt="Mistral Vibe",
        ready="stub[",
    )


PROGRAMS: Final[Mapping[str, Callable[[Path, str], Program]]] = {
    "whet": whet,
    "elia-chat": elia,
    "deepagents-code": dcode,
    "mistral-vibe": vibe,
}


def _program(package: str, name: str, *, modern: bool = False) -> str:
    """Install a package; return its program. Raises `LookupError` where no Python is new enough for it."""
    known = (
        (os.environ.get("PEERS_PYTHON"), sys.executable, *map(shutil.which, MODERN)) if modern else (sys.executable,)
    )
    found = [path for path in known if path and (not modern or _is_modern(path))]
    if not found:
        raise LookupError(f"{package} needs Python 3.12 or later, and none is here; PEERS_PYTHON can name one")
    return str(Path(prepare(package, maker=found[0])).with_name(name))


def _is_modern(python: str) -> bool:
    """Whether it is such an interpreter, and not a shim without one."""
    asked = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 12))"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0  # noqa: S603 -- a Python


def take(program: Program, home: Path) -> Taken:
    """Measure one program, as far as it goes."""
    figures: dict[str, float] = {}
    try:
        for name, value in _steps(program, home):
            figures[name] = value
            print(f"  {program.name:<16} {name:<40} {value:>9.1f}", flush=True)
    except NotSeen as error:
        return Taken(figures=figures, why=str(error))
    return Taken(figures=figures)


def _steps(program: Program, home: Path) -> Iterator[tuple[str, float]]:
    frames = []
    for _ in range(STARTS):
        with _running(program, home) as running:
            frames.append(running.until_written(program.prompt, timeout=PATIENCE))
    yield "first frame, ms", median(frames) * 1e3
    with _running(program, home) as running:
        running.until_shown(program.ready, timeout=PATIENCE)
        yield "ready for a message, ms", running.age() * 1e3
        _ask(running, program, "first, briefly")
        yield from _echo(running, "idle")
        yield from _alone(running)
        for number in range(EXCHANGES):
            _ask(running, program, f"question {number}, briefly")
        yield from _echo(running, f"{2 * EXCHANGES} messages")
        _say(running, program, "at length")
        running.until_shown(STREAMING, timeout=PATIENCE)
        yield from _echo(running, "streaming 300 tokens/s")
        yield "resident, MB", resident_mb(running.pid)
        yield "resident with its own processes, MB", sum(map(resident_mb, _family(running.pid)))


def _ask(running: Terminal, program: Program, question: str) -> None:
    """Ask something with a short answer and wait until it is there."""
    mark = len(running.raw)
    _say(running, program, question)
    running.until(lambda lines: len(running.raw) > mark and any(ANSWERED in line for line in lines), timeout=PATIENCE)
    running.still(timeout=PATIENCE)


def _say(running: Terminal, program: Program, words: str) -> None:
    """Type words, and only when they are there what sends them: all at once would be a paste."""
    running.send(words)
    running.until_shown(words, timeout=PATIENCE)
    running.send(program.send)


def _echo(running: Terminal, when: str) -> Iterator[tuple[str, float]]:
    taken = running.echoes(ECHOES, timeout=PATIENCE)
    running.send("\x7f" * ECHOES)
    running.read(0.5)
    yield f"key echo p50, {when}, ms", median(taken) * 1e3
    yield f"key echo p95, {when}, ms", percentile(taken, 0.95) * 1e3


def _alone(running: Terminal) -> Iterator[tuple[str, float]]:
    started, before = time.perf_counter(), _used(running.pid)
    while (left := started + IDLE_SECONDS - time.perf_counter()) > 0:
        running.read(left)
    yield "idle, with its own processes, % of a core", 100 * (_used(running.pid) - before) / IDLE_SECONDS


def _used(pid: int) -> float:
    return sum(map(processor_seconds, _family(pid)))


def _family(pid: int) -> list[int]:
    """The process and what it has started and not sent away, itself first."""
    found = [pid]
    for member in found:
        with suppress(OSError):  # it has ended meanwhile
            for task in Path(f"/proc/{member}/task").glob("*/children"):
                found += map(int, task.read_text(encoding="ascii").split())
    return found


@contextmanager
def _running(program: Program, home: Path) -> Iterator[Terminal]:
    """Run a program, and end what it has started with it: some leave a server behind when their terminal goes."""
    own = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "XDG_DATA_HOME": str(home / ".data")}
    plain = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    work = home / "work"
    work.mkdir(exist_ok=True)
    environment = {**plain, **own, **program.environment}
    with terminal(program.command, environment=environment, columns=120, rows=40, folder=work) as running:
        try:
            yield running
        finally:
            started = _family(running.pid)[1:] if program.name != "whet" else []  # ours is asked to stop later
            for pid in started:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def table(taken: Mapping[str, Taken]) -> str:
    """Everybody side by side, and why a figure is missing."""
    rows = list(dict.fromkeys(name for each in taken.values() for name in each.figures))
    lines = [f"{'':<42}" + "".join(f"{name:>18}" for name in taken)]
    for row in rows:
        cells = (f"{each.figures[row]:>18.1f}" if row in each.figures else f"{'-':>18}" for each in taken.values())
        lines.append(f"{row:<42}" + "".join(cells))
    lines += [f"{name}: {each.why}" for name, each in taken.items() if each.why]
    return "\n".join(lines)


async def measure(names: Sequence[str]) -> dict[str, Taken]:
    """Measure one after the other."""
    taken: dict[str, Taken] = {}
    with tempfile.TemporaryDirectory(prefix="whet-terminals-") as base:
        async with provider() as url:
            for name in names:
                home = Path(base) / name
                home.mkdir()
                try:
                    program = PROGRAMS[name](home, url)
                except (LookupError, subprocess.CalledProcessError) as error:
                    taken[name] = Taken(figures={}, why=str(error))
                    continue
                taken[name] = await asyncio.to_thread(take, program, home)
                await stop(home / "data")
    return taken


def main() -> int:
    """Measure what is named, or everybody."""
    names = sys.argv[1:] or list(PROGRAMS)
    if unknown := sorted(set(names) - set(PROGRAMS)):
        print(f"There is no {', '.join(unknown)}. There are: {', '.join(PROGRAMS)}.", file=sys.stderr)
        return 2
    taken = asyncio.run(measure(names))
    print(table(taken))
    figures = [
        Figure(name=f"{name}: {row}", value=value, unit="", note=each.why)
        for name, each in taken.items()
        for row, value in each.figures.items()
    ]
    print(f"report: {report.write(figures, Path('results'), name='bench-terminal')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
