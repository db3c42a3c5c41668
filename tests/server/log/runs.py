"""Runs and events for the tests of the log."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

from whet_server.errors import StorageUnavailable
from whet_server.log.events import BranchDelta, BranchFinished, Event, RunFinished, RunOpened
from whet_server.log.lifecycle import BranchState
from whet_server.log.log import Batch, EventLog
from whet_server.store.base import EventRecord, Write
from whet_server.store.memory import MemoryStore
from whet_server.values import BranchId, ModelName, Nanos, Role, Run, RunId, RunKind, RunState, Totals, Workspace

HOME = Workspace("home")
PATIENCE = 10.0
RUN_ID = RunId("fan_1")
SUCCEEDED = RunFinished(state=RunState.SUCCEEDED, totals=Totals(settled=Nanos(9)))


class Clock:
    """Time that goes on by itself, a nanosecond a look."""

    def __init__(self) -> None:
        self.now_ns = 1_768_000_000_000_000_000

    def __call__(self) -> int:
        self.now_ns += 1
        return self.now_ns


class StubbornStore(MemoryStore):
    """A store that refuses writes while `full`."""

    full = False

    async def commit(self, *writes: Write) -> None:
        if self.full:
            raise StorageUnavailable("the disk is full")
        await super().commit(*writes)


class DawdlingStore(MemoryStore):
    """A store whose reads and commits let others go on for some turns before and after."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance

    async def events(self, run_id: RunId, *, after: int = 0, limit: int = 500) -> Sequence[EventRecord]:
        await self._dawdle()
        found = await super().events(run_id, after=after, limit=min(limit, self._chance.randrange(1, 5)))
        await self._dawdle()
        return found

    async def commit(self, *writes: Write) -> None:
        await super().commit(*writes)
        await self._dawdle()

    async def _dawdle(self) -> None:
        for _ in range(self._chance.randrange(4)):
            await asyncio.sleep(0)


def new_run(run_id: RunId = RUN_ID, workspace: Workspace = HOME) -> Run:
    return Run(
        run_id=run_id,
        workspace=workspace,
        kind=RunKind.FANOUT,
        title="a test",
        state=RunState.RUNNING,
        role=Role.PERSON,
        create_ns=1,
    )


def opened(run_id: RunId = RUN_ID) -> RunOpened:
    return RunOpened(run_id=run_id, kind=RunKind.FANOUT, title="a test", role=Role.PERSON, prompt="π?")


def finished(number: int, text: str = "text") -> BranchFinished:
    return BranchFinished(
        branch_id=BranchId(f"b{number}"),
        state=BranchState.DONE,
        model=ModelName("sim/a"),
        text=text,
        totals=Totals(settled=Nanos(2), attempts=1),
    )


def delta(number: int, offset: int, text: str) -> BranchDelta:
    return BranchDelta(branch_id=BranchId(f"b{number}"), offset=offset, text=text)


async def first(batches: AsyncIterator[Batch]) -> Batch:
    async with asyncio.timeout(PATIENCE):
        return await anext(batches)


async def everything(log: EventLog, cursor: str = "", run_id: RunId = RUN_ID) -> list[Event]:
    """Watch to the end."""
    async with asyncio.timeout(PATIENCE):
        return [event async for batch in log.watch(HOME, run_id, cursor) for event in batch.events]


def sequences(events: list[Event]) -> list[int]:
    return [event.sequence for event in events if event.sequence]
