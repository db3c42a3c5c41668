"""The desk of sweeps over gRPC."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from whet.v1 import event_pb2, sweep_pb2, sweeping_pb2, trial_pb2, value_pb2
from whet_tui.asking_server import Asker
from whet_tui.reading_wire import read
from whet_tui.sweep_values import (
    Action,
    CasePage,
    Document,
    ExportFormat,
    Heard,
    Progress,
    ReportFormat,
    Retuning,
    Sweep,
    Trial,
    TrialPage,
)

_SWEEPS: Final = 200
"""Sweeps that a list shows: more than anybody scrolls through."""
_CASES: Final = 50
"""Cases on a page; their answers may be long."""
_AT_ONCE: Final = 40
"""Events or trials that are read before a key may have its turn: about three milliseconds."""
_SECONDS: Final = 60.0
"""Trials, cases and reports are summed over all answers; what is cancelled is billed before the answer comes."""
_AGAIN_SECONDS: Final = 0.2
"""Before a stream that was cut is attached again."""


class GrpcSweeps:
    """Asks the server that a desk is connected to."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    async def sweeps(self) -> Sequence[Sweep]:
        request = sweep_pb2.ListSweepsRequest(page=value_pb2.Page(size=_SWEEPS))
        answer = await self._asker.ask("ListSweeps", request, sweep_pb2.ListSweepsResponse)
        return [read(sweep, Sweep) for sweep in answer.sweeps]

    async def sweep(self, run_id: str) -> Sweep:
        request = sweep_pb2.GetSweepRequest(run_id=run_id)
        return read((await self._asker.ask("GetSweep", request, sweep_pb2.GetSweepResponse)).sweep, Sweep)

    async def trials(self, run_id: str, token: str = "", size: int = 200, *, front: bool = False) -> TrialPage:
        page = value_pb2.Page(size=size, token=token)
        request = trial_pb2.ListTrialsRequest(run_id=run_id, page=page, order=trial_pb2.TRIAL_ORDER_NUMBER, front=front)
        answer = await self._asker.ask("ListTrials", request, trial_pb2.ListTrialsResponse, timeout=_SECONDS)
        trials: list[Trial] = []
        for start in range(0, len(answer.trials), _AT_ONCE):
            trials += [read(each, Trial) for each in answer.trials[start : start + _AT_ONCE]]
            await asyncio.sleep(0)
        return TrialPage(trials=tuple(trials), next_page_token=answer.next_page_token, count=answer.count)

    async def watch(self, run_id: str) -> AsyncGenerator[Heard, None]:
        cursor = "now"
        while True:
            request = sweep_pb2.WatchSweepRequest(run_id=run_id, cursor=cursor, without_cases=True)
            async with aclosing(self._asker.stream("WatchSweep", request, sweep_pb2.WatchSweepResponse)) as messages:
                async for message in messages:
                    events = message.batch.events
                    for start in range(0, len(events), _AT_ONCE):
                        heard = _heard(events[start : start + _AT_ONCE])
                        yield heard
                        if heard.ended:
                            return
                        await asyncio.sleep(0)
                    cursor = message.batch.next_cursor or cursor
            if (await self.sweep(run_id)).ended:
                yield Heard(changed=True, ended=True)
                return
            await asyncio.sleep(_AGAIN_SECONDS)

    async def cases(self, run_id: str, trials: Sequence[int], token: str = "", *, differing: bool) -> CasePage:
        page = value_pb2.Page(size=_CASES, token=token)
        request = trial_pb2.ListCasesRequest(run_id=run_id, trials=trials, page=page, differing=differing)
        answer = await self._asker.ask("ListCases", request, trial_pb2.ListCasesResponse, timeout=_SECONDS)
        return read(answer, CasePage)

    async def control(self, run_id: str, action: Action, request_id: str, retuning: Retuning | None) -> Sweep:
        request = sweep_pb2.ControlSweepRequest(
            request_id=request_id,
            run_id=run_id,
            action=event_pb2.SweepAction.Value(f"SWEEP_ACTION_{action.upper()}"),
            retune=_retune(retuning) if retuning is not None else None,
        )
        answer = await self._asker.ask("ControlSweep", request, sweep_pb2.ControlSweepResponse, timeout=_SECONDS)
        return read(answer.sweep, Sweep)

    async def export(self, run_id: str, trial: int | None, kind: ExportFormat) -> Document:
        wanted = sweep_pb2.ExportFormat.Value(f"EXPORT_FORMAT_{kind.upper()}")
        request = sweep_pb2.ExportSweepRequest(run_id=run_id, trial=trial, format=wanted)
        return read(await self._asker.ask("ExportSweep", request, sweep_pb2.ExportSweepResponse), Document)

    async def report(self, run_id: str, kind: ReportFormat) -> Document:
        wanted = sweep_pb2.ReportFormat.Value(f"REPORT_FORMAT_{kind.upper()}")
        request = sweep_pb2.ReportSweepRequest(run_id=run_id, format=wanted)
        answer = await self._asker.ask("ReportSweep", request, sweep_pb2.ReportSweepResponse, timeout=_SECONDS)
        return read(answer, Document)


def _retune(retuning: Retuning) -> sweep_pb2.Retune:
    money = value_pb2.Money(nanos=retuning.money) if retuning.money is not None else None
    budget = sweeping_pb2.Budget(money=money, trials=retuning.trials or 0)
    return sweep_pb2.Retune(budget=budget, concurrency=retuning.concurrency or 0)


def _heard(events: Sequence[event_pb2.Event]) -> Heard:
    """What some events in a row come to: of each trial the last word."""
    trials: dict[int, Trial] = {}
    progress, changed, ended = None, False, False
    for event in events:
        match event.WhichOneof("payload"):
            case "trial_started":
                started = read(event.trial_started, Trial)
                trials[started.number] = started
            case "trial_finished":
                finished = read(event.trial_finished.trial, Trial)
                trials[finished.number] = finished
            case "sweep_progress":
                progress = read(event.sweep_progress, Progress)
            case "sweep_controlled" | "sweep_concluded":
                changed = True
            case "run_finished":
                changed = ended = True
            case _:
                pass
    return Heard(trials=tuple(trials.values()), progress=progress, changed=changed, ended=ended)
