"""The chat as a person meets it: the real `whet` in a real terminal, against a real server and a provider on loopback.

A session of 5,000 messages is taken up, left alone, resized, repainted, typed into and streamed into.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from whet_agent.connect import stop
from whet_eval.bench import conversation
from whet_eval.bench.figure import Figure, median, percentile
from whet_eval.terminal import Terminal, processor_seconds, terminal

if TYPE_CHECKING:
    import pyte

MESSAGES: Final = 5_000
RATE: Final = 300
"""Tokens a second that stream in all."""
ECHOES: Final = 80
STARTS: Final = 5
REPAINTS: Final = 5
IDLE_SECONDS: Final = 20.0
SETTLING_SECONDS: Final = 3.0
"""After a session is there, imports and first calls settle."""
SIZES: Final = ((100, 30), (120, 40))

FIRST_FRAME_BAR: Final = 0.4
ECHO_P50_BAR_MS: Final = 16.0
ECHO_P95_BAR_MS: Final = 60.0
REPAINT_BAR_MS: Final = 100.0
IDLE_BAR_PERCENT: Final = 0.5
MEMORY_BAR_MB: Final = 150.0

PROMPT: Final = "Ask something"
"""What stands in the composer from the first frame on."""
MIND: Final = f"prose?rate={RATE}&chunks=12000"
LANE: Final = f"sim/steady?rate={RATE // 3}&tokens=4000"
SESSION: Final = "ses_bench"
PLAIN_CONFIG: Final = f"""
panel = ["{LANE}&seed=1", "{LANE}&seed=2", "{LANE}&seed=3"]
synthesiser = "sim/fast"
"""
MIND_CONFIG: Final = """
[mind]
base_url = "{url}"
model = "stub/{mind}"

[[endpoint]]
name = "stub"
base_url = "{url}"

[[endpoint.model]]
name = "{mind}"
price = {{ input = 0.15, output = 0.60 }}
"""


def figures(base: Path, url: str) -> Iterator[Figure]:
    """Measure on data directories below `base`, whose embedded servers are stopped afterwards. `url`: the provider."""
    with _house(base / "mind", PLAIN_CONFIG + MIND_CONFIG.format(url=url, mind=MIND)) as data:
        frames = [_first_frame(data) for _ in range(STARTS)]
        yield Figure(name="chat, first frame", value=median(frames), unit="s", bar=FIRST_FRAME_BAR)
        yield from _long_session(data)
    with _house(base / "planner", PLAIN_CONFIG) as data, _resumed(data) as chat:
        chat.send("/fanout Stream three of them.\r")
        chat.until_shown("streaming", timeout=60)
        yield from _echoes(chat, "three lanes")
        yield _memory(chat, "with the offline planner")


def _long_session(data: Path) -> Iterator[Figure]:
    with _resumed(data) as chat:
        yield _idle(chat, data)
        yield _repaints("resize", [_resize(chat, size) for size in SIZES * REPAINTS][1::2])
        yield _repaints("theme change", [_theme(chat) for _ in range(2 * REPAINTS)])
        yield from _echo("nothing streaming", chat.echoes(ECHOES, pause=0.01), bar=None)
        chat.send("\x7f" * ECHOES + "Stream something.\r")
        chat.until_shown("associativity", timeout=60)
        yield from _echoes(chat, "the mind")
        yield _memory(chat, "with a mind")


def _echoes(chat: Terminal, what: str) -> list[Figure]:
    started, used = time.perf_counter(), chat.processor_seconds()
    taken = chat.echoes(ECHOES)
    share = (chat.processor_seconds() - used) / (time.perf_counter() - started)
    chat.send("\x7f" * ECHOES)
    return _echo(f"{what} streaming", taken, bar=ECHO_P50_BAR_MS, note=f"{share:.0%} of a core")


def _echo(when: str, taken: Sequence[float], *, bar: float | None, note: str = "") -> list[Figure]:
    p95 = percentile(taken, 0.95) * 1e3
    return [
        Figure(name=f"key echo p50, {when}", value=median(taken) * 1e3, unit="ms", bar=bar, note=note),
        Figure(name=f"key echo p95, {when}", value=p95, unit="ms", bar=ECHO_P95_BAR_MS if bar else None),
    ]


def _idle(chat: Terminal, data: Path) -> Figure:
    """Processor time while nothing happens, its embedded server's beside it."""
    server = int(json.loads((data / "server.json").read_text(encoding="utf-8"))["pid"])
    started, before = time.perf_counter(), (chat.processor_seconds(), processor_seconds(server))
    while (left := started + IDLE_SECONDS - time.perf_counter()) > 0:
        chat.read(left)
    ours, its = chat.processor_seconds() - before[0], processor_seconds(server) - before[1]
    note = f"its server {its / IDLE_SECONDS:.2%}"
    return Figure(
        name="idle processor share", value=100 * ours / IDLE_SECONDS, unit="%", bar=IDLE_BAR_PERCENT, note=note
    )


