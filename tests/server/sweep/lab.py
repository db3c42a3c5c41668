"""A room of sweeps over a store in memory, with a target whose truth is known and whose answers come in any order."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.server.fanout.panel import HOME, ME, PATIENCE, Answer, Panel
from tests.server.judge.court import RecordingStore

from whet_server.dataset.datasets import Datasets
from whet_server.errors import CapExceeded, Reason, failure_of
from whet_server.fanout.fanouts import FanoutDefaults, Fanouts
from whet_server.judge.items import Items
from whet_server.judge.plan import Planner as Criteria
from whet_server.judge.rubrics import Rubrics
from whet_server.judging import Item, Outcome
from whet_server.ledger.ledger import Ledger
from whet_server.ledger.prices import Price
from whet_server.llm.keys import Sealer
from whet_server.llm.registry import Endpoints
from whet_server.log.events import Event, TrialFinished, TrialStarted
from whet_server.log.log import EventLog
from whet_server.score.scorers import Scorers
from whet_server.sweep.crew import Question
from whet_server.sweep.fold import SweepFold
from whet_server.sweep.forecast import Costs
from whet_server.sweep.means import Answered
from whet_server.sweep.plan import Planned, Planner
from whet_server.sweep.spec import Pipeline, Stage, SweepRecord, SweepSpec
from whet_server.sweep.sweeps import Sweeps
from whet_server.sweep.targets import Prepared
from whet_server.sweeping import (
    Budget,
    Choice,
    Choices,
    Configuration,
    FloatRange,
    Racing,
    RacingMethod,
    Sampler,
    SamplerKind,
    SearchDimension,
    TrialCase,
)
from whet_server.values import Failure, Message, ModelName, Nanos, RunId, Totals, Usage, Workspace

PRICE = Price(input=1_000_000, output=1_000_000)
WORST = 20
"""Tokens, and nanos, that a case reserves at most; it uses `USED`."""
USED = 10
Truth = Callable[[Configuration, Item, int], float | None]


def items(count: int) -> tuple[Item, ...]:
    return tuple(Item(item_id=f"c{at:03}", input=f"question {at}", reference="yes") for at in range(count))


def space() -> tuple[SearchDimension, ...]:
    return (
        SearchDimension(name="heat", float_range=FloatRange(low=0.0, high=1.0)),
        SearchDimension(
            name="kind", choices=Choices(choices=(Choice(label="a"), Choice(label="b"), Choice(label="c")))
        ),
    )


def spec(**changed: Any) -> SweepSpec:
    """A sweep of twelve trials over twenty-four cases, with racing and a second answer where it decides."""
    whole: dict[str, Any] = {
        "pipeline": Pipeline(stages=(Stage(name="s", template="{{ input }}", model=ModelName("house/m")),)),
        "space": space(),
        "items": items(24),
        "scorers": ("exact",),
        "sampler": Sampler(kind=SamplerKind.TPE, startup_trials=4),
        "racing": Racing(method=RacingMethod.MEDIAN, min_cases=6, replicates=2),
        "budget": Budget(trials=12),
        "concurrency": 10,
        "trials_at_once": 3,
        "seed": 7,
    }
    return SweepSpec(**(whole | changed))


def truth(configuration: Configuration, item: Item, sample: int) -> float | None:
    """Warm and of kind `b` is right most often; each case falls as a fixed chance says."""
    heat, kind = float(configuration["heat"]), configuration["kind"]
    share = 0.35 + 0.3 * heat + (0.3 if kind == "b" else 0.0)
    drawn = random.Random(f"{item.item_id}/{sample}/{heat:.6f}/{kind}").random()
    return float(drawn < share)


@dataclass
class Lab:
    """A target: answers come after a number of turns of the loop that `jitter` draws, or wait for `gate`."""

    ledger: Ledger
    truth: Truth = truth
    jitter: int = 0
    broken: Callable[[Question], Failure | None] = lambda _: None
    gate: asyncio.Event | None = None
    asked: list[Question] = field(default_factory=list)
    rewrites: list[str] = field(default_factory=list)
    under_way: int = 0
    most: int = 0
    change: asyncio.Event = field(default_factory=asyncio.Event)

    async def prepared(self, workspace: Workspace, spec: SweepSpec, items: Sequence[Item]) -> Prepared:
        baseline: Configuration = {"heat": 0.0, "kind": "a"}
        return Prepared(spec=spec, baseline=baseline, models={})

    async def costs(self, workspace: Workspace, planned: Planned) -> Costs:
        calls = planned.record.plan.trials * len(planned.items)
        return Costs(calls=calls, expected=Nanos(calls * USED), worst=Nanos(calls * WORST))

    async def answers(
        self, workspace: Workspace, run_id: RunId, record: SweepRecord, items: Sequence[Item]
    ) -> "LabAnswers":
        return LabAnswers(self, workspace, run_id, record.plan.budget)

    async def until(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready()`, asked again whenever a case begins or ends."""
        async with asyncio.timeout(PATIENCE):
            while not ready():
                await self.change.wait()

    def moved(self, by: int) -> None:
        self.under_way += by
        self.most = max(self.most, self.under_way)
        self.change.set()
        self.change = asyncio.Event()


