"""The chat as a person meets it: the real `whet` in a real terminal, first frame and key echo."""

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from whet_agent.connect import stop
from whet_agent.events import AssistantSaid, Envelope, Happening, TurnEnded, UserSaid
from whet_agent.journal import encode
from whet_eval.bench.figure import Figure, median, percentile
from whet_eval.terminal import Terminal, terminal

MESSAGES: Final = 1000
STREAM: Final = 100
"""Tokens a second of each of three branches: 300 in all."""
ECHOES: Final = 80
STARTS: Final = 5
FIRST_FRAME_BAR: Final = 0.5
ECHO_BAR_MS: Final = 16.0
PROMPT: Final = "Ask something"
"""What stands in the composer from the first frame on."""
SESSION: Final = "ses_bench"
CONFIG: Final = f"""
panel = [
  "sim/steady?rate={STREAM}&tokens=1000&seed=1",
  "sim/steady?rate={STREAM}&tokens=1000&seed=2",
  "sim/steady?rate={STREAM}&tokens=1000&seed=3",
]
synthesiser = "sim/fast"
"""
TEXT: Final = """A **monoid** is a set with an operation that is associative and has a neutral element.

- lists under concatenation
- numbers under addition

```python
assert sum([1, 2]) == 3
```
"""


def figures(data: Path) -> Iterator[Figure]:
    """Measure on a data directory of its own, whose embedded server is stopped afterwards."""
    data.mkdir(parents=True)
    (data / "config.toml").write_text(CONFIG, encoding="utf-8")
    _long_session(data / "agent" / SESSION / "journal.jsonl")
    try:
        _until_ready(data)  # compiles what is not compiled, starts the server
        frames = [_first_frame(data) for _ in range(STARTS)]
        yield Figure(name="chat, first frame", value=median(frames), unit="s", bar=FIRST_FRAME_BAR)
        yield from _echoes(data)
    finally:
        asyncio.run(stop(data))


def _echoes(data: Path) -> Iterator[Figure]:
    with _whet(data, "chat", "--resume", SESSION) as chat:
        chat.until_shown(f"question {MESSAGES // 2}", timeout=60)
        idle = chat.echoes(ECHOES, pause=0.01)
        chat.send("\x7f" * ECHOES + "Stream something.\r")
        chat.until_shown("streaming", timeout=60)
        started, used = time.perf_counter(), chat.processor_seconds()
        busy = chat.echoes(ECHOES, pause=0.05)
        share = (chat.processor_seconds() - used) / (time.perf_counter() - started)
        memory = chat.memory() / 1e6
    note = f"p95 {percentile(busy, 0.95) * 1e3:.1f} ms; {share:.0%} of a core; idle p50 {median(idle) * 1e3:.1f} ms"
    yield Figure(
        name=f"key echo p50, {MESSAGES} messages, streaming",
        value=median(busy) * 1e3,
        unit="ms",
        bar=ECHO_BAR_MS,
        note=note,
    )
    yield Figure(name=f"chat with {MESSAGES} messages, resident", value=memory, unit="MB")


def _first_frame(data: Path) -> float:
    with _whet(data) as chat:
        return chat.until_written(PROMPT)


def _until_ready(data: Path) -> None:
    with _whet(data) as chat:
        chat.until_written(PROMPT, timeout=60)
        chat.send("/models\r")
        chat.until_shown("local/smollm2", timeout=60)


def _long_session(path: Path) -> None:
    """Write the journal of a session with a thousand messages."""
    path.parent.mkdir(parents=True)
    happenings: list[Happening] = []
    for turn in range(1, MESSAGES // 2 + 1):
        happenings.append(UserSaid(turn=turn, text=f"question {turn}"))
        happenings.append(AssistantSaid(turn=turn, step=1, text=TEXT, author="bench"))
        happenings.append(TurnEnded(turn=turn, state="done"))
    with path.open("wb") as journal:
        for number, happening in enumerate(happenings, start=1):
            journal.write(encode(Envelope(sequence=number, time_ns=time.time_ns(), happening=happening)))


def _whet(data: Path, *arguments: str) -> AbstractContextManager[Terminal]:
    return terminal(
        [sys.executable, "-m", "whet_tui", *arguments], environment=_environment(data), columns=120, rows=40
    )


def _environment(data: Path) -> Mapping[str, str]:
    """A person's environment: no keys, and compiled modules kept, as an installed program has them."""
    unwanted = ("OPENAI_", "WHET_", "NO_COLOR", "OTEL_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    places = {"WHET_DATA": str(data), "WHET_CONFIG": str(data / "config.toml"), "LANG": "C.UTF-8"}
    return kept | places | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