def _repaints(what: str, taken: Sequence[float]) -> Figure:
    """Judge the worst of a few: a person who resizes a window sees each one."""
    note = f"median {median(taken) * 1e3:.0f} ms"
    return Figure(name=f"{what} visible, worst", value=max(taken) * 1e3, unit="ms", bar=REPAINT_BAR_MS, note=note)


def _resize(chat: Terminal, size: tuple[int, int]) -> float:
    return chat.seconds_until(lambda: chat.resize(*size), filled, timeout=5.0)


def _theme(chat: Terminal) -> float:
    """Type the command, then time its Enter until no cell has the ground that most had."""
    chat.send("/theme")
    chat.until_shown("/theme")
    while chat.read(0.3):
        pass
    old = ground(chat.layout())
    return chat.seconds_until(lambda: chat.send("\r"), lambda screen: ground(screen) != old, timeout=5.0)


def filled(screen: "pyte.Screen") -> bool:
    """Whether every cell of a screen that began empty was painted."""
    return all(len(screen.buffer[row]) == screen.columns for row in range(screen.lines))


def ground(screen: "pyte.Screen") -> str:
    """The background of most cells."""
    return Counter(cell.bg for row in screen.buffer.values() for cell in row.values()).most_common(1)[0][0]


def _memory(chat: Terminal, whose: str) -> Figure:
    name = f"resident at {MESSAGES:,} messages, {whose}"
    return Figure(name=name, value=chat.memory() / 1e6, unit="MB", bar=MEMORY_BAR_MB)


def _first_frame(data: Path) -> float:
    with _whet(data) as chat:
        return chat.until_written(PROMPT)


@contextmanager
def _house(data: Path, config: str) -> Iterator[Path]:
    """A data directory with a long session and a server that is up; what is not compiled yet is compiled."""
    data.mkdir(parents=True)
    (data / "config.toml").write_text(config, encoding="utf-8")
    conversation.write(data / "agent", SESSION, MESSAGES)
    try:
        with _whet(data) as chat:
            chat.until_written(PROMPT, timeout=60)
            chat.until_shown("mode ask", timeout=60)
        yield data
    finally:
        asyncio.run(stop(data))


@contextmanager
def _resumed(data: Path) -> Iterator[Terminal]:
    with _whet(data, "chat", "--resume", SESSION) as chat:
        chat.until_shown(conversation.run_id(MESSAGES // 2), timeout=60)
        deadline = time.perf_counter() + SETTLING_SECONDS
        while (left := deadline - time.perf_counter()) > 0:
            chat.read(left)
        yield chat


def _whet(data: Path, *arguments: str) -> AbstractContextManager[Terminal]:
    return terminal([sys.executable, "-m", "whet_tui", *arguments], environment=environment(data), columns=120, rows=40)


def environment(data: Path) -> Mapping[str, str]:
    """A person's environment: no keys, and compiled modules kept, as an installed program has them."""
    unwanted = ("OPENAI_", "WHET_", "NO_COLOR", "OTEL_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    places = {"WHET_DATA": str(data), "WHET_CONFIG": str(data / "config.toml"), "LANG": "C.UTF-8"}
    return kept | places | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
