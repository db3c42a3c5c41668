"""Every trial against the baseline, case by case, and which of them are better beyond chance.

The level is shared out twice. Over the trials: each that has a case in common with the baseline is a comparison, also
those that were stopped early, because the best was picked from all of them. Over the looks: with replicates the
question is put again after 1, 2, 4, ... answers to each case, and every look has its share of the level. The unit is
always the case, with the mean of its answers as its value: asking the same case again does not make more cases.

A condition is kept when its own interval says so: the upper end of the mean shortfall is not above zero. That is not
corrected for the number of trials: of those that are just as much worse as the margin, one in forty seems to keep it.

What this does not guard against: suggestions that learn the cases by heart, because each was chosen by the results of
earlier ones on the same cases. The figure on the hold-out does.
"""

from collections import Counter
from collections.abc import Collection
from math import fsum
from typing import Final

from whet_server.calibration.statistics import mean_estimate
from whet_server.judging import Estimate
from whet_server.sweep.evidence import corrected, flip_p
from whet_server.sweep.fold import SweepFold, TrialFold
from whet_server.sweep.measure import ENOUGH_SCORED, higher_is_better, paired
from whet_server.sweep.racing import (
    DEFAULT_ALPHA,
    conditions,
    gain,
    objectives,
    shortfalls,
    turned,
)
from whet_server.sweeping import (
    BASELINE,
    Objective,
    Racing,
    SweepAction,
    SweepPlan,
    TrialCase,
    TrialState,
)
from whet_server.values import Value

WORTH_HAVING: Final = 0.02
"""Of the score: two cases of a hundred. Less is nothing that anybody would change a configuration for."""
WORTH_SAVING: Final = 0.05
"""Of money and time, as a share of the baseline's: less than they vary from day to day."""
MOST_TRIED: Final = 100
"""So many of the nearest trials are tested; what is behind a hundred others is not what anybody looks for."""
_LAST_SHARE: Final = 0.5
"""Of the level, for the last look; the earlier ones share the rest."""


class Versus(Value):
    """A trial against the baseline. `lift`, the mean paired difference, is in the first objective's unit, turned so
    that higher is better; `held`: its means keep the conditions; `samples`: answers to each case.
    """

    number: int
    samples: int
    pairs: int
    lift: float
    held: bool


def enough(scored: int, plan: SweepPlan) -> bool:
    """Whether a trial with so many scored cases may be the best."""
    return scored >= max(1, ENOUGH_SCORED * plan.cases)


def looks(racing: Racing) -> tuple[int, ...]:
    """Return the numbers of answers to each case after which trials are compared, rising; the last one is the most."""
    most = 1 + racing.replicates
    doubled = [1 << power for power in range(most.bit_length()) if 1 << power < most]
    return (*doubled, most)


def shares(racing: Racing) -> dict[int, float]:
    """Return the share of the level that each look has."""
    *early, last = looks(racing)
    return {each: (1 - _LAST_SHARE) / len(early) for each in early} | {last: _LAST_SHARE if early else 1.0}


def samples_of(trial: TrialFold) -> int:
    """Return how many answers to each case were asked for, in full rounds."""
    counts = Counter(sample for _, sample in trial.answers)
    return max((sample for sample, count in counts.items() if count >= counts[1]), default=0)


