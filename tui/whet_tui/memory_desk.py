"""The desk in memory: the twin of `whet_tui.grpc_desk.GrpcDesk`, for tests and pictures of screens without a server."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Final

from whet.v1 import event_pb2
from whet_tui.calibration_values import Agreement, Audit, AuditRun, Calibration
from whet_tui.dataset_values import Dataset, Row, RowPage, Split
from whet_tui.desk import DeskError
from whet_tui.desk_values import Endpoint, Following, Grouping, Probe, Run, Spending, UsageLine
from whet_tui.entries import Fanout, FanoutState, Lane, Money
from whet_tui.judging_values import ItemQuery
from whet_tui.lanes import hear
from whet_tui.memory_judging import MemoryJudging
from whet_tui.memory_sweeps import MemorySweeps

_ALL: Final = 20_000
"""Items of a judgement, at most."""
_PAGE: Final = 20
"""Rows of a data set on a page."""


class MemoryDesk:
    """Keeps what it is given, lets runs be told event by event, and can be away."""

    def __init__(self) -> None:
        self.endpoint_list: Sequence[Endpoint] = ()
        self.tests: dict[str, Probe] = {}
        self.money: dict[Grouping, Spending] = {}
        self.data: dict[tuple[str, int], Dataset] = {}
        """Versions of data sets by name and number, older ones first."""
        self.data_rows: dict[tuple[str, int], Sequence[Row]] = {}
        self.calibration_list: Sequence[Calibration] = ()
        self.audit_list: Sequence[AuditRun] = ()
        self.audits_kept: dict[str, Audit] = {}
        self.away = ""
        """Why nobody answers; empty while somebody does."""
        self.looks = 0
        """How often something was fetched."""
        self.followers = 0
        """How many follow a run right now."""
        self._told: dict[str, list[event_pb2.Event]] = {}
        self._grown = asyncio.Condition()
        self.judging = MemoryJudging(self._look, self._answer, self._grown, self._wake)
        self.sweeping = MemorySweeps(self._look, self._answer, self._grown, self._wake)

    async def tell(self, run_id: str, *events: event_pb2.Event) -> None:
        """Let these events happen in a run. The first of a run is its `run_opened`."""
        self._told.setdefault(run_id, []).extend(events)
        await self._wake()

    async def leave(self, why: str) -> None:
        """Be away from now on, also for those who follow; with no reason, be back."""
        self.away = why
        await self._wake()

    async def runs(self) -> Sequence[Run]:
        self._look()
        return [_run(run_id, events) for run_id, events in reversed(self._told.items())]

    async def follow(self, following: Following) -> AsyncGenerator[None, None]:
        told = self._of(following.run_id)
        self.followers += 1
        try:
            while not following.fanout.ended:
                place = int(following.cursor or 0)
                for event in told[place:]:
                    hear(following.fanout, event)
                following.cursor = str(len(told))
                yield
                async with self._grown:
                    await self._grown.wait_for(lambda: self.away or len(told) > int(following.cursor))
                self._answer()
        finally:
            self.followers -= 1

    async def cancel(self, run_id: str, branch_id: str = "") -> None:
        fanout = _folded(run_id, self._of(run_id))
        if branch_id and branch_id not in fanout.lanes:
            raise DeskError(f"{branch_id!r} is no branch of {run_id}")
        if fanout.ended:
            return
        cut = [lane for lane in fanout.lanes.values() if not lane.state.ended and branch_id in {"", lane.branch_id}]
        events = [
            event_pb2.Event(sequence=fanout.heard + place, branch_finished=_cut(lane))
            for place, lane in enumerate(cut, 1)
        ]
        if not branch_id:
            finished = event_pb2.RunFinished(state=event_pb2.RUN_STATE_CANCELLED)
            events.append(event_pb2.Event(sequence=fanout.heard + len(events) + 1, run_finished=finished))
        await self.tell(run_id, *events)

    async def endpoints(self) -> Sequence[Endpoint]:
        self._look()
        return self.endpoint_list

    async def test(self, endpoint: str) -> Probe:
        self._answer()
        if endpoint not in self.tests:
            raise DeskError(f"There is no endpoint {endpoint!r}.")
        return self.tests[endpoint]

    async def spending(self, grouping: Grouping) -> Spending:
        self._look()
        return self.money.get(grouping, Spending(total=UsageLine(key="", money=Money())))

    async def datasets(self, name: str = "") -> Sequence[Dataset]:
        self._look()
        if name:
            return [each for each in reversed(self.data.values()) if each.name == name]
        return sorted({each.name: each for each in self.data.values()}.values(), key=lambda each: each.name)

    async def rows(self, name: str, version: int, *, split: Split | None = None, token: str = "") -> RowPage:
        data = self._version(name, version)
        if data.sealed and split is Split.HOLDOUT:
            raise DeskError(f"The hold-out of {name}@{version} is sealed.")
        hidden = Split.HOLDOUT if data.sealed else None
        found = [row for row in self.data_rows[name, version] if row.split is not hidden and split in {None, row.split}]
        start, sealed = int(token or 0), data.rows - data.rows_of(None) if split is None else 0
        page, end = tuple(found[start : start + _PAGE]), start + _PAGE
        return RowPage(rows=page, next_page_token=str(end) if end < len(found) else "", sealed_rows=sealed)

    async def open_seal(self, name: str, version: int, reason: str) -> Dataset:
        data = self._version(name, version)
        if not data.sealed:
            raise DeskError(f"The hold-out of {name}@{version} is open already.")
        self.data[name, version] = replace(
            data, sealed=False, open_ns=1, open_reason=reason, open_run_id=f"seal_{name}_{version}"
        )
        return self.data[name, version]

    async def calibrations(self) -> Sequence[Calibration]:
        self._look()
        return self.calibration_list

    async def calibrate(self, run_id: str, criterion: str, request_id: str) -> Calibration:
        items = (await self.judging.items(ItemQuery(run_id=run_id), size=_ALL)).items
        rated = [each for each in items if each.ratings]
        if not rated:
            raise DeskError(f"Nobody has rated an item of {run_id}.", lasting=True)
        agreement = Agreement(items=len(rated))
        made = Calibration(
            calibration_id=f"cal_{request_id}", run_id=run_id, criterion=criterion, agreements=(agreement,)
        )
        self.calibration_list = (made, *self.calibration_list)
        return made

    async def audits(self) -> Sequence[AuditRun]:
        self._look()
        return self.audit_list

    async def audit(self, run_id: str) -> Audit:
        self._answer()
        if run_id not in self.audits_kept:
            raise DeskError(f"There is no audit {run_id!r}.")
        return self.audits_kept[run_id]

    async def close(self) -> None:
        await self.leave("The desk is closed.")

    def _look(self) -> None:
        self.looks += 1
        self._answer()

    def _answer(self) -> None:
        if self.away:
            raise DeskError(self.away)

    def _version(self, name: str, version: int) -> Dataset:
        self._answer()
        if (name, version) not in self.data:
            raise DeskError(f"There is no data set {name}@{version}.")
        return self.data[name, version]

    def _of(self, run_id: str) -> list[event_pb2.Event]:
        self._answer()
        if run_id not in self._told:
            raise DeskError(f"There is no run {run_id!r}.")
        return self._told[run_id]

    async def _wake(self) -> None:
        async with self._grown:
            self._grown.notify_all()


def _folded(run_id: str, events: Sequence[event_pb2.Event]) -> Fanout:
    fanout = Fanout(run_id=run_id)
    for event in events:
        hear(fanout, event)
    return fanout


def _cut(lane: Lane) -> event_pb2.BranchFinished:
    state = event_pb2.BRANCH_STATE_PARTIAL if lane.text else event_pb2.BRANCH_STATE_CANCELLED
    return event_pb2.BranchFinished(branch_id=lane.branch_id, state=state, text=lane.text)


def _run(run_id: str, events: Sequence[event_pb2.Event]) -> Run:
    fanout = _folded(run_id, events)
    ended = fanout.opened_ns + fanout.latency_ns if fanout.state is not FanoutState.RUNNING else 0
    return Run(
        run_id=run_id,
        title=fanout.prompt,
        state=fanout.state,
        created_ns=fanout.opened_ns,
        ended_ns=ended,
        money=replace(fanout.money),
    )
