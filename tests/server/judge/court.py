"""A room of judgements over a store in memory, with judges that answer by script."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from tests.server.fanout.panel import HOME, ME, PATIENCE, Answer, Clock, Panel, Script
from tests.server.judge.bench import TEXT, compared, rated

from whet_server.calibration.calibrations import Calibrations
from whet_server.calibration.ratings import Ratings
from whet_server.dataset.datasets import Datasets
from whet_server.fanout.fanouts import FanoutDefaults, Fanouts
from whet_server.judge.items import Items
from whet_server.judge.judgements import Judgements
from whet_server.judge.plan import Planner
from whet_server.judge.rubrics import Rubrics
from whet_server.judge.run import Conclude
from whet_server.judge.spec import JudgementSpec, JudgementView
from whet_server.judging import Item, Judge, JudgeMode, Outcome, Verdict
from whet_server.ledger.prices import Price
from whet_server.llm.base import Caller, CallSpec
from whet_server.llm.keys import Sealer
from whet_server.llm.registry import Endpoints
from whet_server.log.events import Event, VerdictsReached
from whet_server.log.log import EventLog
from whet_server.score.scorers import Scorers
from whet_server.store.base import Write
from whet_server.store.memory import MemoryStore
from whet_server.values import ModelName, RunId, RunKind

JUDGE = ModelName("house/judge")
SECOND = ModelName("house/second")
GARBAGE = "I like it."
P = TypeVar("P")


class RecordingStore(MemoryStore):
    """Remembers every commit, so that a store can be made as it stood after any of them."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[tuple[Write, ...]] = []

    async def commit(self, *writes: Write) -> None:
        await super().commit(*writes)
        self.commits.append(writes)

    async def after(self, commits: int) -> "RecordingStore":
        """Return a store that a crash left with so many commits."""
        left = RecordingStore()
        for writes in self.commits[:commits]:
            await left.commit(*writes)
        return left


def number_of(call: CallSpec) -> int:
    """Return the number of the item that a call asks about; `items` puts it into every answer."""
    found = re.search(r"answer number (\d+)", call.messages[1].content)
    assert found is not None
    return int(found[1])


def level_of(number: int) -> int:
    return 1 + number % 5


def by_number(
    special: Mapping[int, Answer] | None = None, level: Callable[[int], int] = level_of
) -> Callable[[CallSpec], Answer]:
    """A judge who gives each item the level of its number, and some items another answer. Asked again it answers the
    same.
    """

    def script(call: CallSpec) -> Answer:
        number = number_of(call)
        if special and number in special:
            return special[number]
        return Answer(text=rated(level(number), level(number), quote="the answer"))

    return script


def items(count: int, *, candidates: int = 1) -> tuple[Item, ...]:
    """Items whose answers name their number. Answers to the rubric's quotes: each holds `the answer` and `Air`."""
    return tuple(
        Item(
            item_id=f"i{number}",
            input="Why?",
            candidates=tuple(
                f"Air: the answer number {number}, version {version} of the sea." for version in range(candidates)
            ),
            reference=f"Air: the answer number {number}, version 0 of the sea.",
        )
        for number in range(count)
    )


def judge(*models: ModelName, mode: JudgeMode = JudgeMode.POINTWISE, samples: int = 1) -> Judge:
    return Judge(rubric="two", models=models or (JUDGE,), mode=mode, samples=samples)


@dataclass
class Court:
    panel: Panel
    store: MemoryStore
    log: EventLog
    fanouts: Fanouts
    datasets: Datasets
    rubrics: Rubrics
    ratings: Ratings
    calibrations: Calibrations
    judgements: Judgements
    scorers: Scorers
    _conclude: dict[RunKind, Conclude] = field(default_factory=dict)

    async def start(self, spec: JudgementSpec) -> RunId:
        return (await self.judgements.start(ME, spec, request_id="")).run_id

    async def events(self, run_id: RunId) -> list[Event]:
        """Watch the run to its end."""
        async with asyncio.timeout(PATIENCE):
            return [event async for batch in self.judgements.watch(HOME, run_id) for event in batch.events]

    async def judge(self, spec: JudgementSpec) -> JudgementView:
        """Judge to the end."""
        run_id = await self.start(spec)
        await self.events(run_id)
        return await self.judgements.get(HOME, run_id)

    async def verdicts(self, run_id: RunId) -> list[Verdict]:
        return verdicts(await self.log.events(HOME, run_id, limit=100_000))


@asynccontextmanager
async def court(
    scripts: dict[str, Script],
    *,
    panel: Panel | None = None,
    caller: Caller | None = None,
    store: MemoryStore | None = None,
    price: Price | None = None,
) -> AsyncIterator[Court]:
    """Open the room; `caller` stands in for the panel where a test needs the real one."""
    store = store or MemoryStore()
    panel = panel or Panel(scripts, price=price or Price(input=1, output=1, source="endpoint"))
    asked = caller or panel
    clock = Clock(0)
    log = EventLog(store, clock=clock)
    endpoints = await Endpoints.open(store, sealer=Sealer(bytes(32)), transports={}, configured=[])
    scorers = Scorers(asked, endpoints)
    rubrics = Rubrics(store, clock=clock)
    if "two" not in {rubric.name for rubric in await rubrics.newest(HOME)}:
        await rubrics.put(HOME, "two", TEXT, also=lambda _rubric, _new: ())
    fanouts = Fanouts(log, asked, store, FanoutDefaults(panel=()), clock=clock)
    datasets = Datasets(log, store, clock=clock)
    ratings = Ratings(store, rubrics, clock=clock)
    calibrations = Calibrations(store, ratings, clock=clock)
    planner = Planner(asked, Items(fanouts, datasets), rubrics, scorers, (JUDGE,))
    judgements = Judgements(log, asked, store, planner, scorers, calibrations, clock=clock)
    try:
        yield Court(panel, store, log, fanouts, datasets, rubrics, ratings, calibrations, judgements, scorers)
    finally:
        await judgements.drain(0)
        await fanouts.drain(0)
        await scorers.close()
        assert len(panel.ended) == len(panel.asked)


def verdicts(events: Sequence[Event]) -> list[Verdict]:
    return [
        verdict for event in events if isinstance(event.payload, VerdictsReached) for verdict in event.payload.verdicts
    ]


def outcomes(view: JudgementView, at: int = 0) -> dict[Outcome, int]:
    """Return the counts of a criterion."""
    return {count.outcome: count.count for count in view.sums.criteria[at].outcomes}


def preferring(better: Callable[[CallSpec], str]) -> Callable[[CallSpec], Answer]:
    """A judge of pairs who finds this one better: `A`, `B` or `tie`."""

    def script(call: CallSpec) -> Answer:
        found = better(call)
        return Answer(text=compared(found, found, quote="the sea").replace('"quote": ""', '"quote": "the sea"'))

    return script