class Field:
    """The trials of a sweep that have ended, against its baseline; of the fold as it was when this was made."""

    def __init__(self, plan: SweepPlan, fold: SweepFold) -> None:
        self.plan = plan
        self.first = objectives(plan)[0]
        self._trials = {number: fold.trials[number] for number in sorted(fold.trials) if fold.trials[number].end}
        self._values: dict[tuple[int, Objective, int], dict[str, float]] = {}
        self._p_values: dict[int, float] = {}
        budgets = (each.budget.trials for each in fold.controls if each.budget)
        self._planned = max([fold.record.plan.trials, *budgets])
        self._by_hand = any(each.action in {SweepAction.STOP, SweepAction.CANCEL} for each in fold.controls)
        base = self.values(BASELINE)
        others = [number for number in self._trials if number != BASELINE]
        self.scored = any(self.values(number) for number in self._trials)
        """Anything has a value of the first objective."""
        self.compared = [number for number in others if not base.keys().isdisjoint(self.values(number))]
        """The trials that were looked at beside the baseline, however they ended."""
        self.eligible = sorted(
            (self._versus(number) for number in self.compared if self._may_win(number)),
            key=lambda each: (-each.samples, not each.held, -each.lift, each.number),
        )
        """Those that may be the best, the nearest first: those asked most often, those that keep the conditions as far
        as means tell, the higher lift.
        """

    def values(self, number: int, objective: Objective | None = None, look: int = 0) -> dict[str, float]:
        """Return a trial's values by case, turned so that higher is better: of the first objective or another one, of
        the first `look` answers to each case or, for 0, of all.
        """
        key = (number, objective or self.first, look)
        if key not in self._values:
            trial = self._trials.get(number)
            self._values[key] = turned(trial, key[1], look or None) if trial else {}
        return self._values[key]

    def answers(self, number: int) -> Collection[TrialCase]:
        """Return a trial's answers, replicates included; none where it has not ended."""
        return self._trials[number].answers.values() if number in self._trials else ()

    @property
    def comparisons(self) -> int:
        """For how many the level is corrected: those compared; after a stop by hand those planned, for who stops
        because it looks good has picked the moment.
        """
        return max(len(self.compared), self._planned - 1 if self._by_hand else 0)

    @property
    def alpha(self) -> float:
        return self.plan.racing.alpha or DEFAULT_ALPHA

    @property
    def worth(self) -> float:
        """What is worth having of the first objective, in its unit."""
        if higher_is_better(self.first):
            return WORTH_HAVING
        base = self.values(BASELINE)
        return WORTH_SAVING * abs(fsum(base.values())) / max(1, len(base))

    @staticmethod
    def sign(objective: Objective) -> float:
        """Return what turns a value so that higher is better, and back."""
        return 1.0 if higher_is_better(objective) else -1.0

    def natural(self, lift: Estimate) -> Estimate:
        """Return an estimate of the first objective, turned so that higher is better, as it is on the record."""
        if higher_is_better(self.first) or lift.value is None:
            return lift
        low, high = (None if end is None else 0.0 - end for end in (lift.high, lift.low))
        return Estimate(value=0.0 - lift.value, low=low, high=high)

    def lifts(self, number: int, against: int = BASELINE) -> list[float]:
        """Return a trial's paired differences in the first objective's unit, higher being better."""
        return paired(self.values(number), self.values(against))

    def p_value(self, number: int) -> float:
        """Return the corrected chance of so much gain without a true one: the smallest over the looks so far."""
        if number not in self._p_values:
            last, shared = samples_of(self._trials[number]), shares(self.plan.racing).items()
            found = (self._better_p(number, each) / share for each, share in shared if each <= last)
            self._p_values[number] = corrected(min(found, default=1.0), self.comparisons)
        return self._p_values[number]

    def wins(self, trial: Versus) -> bool:
        """Whether a trial is better than the baseline and keeps the conditions, both beyond chance."""
        if trial.lift <= 0 or not trial.held:
            return False
        kept = all(self._kept(trial.number, each) for each in conditions(self.plan))
        return kept and self.p_value(trial.number) <= self.alpha

    def winner(self) -> Versus | None:
        """Return the best of those that win."""
        return next((each for each in self.eligible[:MOST_TRIED] if self.wins(each)), None)

    def _may_win(self, number: int) -> bool:
        return self._trials[number].state is TrialState.COMPLETE and enough(len(self.values(number)), self.plan)

    def _versus(self, number: int) -> Versus:
        lifts = self.lifts(number)
        missed = (
            fsum(shortfalls(each, self.values(number, each), self.values(BASELINE, each)))
            for each in conditions(self.plan)
        )
        return Versus(
            number=number,
            samples=samples_of(self._trials[number]),
            pairs=len(lifts),
            lift=fsum(lifts) / len(lifts),
            held=all(each <= 0 for each in missed),
        )

    def _better_p(self, number: int, look: int) -> float:
        if look == samples_of(self._trials[number]) == samples_of(self._trials[BASELINE]):
            look = 0  # all answers, which are read already
        mine, base = self.values(number, None, look), self.values(BASELINE, None, look)
        return flip_p([gain(self.first, value, base[case_id]) for case_id, value in mine.items() if case_id in base])

    def _kept(self, number: int, condition: Objective) -> bool:
        """Whether a trial keeps a condition by its own interval."""
        missed = mean_estimate(shortfalls(condition, self.values(number, condition), self.values(BASELINE, condition)))
        return missed.high is not None and missed.high <= 0
