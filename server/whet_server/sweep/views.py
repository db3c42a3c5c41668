"""Sweeps as they are shown."""

from collections.abc import Sequence

from msgspec.structs import replace

from whet_server.log.events import SweepProgress
from whet_server.sweep import trials
from whet_server.sweep.best import best_so_far
from whet_server.sweep.fold import SweepFold, TrialFold
from whet_server.sweep.spec import SweepView
from whet_server.sweeping import BASELINE, SweepPhase, SweepPlan, Trial, TrialState
from whet_server.values import Nanos, Run, RunId


def view_of(run: Run, fold: SweepFold, progress: SweepProgress | None, children: Sequence[RunId]) -> SweepView:
    """Return a sweep as it stands. `progress` is that of one under way."""
    progress = progress or _came_to(run, fold)
    best = fold.result.best if fold.result is not None else progress.best
    return SweepView(
        run=run,
        plan=_as_it_is(fold),
        progress=progress,
        best=_trial(fold, best),
        baseline=_trial(fold, BASELINE),
        result=fold.result,
        controls=tuple(fold.controls),
        failure=fold.finished.failure if fold.finished is not None else None,
        child_run_ids=tuple(children),
    )


def _as_it_is(fold: SweepFold) -> SweepPlan:
    """Return the plan with the limits that hold now. The space stays the planned one: earlier trials lie in it."""
    return replace(fold.record.plan, budget=fold.budget, trials=fold.budget.trials, concurrency=fold.concurrency)


def best_number(fold: SweepFold) -> int | None:
    """Return the best trial: the one that was concluded, else the best so far."""
    if fold.result is not None:
        return fold.result.best
    best = best_so_far(fold.record.plan, fold)
    return best.number if best else None


def _came_to(run: Run, fold: SweepFold) -> SweepProgress:
    """Return how far a sweep came that is not under way."""
    ends = [trial for trial in fold.trials.values() if trial.came_to_its_end]
    rank = best_so_far(fold.record.plan, fold)
    best = (rank.number, rank.value) if rank else (None, None)
    if (result := fold.result) is not None and not fold.trials and result.history:  # a list reads no trials
        best = result.history[-1].number, result.history[-1].value
    money = fold.budget.money
    paid = run.totals.settled + run.totals.unknown
    return SweepProgress(
        phase=SweepPhase.PAUSED if fold.paused and fold.finished is None else SweepPhase.SEARCH,
        ended=result.ended if result is not None else len(ends),
        pruned=result.pruned if result is not None else sum(trial.state is TrialState.PRUNED for trial in ends),
        running=sum(trial.end is None for trial in fold.trials.values()),
        answers=sum(len(trial.answers) + len(trial.holdout) for trial in fold.trials.values()),
        best=best[0],
        best_value=best[1],
        totals=run.totals,
        money_left=None if money is None else Nanos(max(0, money - paid)),
    )


def _trial(fold: SweepFold, number: int | None) -> Trial | None:
    trial = fold.trials.get(number) if number is not None else None
    return None if trial is None else trial.end or under_way(fold, trial)


def under_way(fold: SweepFold, trial: TrialFold) -> Trial:
    """Return a trial that has not ended as it stands."""
    return trials.stands(fold.record.plan, trial, fold.trials[BASELINE], TrialState.RUNNING)
