"""Whether it was luck: simulated sweeps, decided by the very functions that decide real ones.

A sweep here is what the server's would be, with answers drawn instead of asked for: the same rungs, the same trials
that each may know, the same rounds of replicates, the same conclusion. Each case has its own difficulty, which all
trials share; an answer is right or wrong by it.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from whet_eval.bench.figure import Figure
from whet_server.judging import Outcome
from whet_server.log.events import RunOpened
from whet_server.sweep.conclude import conclude
from whet_server.sweep.fold import SweepFold, TrialFold
from whet_server.sweep.racing import Known, decision, rungs
from whet_server.sweep.replicates import next_round
from whet_server.sweep.spec import SweepRecord, SweepSpec
from whet_server.sweeping import (
    BASELINE,
    Objective,
    ObjectiveKind,
    Racing,
    RacingMethod,
    SweepEnd,
    SweepPlan,
    SweepResult,
    SweepVerdict,
    Trial,
    TrialCase,
    TrialState,
)
from whet_server.values import Role, RunId, RunKind

TRIALS_AT_ONCE: Final = 4
NULL_SWEEPS: Final = 1_000
FALSE_BAR: Final = 5.0
"""Per cent of the sweeps without a difference."""
PLANTED_SWEEPS: Final = 300
SAVED_BAR: Final = 40.0
"""Per cent of the calls of fixed repeats."""
MOST_REPEATS: Final = 64
PLANTED: Final = 0.05
LARGE: Final = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is true in a simulated sweep: by how much each trial's chance of a right answer is above the baseline's."""

    cases: int
    lifts: tuple[float, ...]
    """Of trials 1, 2, ..."""
    racing: Racing
    repeats: int = 1
    """Answers behind each score: above one, every trial is asked so often everywhere, and their mean counts."""
    low: float = 0.3
    high: float = 0.9
    """The cases' chances of a right answer, evenly spread."""


