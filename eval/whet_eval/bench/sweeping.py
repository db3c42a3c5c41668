"""What a sweep adds to the calls it makes: a thousand cases over an upstream that takes 0.2 seconds, and thousands of
trials whose model takes no time at all.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import grpc.aio

from whet.v1 import fanout_pb2, judging_pb2, scorer_pb2, sweep_pb2, sweep_pb2_grpc, sweeping_pb2
from whet_eval.bench.children import Server, priced
from whet_eval.bench.figure import Figure, median
from whet_server import garbage
from whet_server.app import opened_rooms
from whet_server.config import ServerConfig
from whet_server.judging import Item
from whet_server.llm.keys import Sealer
from whet_server.log.events import TrialFinished
from whet_server.store.sql import SqlStore
from whet_server.sweep.spec import Pipeline, Stage, SweepSpec
from whet_server.sweeping import (
    Budget,
    Choice,
    Choices,
    FloatRange,
    IntRange,
    Racing,
    RacingMethod,
    Sampler,
    SamplerKind,
    SearchDimension,
)
from whet_server.values import ModelName, Principal, Role, Workspace

TRIALS: Final = 10
CASES: Final = 100
IN_FLIGHT: Final = 100
FIRST_MS: Final = 200
IDEAL: Final = TRIALS * CASES / IN_FLIGHT * FIRST_MS / 1_000
"""Seconds that nothing can undercut."""
BAR: Final = 1.3
ROUNDS: Final = 3
MODEL: Final = f"answer?chunks=20&first_ms={FIRST_MS}"

MANY: Final = 5_000
"""Trials of the sweep whose overhead is measured."""
STARTUP: Final = 12
"""Trials of a first sweep, which loads what sampling needs."""
TRIAL_BAR_MS: Final = 10.0
BLOCKED_BAR_MS: Final = 50.0
TICK: Final = 0.005
"""Seconds between two looks at the clock of the event loop."""

_OPTIONS: Final = (("grpc.max_receive_message_length", 64 << 20),)


def config(url: str) -> str:
    """Return a configuration with what is asked here."""
    return priced(url, MODEL)


def spec(number: int) -> sweep_pb2.SweepSpec:
    """Describe a sweep that goes through all of its cases and always to the provider."""
    return sweep_pb2.SweepSpec(
        pipeline=sweep_pb2.Pipeline(
            stages=[sweep_pb2.Stage(name="answer", template="{{ input }}", model=f"stub/{MODEL}")]
        ),
        space=[
            sweeping_pb2.SearchDimension(
                name="answer.temperature", float_range=sweeping_pb2.FloatRange(low=0.0, high=1.0)
            )
        ],
        sampler=sweeping_pb2.Sampler(kind=sweeping_pb2.SAMPLER_KIND_RANDOM),
        racing=sweeping_pb2.Racing(method=sweeping_pb2.RACING_METHOD_NONE),
        items=[
            scorer_pb2.Item(item_id=f"c{at}", input=f"Why is the sky blue? ({number}, {at})", reference="light")
            for at in range(CASES)
        ],
        scorers=["contains:e"],
        budget=sweeping_pb2.Budget(trials=TRIALS),
        concurrency=IN_FLIGHT,
        seed=number,
        cache=fanout_pb2.CacheUse(bypass=True),
    )


async def swept(server: Server, number: int) -> float:
    """Run a sweep to its end, reading every event; return the seconds."""
    async with grpc.aio.insecure_channel(server.address, options=_OPTIONS) as channel:
        stub, metadata = sweep_pb2_grpc.SweepServiceStub(channel), (("authorization", f"Bearer {server.token}"),)
        start, scored = time.perf_counter(), 0
        begun = await stub.StartSweep(sweep_pb2.StartSweepRequest(spec=spec(number)), metadata=metadata)
        request = sweep_pb2.WatchSweepRequest(run_id=begun.sweep.run_id)
        async for response in stub.WatchSweep(request, metadata=metadata):
            for event in response.batch.events:
                scored += sum(case.outcome == judging_pb2.OUTCOME_SCORED for case in event.cases_finished.cases)
        seconds = time.perf_counter() - start
    if scored != TRIALS * CASES:
        raise RuntimeError(f"{scored} of {TRIALS * CASES} cases have a score")
    return seconds


async def sweeping(server: Server) -> AsyncIterator[Figure]:
    """Wall time of a sweep over its ideal."""
    walls = [await swept(server, number) for number in range(ROUNDS + 1)][1:]  # the first round warms up
    yield Figure(
        name=f"{TRIALS * CASES} cases of a sweep, {IN_FLIGHT} in flight, wall / ideal",
        value=median(walls) / IDEAL,
        unit="x",
        bar=BAR,
        note=f"{median(walls):.2f} s, ideal {IDEAL:.1f} s; {min(walls):.2f} to {max(walls):.2f} s",
    )


class Ticker:
    """Looks at the clock of the event loop again and again, and remembers the longest time it stood still."""

    def __init__(self) -> None:
        self.worst = 0.0
        self._task = asyncio.create_task(self._tick())

    def stop(self) -> float:
        """Return the longest time, in seconds."""
        self._task.cancel()
        return self.worst

    async def _tick(self) -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(TICK)
            self.worst = max(self.worst, time.perf_counter() - start - TICK)


def many(trials: int) -> SweepSpec:
    """Describe a sweep of one case a trial over five parameters, whose model answers at once."""
    words = [
        SearchDimension(name=name, choices=Choices(choices=tuple(Choice(label=f"{name} {at}") for at in range(4))))
        for name in ("tone", "form")
    ]
    template = "{{ params.tone }} {{ params.form }}: {{ input }}"
    stage = Stage(name="a", template=template, model=ModelName("sim/classify?first_ms=0&rate=2000"))
    return SweepSpec(
        pipeline=Pipeline(stages=(stage,)),
        space=(
            SearchDimension(name="a.top_p", float_range=FloatRange(low=0.01, high=1.0)),
            SearchDimension(name="a.temperature", float_range=FloatRange(low=0.0, high=2.0)),
            SearchDimension(name="a.max_tokens", int_range=IntRange(low=50, high=500)),
            *words,
        ),
        items=(Item(item_id="c", input="Is it so? [yes]", reference="yes"),),
        sampler=Sampler(kind=SamplerKind.TPE),
        racing=Racing(method=RacingMethod.NONE),
        budget=Budget(trials=trials),
        cache_bypass=True,
    )


async def overhead(base: Path) -> AsyncIterator[Figure]:
    """What thousands of trials by TPE take beside their model, which answers at once, and how long the server stands
    still at most while it thinks. Everything in this process, over a real database.
    """
    base.mkdir(parents=True, exist_ok=True)
    garbage.look_seldom()  # as the server does
    garbage.keep()
    person = Principal(workspace=Workspace("default"), role=Role.PERSON)
    async with AsyncExitStack() as stack:
        store = await SqlStore.open(base / "whet.db")
        stack.push_async_callback(store.close)
        rooms = await stack.enter_async_context(opened_rooms(store, ServerConfig(), Sealer(bytes(32))))
        stack.push_async_callback(rooms.sweeps.drain, 0)
        run = await rooms.sweeps.start(person, many(STARTUP), request_id="warm")
        async for _ in rooms.sweeps.watch(person.workspace, run.run_id):
            pass
        ticker, start, ended = Ticker(), time.perf_counter(), 0
        run = await rooms.sweeps.start(person, many(MANY), request_id="bench")
        async for batch in rooms.sweeps.watch(person.workspace, run.run_id, without_cases=True):
            ended += sum(isinstance(event.payload, TrialFinished) for event in batch.events)
        seconds, worst = time.perf_counter() - start, ticker.stop()
    if ended < MANY:
        raise RuntimeError(f"{ended} of {MANY} trials ended")
    note = f"{seconds:.0f} s from start to conclusion"
    yield Figure(name=f"{MANY} trials by TPE, each", value=seconds / MANY * 1e3, unit="ms", bar=TRIAL_BAR_MS, note=note)
    yield Figure(name="event loop blocked meanwhile, at most", value=worst * 1e3, unit="ms", bar=BLOCKED_BAR_MS)
