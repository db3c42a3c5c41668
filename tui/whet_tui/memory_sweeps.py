"""The desk of sweeps in memory: the twin of `whet_tui.grpc_sweeps.GrpcSweeps`."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from whet_tui.desk import DeskError
from whet_tui.judging_values import RunState
from whet_tui.sweep_values import (
    Action,
    CasePage,
    ComparedCase,
    ComparedCell,
    Control,
    Document,
    ExportFormat,
    Heard,
    Phase,
    ReportFormat,
    Retuning,
    Sweep,
    Trial,
    TrialPage,
)

_CASES: Final = 50
"""Cases on a page."""
_PHASES: Final = {Action.PAUSE: Phase.PAUSED, Action.RESUME: Phase.SEARCH}
_ENDS: Final = {Action.STOP: RunState.PARTIAL, Action.CANCEL: RunState.CANCELLED}


@dataclass(slots=True, kw_only=True)
class _Kept:
    sweep: Sweep
    trials: dict[int, Trial] = field(default_factory=dict)
    cases: Sequence[ComparedCase] = ()
    told: list[Heard] = field(default_factory=list)
    requests: set[str] = field(default_factory=set)


class MemorySweeps:
    """Keeps what it is given. `answer` raises while the desk is away, `wake` tells those who wait that something has
    happened.
    """

    def __init__(
        self,
        look: Callable[[], None],
        answer: Callable[[], None],
        grown: asyncio.Condition,
        wake: Callable[[], Awaitable[None]],
    ) -> None:
        self.watchers = 0
        """How many watch a sweep right now."""
        self._look = look
        self._answer = answer
        self._grown = grown
        self._wake = wake
        self._kept: dict[str, _Kept] = {}

    async def put(
        self, sweep: Sweep, trials: Iterable[Trial] = (), cases: Sequence[ComparedCase] | None = None
    ) -> None:
        """Let a sweep stand so; those who watch it are told of these trials, its progress and its end."""
        before = self._kept.get(sweep.run_id)
        kept = self._kept.setdefault(sweep.run_id, _Kept(sweep=sweep))
        kept.sweep = sweep
        kept.cases = kept.cases if cases is None else cases
        told = tuple(trials)
        kept.trials |= {each.number: each for each in told}
        changed = before is not None and (sweep.ended or len(before.sweep.controls) != len(sweep.controls))
        kept.told.append(Heard(trials=told, progress=sweep.progress, changed=changed, ended=sweep.ended))
        await self._wake()

    async def sweeps(self) -> Sequence[Sweep]:
        self._look()
        return [replace(kept.sweep, controls=()) for kept in reversed(self._kept.values())]

    async def sweep(self, run_id: str) -> Sweep:
        self._look()
        return self._of(run_id).sweep

    async def trials(self, run_id: str, token: str = "", size: int = 200, *, front: bool = False) -> TrialPage:
        trials = sorted(self._of(run_id).trials.values(), key=lambda trial: trial.number)
        found = [trial for trial in trials if trial.front or not front]
        begin = int(token or 0)
        end = begin + size
        following = str(end) if end < len(found) else ""
        return TrialPage(trials=tuple(found[begin:end]), next_page_token=following, count=len(found))

    async def watch(self, run_id: str) -> AsyncGenerator[Heard, None]:
        kept = self._of(run_id)
        place = len(kept.told)
        self.watchers += 1
        try:
            if kept.sweep.ended:
                yield Heard(changed=True, ended=True)
                return
            while True:
                async with self._grown:
                    await self._grown.wait_for(lambda place=place: len(kept.told) > place or self._away())  # type: ignore[misc]  # the default holds this round's value
                self._answer()
                for heard in kept.told[place:]:
                    place += 1
                    yield heard
                    if heard.ended:
                        return
        finally:
            self.watchers -= 1

    async def cases(self, run_id: str, trials: Sequence[int], token: str = "", *, differing: bool) -> CasePage:
        kept = self._of(run_id)
        numbers = trials or [each.number for each in (kept.sweep.baseline, kept.sweep.best) if each is not None]
        if missing := [number for number in numbers if number not in kept.trials]:
            raise DeskError(f"There is no trial {missing[0]}.", lasting=True)
        found = [_of_trials(case, numbers) for case in kept.cases]
        if differing:
            found = sorted((case for case in found if _spread(case)), key=lambda case: -_spread(case))
        begin = int(token or 0)
        end = begin + _CASES
        return CasePage(
            cases=tuple(found[begin:end]),
            next_page_token=str(end) if end < len(found) else "",
            trials=tuple(kept.trials[number] for number in numbers),
        )

    async def control(self, run_id: str, action: Action, request_id: str, retuning: Retuning | None) -> Sweep:
        kept = self._of(run_id)
        sweep = kept.sweep
        if sweep.ended:
            raise DeskError("The sweep has ended.", lasting=True)
        if request_id not in kept.requests:
            kept.requests.add(request_id)
            concurrency = (retuning.concurrency or 0) if retuning is not None else 0
            controls = (*sweep.controls, Control(action=action, role="person", concurrency=concurrency))
            progress = replace(sweep.progress, phase=_PHASES.get(action, sweep.progress.phase))
            state = _ENDS.get(action, sweep.state)
            sweep = replace(sweep, controls=controls, progress=progress, state=state)
            await self.put(_retuned(sweep, retuning) if retuning is not None else sweep)
        return kept.sweep

    async def export(self, run_id: str, trial: int | None, kind: ExportFormat) -> Document:
        kept = self._of(run_id)
        chosen = kept.sweep.best if trial is None else kept.trials.get(trial)
        if chosen is None:
            raise DeskError("There is no such trial to export.", lasting=True)
        values = {each.name: each.value for each in chosen.parameters}
        lines = {
            ExportFormat.JSON: [json.dumps({"run_id": run_id, "parameters": values})],
            ExportFormat.YAML: [f"run_id: {run_id}", *(f"{name}: {value}" for name, value in values.items())],
            ExportFormat.ENV: [f"# {run_id}", *(f"{name}={value}" for name, value in values.items())],
        }
        return Document(content="\n".join(lines[kind]) + "\n", file_name=f"{run_id}-trial-{chosen.number}.{kind}")

    async def report(self, run_id: str, kind: ReportFormat) -> Document:
        sweep = self._of(run_id).sweep
        if kind is ReportFormat.HTML:
            return Document(content=f"<!doctype html><title>{run_id}</title>\n", file_name=f"{run_id}.html")
        return Document(content=f"# {sweep.title}\n\n{run_id}\n", file_name=f"{run_id}.md")

    def _away(self) -> bool:
        try:
            self._answer()
        except DeskError:
            return True
        return False

    def _of(self, run_id: str) -> _Kept:
        self._answer()
        if run_id not in self._kept:
            raise DeskError(f"There is no sweep {run_id!r}.", lasting=True)
        return self._kept[run_id]


def _of_trials(case: ComparedCase, numbers: Sequence[int]) -> ComparedCase:
    cells = {cell.number: cell for cell in case.cells}
    return replace(case, cells=tuple(cells.get(number, ComparedCell(number=number)) for number in numbers))


def _spread(case: ComparedCase) -> float:
    """How differently the trials were scored."""
    scores = [score for cell in case.cells if (score := cell.score) is not None]
    return max(scores) - min(scores) if scores else 0.0


def _retuned(sweep: Sweep, retuning: Retuning) -> Sweep:
    """The sweep with another budget: what else was planned stays on the record."""
    before = sweep.plan.budget
    money = before.money if retuning.money is None else retuning.money
    budget = replace(before, money=money, trials=retuning.trials or before.trials)
    return replace(sweep, plan=replace(sweep.plan, budget=budget))
