"""Which trial is the best so far, by the trials' own figures alone: cheap enough to be asked whenever one ends."""

from typing import NamedTuple

from whet_server.sweep.fold import SweepFold
from whet_server.sweep.measure import enough, higher_is_better, mean_of
from whet_server.sweep.racing import conditions, objectives
from whet_server.sweeping import BASELINE, Objective, SweepPlan, Trial, TrialState


class Rank(NamedTuple):
    """A trial's place; the greatest is the best: asked most often, furthest ahead, earliest."""

    samples: int
    ahead: float
    before: int
    value: float

    @property
    def number(self) -> int:
        return -self.before


def best_so_far(plan: SweepPlan, fold: SweepFold) -> Rank | None:
    """Return the best trial and its value of the first objective; the baseline where none is ahead of it, None where
    none has enough scores.
    """
    base = fold.trials[BASELINE].end if BASELINE in fold.trials else None
    ends = (trial.end for trial in fold.trials.values() if trial.end is not None)
    return max((rank for end in ends if (rank := rank_of(plan, end, base)) is not None), default=None)


def rank_of(plan: SweepPlan, trial: Trial, base: Trial | None) -> Rank | None:
    """Return the place of a trial that has ended; None for one that cannot be the best."""
    first = objectives(plan)[0]
    value = mean_of(trial, first)
    if trial.state is not TrialState.COMPLETE or value is None or not enough(trial.scored_cases, plan.cases):
        return None
    if not all(_keeps(condition, trial, base) for condition in conditions(plan)):
        return None
    samples = trial.answers // max(1, trial.cases)
    return Rank(samples, _ahead(trial, first, value), -trial.number, value)


def _ahead(trial: Trial, first: Objective, value: float) -> float:
    """How far ahead a trial is; of scores by the cases that the baseline has too, where it is known."""
    if not higher_is_better(first):
        return -value
    if trial.number == BASELINE:
        return 0.0
    return value if trial.lift.value is None else trial.lift.value


def _keeps(condition: Objective, trial: Trial, base: Trial | None) -> bool:
    """Whether a trial's mean keeps a condition, as far as it is known."""
    mine, theirs = mean_of(trial, condition), mean_of(base, condition) if base else None
    if mine is None or theirs is None:
        return True
    margin = condition.margin or 0.0
    return mine >= theirs - margin if higher_is_better(condition) else mine <= theirs * (1 + margin)