class Simulated:
    """One simulated sweep."""

    def __init__(self, world: World, seed: int) -> None:
        self.plan = SweepPlan(
            trials=1 + len(world.lifts),
            cases=world.cases,
            racing=world.racing,
            objectives=(Objective(kind=ObjectiveKind.QUALITY),),
            trials_at_once=TRIALS_AT_ONCE,
        )
        self.record = SweepRecord(spec=SweepSpec(), plan=self.plan)
        self.order = [f"c{place}" for place in range(world.cases)]
        self.calls = 0
        self._first: list[dict[str, float]] = [{} for _ in range(self.plan.trials)]
        self._repeats = world.repeats
        self._random = np.random.default_rng(seed)
        chances = self._random.uniform(world.low, world.high, world.cases)
        lifts = np.array((0.0, *world.lifts))
        self._chance = np.clip(chances[None, :] + lifts[:, None], 0.0, 1.0)
        self._fold = SweepFold(
            RunOpened(
                run_id=RunId("swp_0"),
                kind=RunKind.SWEEP,
                title="simulated",
                role=Role.PERSON,
                spec=msgspec.json.encode(self.record).decode(),
            )
        )

    def run(self) -> SweepResult:
        """Search, replicate, conclude."""
        ended: list[Known] = []
        for number in range(self.plan.trials):
            trial = TrialFold(number)
            self._fold.trials[number] = trial
            ended.append(self._trial(trial, ended))
        while asked := next_round(self.plan, self._fold, self.order):
            self._ask(asked)
        return conclude(self.record, self._fold, SweepEnd.TRIALS)

    def _trial(self, trial: TrialFold, ended: list[Known]) -> Known:
        may = [each for each in ended if each.number <= max(BASELINE, trial.number - TRIALS_AT_ONCE)]
        state, came = TrialState.COMPLETE, 0
        for rung in rungs(self.plan.racing, self.plan.cases):
            self._ask([(trial.number, case_id, 1) for case_id in self.order[came:rung]])
            came = rung
            if rung < self.plan.cases and decision(self.plan, self._known(trial), may, self.order):
                state = TrialState.PRUNED
                break
        trial.end = Trial(number=trial.number, state=state)
        return self._known(trial)

    def _known(self, trial: TrialFold) -> Known:
        """As `racing.known` reads it from the answers, without reading them again at every rung."""
        return Known(number=trial.number, state=trial.state, values=self._first[trial.number])

    def _ask(self, asked: Sequence[tuple[int, str, int]]) -> None:
        self.calls += len(asked) * self._repeats
        chances = [self._chance[number, int(case_id[1:])] for number, case_id, _ in asked]
        scores = self._random.binomial(self._repeats, chances) / self._repeats
        for (number, case_id, sample), score in zip(asked, scores.tolist(), strict=True):
            self._fold.trials[number].answers[case_id, sample] = TrialCase(
                case_id=case_id, sample=sample, outcome=Outcome.SCORED, score=score
            )
            if sample == 1:
                self._first[number][case_id] = score


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What many simulated sweeps came to."""

    sweeps: int
    better: int
    right: int
    """Named the planted trial."""
    calls: float
    """Of one sweep, on average."""


def simulate(world: World, sweeps: int, seed: int = 0) -> Tally:
    """Run so many sweeps, each with its own seed."""
    better = right = calls = 0
    planted = int(np.argmax(world.lifts)) + 1
    for number in range(sweeps):
        sweep = Simulated(world, seed * 1_000_003 + number)
        result = sweep.run()
        calls += sweep.calls
        better += result.verdict is SweepVerdict.BETTER
        right += result.verdict is SweepVerdict.BETTER and result.best == planted
    return Tally(sweeps=sweeps, better=better, right=right, calls=calls / sweeps)


def null(method: RacingMethod, replicates: int) -> World:
    """No trial differs from the baseline."""
    return World(cases=40, lifts=(0.0,) * 8, racing=Racing(method=method, replicates=replicates))


def planted(method: RacingMethod, *, replicates: int = 0, repeats: int = 1) -> World:
    """One of eleven trials is better, by five points."""
    lifts = tuple(PLANTED if number == 7 else 0.0 for number in range(1, 12))
    return World(cases=120, lifts=lifts, racing=Racing(method=method, replicates=replicates), repeats=repeats)


def large() -> World:
    """One of ten trials is better by fifteen points, on a hundred cases that are asked once."""
    lifts = tuple(LARGE if number == 6 else 0.0 for number in range(1, 11))
    return World(cases=100, lifts=lifts, racing=Racing(method=RacingMethod.PAIRED))


def fixed_repeats(power: int, sweeps: int) -> tuple[int, Tally]:
    """Return the fewest fixed repeats that find the planted trial in at least `power` of so many sweeps, and what they
    came to: all trials get all cases equally often, one look at the end has the whole level, and the test is the same.
    """

    def tally(repeats: int) -> Tally:
        return simulate(planted(RacingMethod.NONE, repeats=repeats), sweeps, seed=2)

    repeats = 1 + bisect_left(range(1, MOST_REPEATS), power, key=lambda each: tally(each).right)
    return repeats, tally(repeats)


def figures() -> Iterator[Figure]:
    """False winners by method, with and without replicates; calls against fixed repeats; a large effect."""
    for method in RacingMethod:
        for replicates in (0, 3):
            tally = simulate(null(method, replicates), NULL_SWEEPS)
            yield Figure(
                name=f"false winners, {method}, {replicates} replicates",
                value=100 * tally.better / tally.sweeps,
                unit="%",
                bar=FALSE_BAR,
                note=f"{tally.better} of {tally.sweeps} sweeps of 8 trials on 40 cases, {tally.calls:.0f} calls each",
            )
    yield _saved()
    tally = simulate(large(), PLANTED_SWEEPS)
    yield Figure(
        name="15 points among 10 trials, found",
        value=100 * tally.right / tally.sweeps,
        unit="%",
        better="higher",
        note=f"{tally.right} of {tally.sweeps} sweeps on 100 cases asked once, {tally.calls:.0f} calls each",
    )


def _saved() -> Figure:
    raced = simulate(planted(RacingMethod.PAIRED, replicates=31), PLANTED_SWEEPS, seed=1)
    repeats, fixed = fixed_repeats(raced.right, PLANTED_SWEEPS)
    return Figure(
        name="calls saved against fixed repeats",
        value=100 * (1 - raced.calls / fixed.calls),
        unit="%",
        bar=SAVED_BAR,
        better="higher",
        note=f"5 points, {raced.right} of {raced.sweeps} found with {raced.calls:.0f} calls; "
        f"{repeats} fixed repeats: {fixed.right} with {fixed.calls:.0f}",
    )
