"""Suggestions in the one order that makes them the same whatever the timing: trial k is suggested when the trials up to
k - trials_at_once have ended, and the study has then been told exactly these.

The study lives in a thread of its own: a slow sampler delays no trial that is under way.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from whet_server.garbage import keep_once
from whet_server.sweep.fold import SweepFold, TrialFold
from whet_server.sweep.measure import by_case, higher_is_better
from whet_server.sweep.space import Space
from whet_server.sweeping import BASELINE, Configuration, Objective, SweepPlan, TrialState


class Study(Protocol):
    """What suggests; `sweep.study.Study` documents it."""

    def ask(self, number: int) -> Configuration | None: ...

    def restore(self, number: int, configuration: Configuration) -> None: ...

    def tell(self, number: int, values: Sequence[float] | None, *, pruned_at: int | None = None) -> None: ...

    def narrow(self, space: Space) -> None: ...


class Suggesting:
    """Asks and tells a study in order. `make` makes it, in the thread."""

    def __init__(self, make: Callable[[], Study], fold: SweepFold) -> None:
        self._make = make
        self._fold = fold
        self._plan = fold.record.plan
        self._study: Study | None = None
        self._told = 0
        self._narrowed = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sweep")

    async def restore(self) -> None:
        """Bring the study to where it was: the trials of the fold, told in the same order."""
        known = [self._fold.trials[number] for number in sorted(self._fold.trials)]
        await self._in_thread(self._restore, known)

    async def ask(self, number: int) -> Configuration | None:
        """Return the suggestion, from the trials up to `number - trials_at_once`, which have ended. None when the space
        is exhausted.
        """
        found: Configuration | None = await self._in_thread(self._ask, number)
        return found

    async def think(self, work: Callable[..., Any], *given: Any) -> Any:
        """Do something in the study's thread, such as to conclude when nothing more is suggested."""
        return await self._in_thread(work, *given)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[..., Any], *given: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *given)

    def _ready(self, number: int) -> Study:
        """Return the study as it must be before it suggests this trial."""
        if self._study is None:
            self._study = self._make()
            keep_once("samplers")
        while self._told <= number - self._plan.trials_at_once:
            trial = self._fold.trials[self._told]
            values = told(self._plan, trial, self._fold.trials[BASELINE])
            pruned = trial.end.cases if trial.end is not None and trial.state is TrialState.PRUNED else None
            self._study.tell(self._told, values, pruned_at=pruned)
            self._told += 1
        controls = [each for each in self._fold.controls if each.space]
        while self._narrowed < len(controls) and controls[self._narrowed].from_trial <= number:
            self._study.narrow(Space(controls[self._narrowed].space))
            self._narrowed += 1
        return self._study

    def _ask(self, number: int) -> Configuration | None:
        return self._ready(number).ask(number)

    def _restore(self, trials: Sequence[TrialFold]) -> None:
        for trial in trials:
            self._ready(trial.number).restore(trial.number, trial.configuration)


def told(plan: SweepPlan, trial: TrialFold, baseline: TrialFold) -> list[float] | None:
    """Return a trial's values of the objectives, as a study is told them; None when it has none.

    A trial that breaks a condition is told to be worse than the baseline, the more so the further it is off, so that
    the search turns back to where the conditions hold.
    """
    if trial.state is TrialState.FAILED:
        return None
    aims = [objective for objective in plan.objectives if objective.margin is None]
    values = [_mean(by_case(trial.answers.values(), objective)) for objective in aims]
    if any(value is None for value in values):
        return None
    known = [value for value in values if value is not None]
    if off := sum(_off(trial, baseline, objective) for objective in plan.objectives if objective.margin is not None):
        return [_worse(baseline, objective, value, off) for objective, value in zip(aims, known, strict=True)]
    return known


def _off(trial: TrialFold, baseline: TrialFold, objective: Objective) -> float:
    """Return by how much more than its margin a trial is worse than the baseline, on the cases that both have."""
    mine, other = (by_case(each.answers.values(), objective) for each in (trial, baseline))
    both = [case for case in mine if case in other]
    if not both:
        return 0.0
    before, after = _mean({case: other[case] for case in both}), _mean({case: mine[case] for case in both})
    if before is None or after is None:
        return 0.0
    if higher_is_better(objective):
        return max(0.0, before - after - (objective.margin or 0.0))
    return max(0.0, (after - before) / before - (objective.margin or 0.0)) if before else 0.0


def _worse(baseline: TrialFold, objective: Objective, value: float, off: float) -> float:
    before = _mean(by_case(baseline.answers.values(), objective))
    if before is None:
        return value
    return min(value, before) - off if higher_is_better(objective) else max(value, before) * (1 + off)


def _mean(values: Mapping[str, float]) -> float | None:
    return sum(values.values()) / len(values) if values else None
