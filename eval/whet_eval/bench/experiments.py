"""A sweep of 10,000 trials, watched as a person does: the real `whet` in a real terminal, a real server that runs it.

The trials are of a simulated model that answers at once, so that they come as fast as the server can run them. Keys go
into the filter of the live table.
"""

import asyncio
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from whet.v1 import scorer_pb2, sweep_pb2, sweeping_pb2
from whet_agent.catalogue import methods
from whet_agent.client import Client
from whet_agent.connect import ConnectSettings, connect, stop
from whet_eval.bench.figure import Figure, median, percentile
from whet_eval.bench.screen import ECHO_P50_BAR_MS, PROMPT, environment
from whet_eval.terminal import Terminal, terminal

TRIALS: Final = 10_000
WATCHED: Final = 7_000
"""Trials that have ended when keys are first timed: the rest is still to come."""
ECHOES: Final = 120
MODEL: Final = "sim/fast?first_ms=0&rate=100000&tokens=3"
SECONDS: Final = 900.0
"""What ten thousand trials may take on a busy machine."""
ESCAPE: Final = "\x1b"
MEMORY_BAR_MB: Final = 180.0
"""The chat's 150, and 3 kB for each trial."""

_ENDED: Final = re.compile(r"([\d,]+) of [\d,]+ trials")


def figures(base: Path) -> Iterator[Figure]:
    """Measure on a data directory below `base`, whose embedded server is stopped afterwards."""
    data = base / "experiments"
    data.mkdir(parents=True)
    (data / "config.toml").write_text("", encoding="utf-8")
    try:
        with terminal([sys.executable, "-m", "whet_tui"], environment=environment(data), columns=120, rows=40) as chat:
            chat.until_written(PROMPT, timeout=60)
            chat.until_shown("mode ask", timeout=60)
            asyncio.run(_start(data))
            yield from _watched(chat)
    finally:
        asyncio.run(stop(data))


def _watched(chat: Terminal) -> Iterator[Figure]:
    chat.send(f"{ESCAPE}9")
    chat.until_shown("Ten thousand", timeout=30)
    chat.send("\r")
    chat.until(lambda lines: _ended(lines) >= WATCHED, timeout=SECONDS)
    yield from _echoes(chat, "trials coming in")
    chat.until(lambda lines: _ended(lines) >= TRIALS, timeout=SECONDS)
    chat.until(lambda lines: any("succeeded" in line or "partial" in line for line in lines), timeout=SECONDS)
    yield from _echoes(chat, "all trials there")
    yield Figure(name=f"resident at {TRIALS:,} trials", value=chat.memory() / 1e6, unit="MB", bar=MEMORY_BAR_MB)


def _ended(lines: Sequence[str]) -> int:
    """How many trials have ended, as the screen says it."""
    found = next((found for line in lines if (found := _ENDED.search(line)) is not None), None)
    return int(found[1].replace(",", "")) if found is not None else 0


def _echoes(chat: Terminal, when: str) -> Iterator[Figure]:
    """Type into the filter; what was typed is taken out again."""
    before, began, used = _ended(chat.screen()), time.perf_counter(), chat.processor_seconds()
    chat.send("/")
    chat.until_shown("filter by", timeout=10)
    taken = chat.echoes(ECHOES)
    seconds = time.perf_counter() - began
    rate, share = (_ended(chat.screen()) - before) / seconds, (chat.processor_seconds() - used) / seconds
    chat.send(ESCAPE)
    chat.until(lambda lines: not any("ᚠ" in line for line in lines), timeout=10)
    note = f"{rate:.0f} trials a second; {share:.0%} of a core"
    for name, value in (("p50", median(taken) * 1e3), ("p95", percentile(taken, 0.95) * 1e3)):
        yield Figure(
            name=f"key echo {name}, {TRIALS:,} trials, {when}", value=value, unit="ms", bar=ECHO_P50_BAR_MS, note=note
        )


async def _start(data: Path) -> None:
    """Let the server begin with the sweep."""
    connection = await connect(ConnectSettings(data=data))
    client = Client(connection.address, connection.person_token)
    start = next(method for method in methods() if method.name == "StartSweep")
    try:
        await client.call(start, sweep_pb2.StartSweepRequest(spec=_spec()))
    finally:
        await client.close()


def _spec() -> sweep_pb2.SweepSpec:
    """One case, three dimensions, everything at random."""
    floats = [
        sweeping_pb2.SearchDimension(name=name, float_range=sweeping_pb2.FloatRange(low=0.1, high=1.0))
        for name in ("answer.temperature", "answer.top_p")
    ]
    counts = sweeping_pb2.SearchDimension(name="answer.max_tokens", int_range=sweeping_pb2.IntRange(low=1, high=400))
    return sweep_pb2.SweepSpec(
        title="Ten thousand trials",
        pipeline=sweep_pb2.Pipeline(stages=[sweep_pb2.Stage(name="answer", model=MODEL)]),
        space=[*floats, counts],
        items=[scorer_pb2.Item(item_id="one", input="Say something.", reference="something")],
        scorers=["length:1-400"],
        sampler=sweeping_pb2.Sampler(kind=sweeping_pb2.SAMPLER_KIND_RANDOM),
        racing=sweeping_pb2.Racing(method=sweeping_pb2.RACING_METHOD_NONE),
        budget=sweeping_pb2.Budget(trials=TRIALS),
        trials_at_once=32,
        concurrency=32,
        seed=1,
    )