class LabAnswers:
    """One sweep's answers."""

    def __init__(self, lab: Lab, workspace: Workspace, run_id: RunId, budget: Budget) -> None:
        self._lab = lab
        self._workspace = workspace
        self._run_id = run_id
        self._random = random.Random(lab.jitter)
        self.budget = budget

    def afford(self, budget: Budget) -> None:
        self.budget = budget

    def open(self, rows: Sequence[Item]) -> None:
        """Any row is answered."""

    def fault(self, stage: str, template: str) -> str:
        return ""

    async def reflected(
        self, call: str, messages: tuple[Message, ...], stop: asyncio.Event
    ) -> tuple[str, Failure | None]:
        """Rewrite a template into the name of the call, so that each rewrite is another text."""
        self._lab.rewrites.append(call)
        return f"<template>{{{{ input }}}} {call}</template>", None

    async def scored(self, question: Question, answered: Answered, stop: asyncio.Event) -> TrialCase:
        score = float(answered.output == question.item.reference)
        return TrialCase(
            case_id=question.item.item_id,
            sample=question.sample,
            outcome=Outcome.SCORED,
            score=score,
            output=answered.output,
        )

    async def case(
        self, question: Question, configuration: Configuration, texts: Mapping[str, str], stop: asyncio.Event
    ) -> TrialCase:
        self._lab.asked.append(question)
        self._lab.moved(+1)
        try:
            return await self._case(question, configuration, stop)
        finally:
            self._lab.moved(-1)

    async def _case(self, question: Question, configuration: Configuration, stop: asyncio.Event) -> TrialCase:
        made: dict[str, Any] = {"case_id": question.item.item_id, "sample": question.sample}
        try:
            entry = await self._lab.ledger.reserve(
                self._workspace,
                run_id=self._run_id,
                model=ModelName("house/m"),
                price=PRICE,
                max_input_tokens=0,
                max_output_tokens=WORST,
                run_cap=self.budget.money,
            )
        except CapExceeded as error:
            return TrialCase(**made, outcome=Outcome.UNAFFORDABLE, failure=failure_of(error))
        for _ in range(self._random.randrange(self._lab.jitter + 1)):
            await asyncio.sleep(0)
        if self._lab.gate is not None:
            waits = [asyncio.ensure_future(each.wait()) for each in (self._lab.gate, stop)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
            if stop.is_set() and not self._lab.gate.is_set():
                await self._lab.ledger.unknown(self._workspace, entry.reservation_id)
                cut = Failure(reason=Reason.CANCELLED, message="cut off")
                totals = Totals(unknown=entry.reserved, attempts=1)
                return TrialCase(**made, outcome=Outcome.CANCELLED, failure=cut, totals=totals)
        usage = Usage(output_tokens=USED)
        settled = await self._lab.ledger.settle(self._workspace, entry.reservation_id, usage)
        totals = Totals(settled=settled.settled, usage=usage, attempts=1)
        told = self._lab.broken(question)
        score = None if told else self._lab.truth(configuration, question.item, question.sample)
        return TrialCase(
            **made,
            outcome=Outcome.FAILED if score is None else Outcome.SCORED,
            score=score,
            failure=told,
            totals=totals,
            cost=settled.settled,
            latency_ns=1_000_000,
        )


@dataclass
class Room:
    """The room and what stands around it."""

    sweeps: Sweeps
    lab: Lab
    log: EventLog
    ledger: Ledger
    datasets: Datasets
    store: RecordingStore

    async def start(self, wanted: SweepSpec) -> RunId:
        return (await self.sweeps.start(ME, wanted, request_id="q")).run_id

    async def events(self, run_id: RunId) -> list[Event]:
        """Watch to the end; return the durable events."""
        found: list[Event] = []
        async with asyncio.timeout(PATIENCE * 3):
            async for batch in self.sweeps.watch(HOME, run_id):
                found += [event for event in batch.events if event.sequence]
        return found

    async def fold(self, run_id: RunId) -> SweepFold:
        return (await self.sweeps.fold(HOME, run_id))[1]


@asynccontextmanager
async def room(store: RecordingStore | None = None, *, clock: "Clock | None" = None, **lab: Any) -> AsyncIterator[Room]:
    store, clock = store or RecordingStore(), clock or Clock()
    panel = Panel({"house/m": Answer()}, price=PRICE)
    ledger = await Ledger.open(store, clock=clock)
    log = EventLog(store, clock=clock)
    endpoints = await Endpoints.open(store, sealer=Sealer(bytes(32)), transports={}, configured=[])
    scorers = Scorers(panel, endpoints)
    datasets = Datasets(log, store, clock=clock)
    fanouts = Fanouts(log, panel, store, FanoutDefaults(panel=()), clock=clock)
    cases = Items(fanouts, datasets)
    criteria = Criteria(panel, cases, Rubrics(store, clock=clock), scorers, ())
    target = Lab(ledger, **lab)
    sweeps = Sweeps(
        log, store, ledger, Planner(criteria, cases, datasets), datasets, target, clock=clock, on_end=ledger.forget_run
    )
    try:
        yield Room(sweeps, target, log, ledger, datasets, store)
    finally:
        await sweeps.drain(0)
        await scorers.close()
        await ledger.close()


class Clock:
    """A clock that stands still unless it is moved."""

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns


def course(events: Sequence[Event]) -> list[tuple[object, ...]]:
    """Return what a sweep did, apart from its timing: each trial's parameters, and how and where it ended."""
    started = {
        event.payload.number: event.payload.parameters for event in events if isinstance(event.payload, TrialStarted)
    }
    ends = {
        event.payload.trial.number: event.payload.trial for event in events if isinstance(event.payload, TrialFinished)
    }
    return [
        (
            number,
            started[number],
            *((end.state, end.reason, end.answers, end.quality, end.lift) if (end := ends.get(number)) else ()),
        )
        for number in sorted(started)
    ]
