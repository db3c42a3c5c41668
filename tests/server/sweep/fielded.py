"""Sweeps made of scores: folds as the engine's events make them, without an engine."""

from collections.abc import Mapping, Sequence

import msgspec

from whet_server.judging import Outcome
from whet_server.log.events import RunOpened
from whet_server.sweep.conclude import conclude
from whet_server.sweep.fold import SweepFold, TrialFold
from whet_server.sweep.measure import by_case, standing
from whet_server.sweep.spec import SweepRecord, SweepSpec
from whet_server.sweeping import (
    Objective,
    ObjectiveKind,
    Racing,
    SweepEnd,
    SweepPlan,
    SweepResult,
    TrialCase,
    TrialState,
)
from whet_server.values import NANOS_PER_USD, Nanos, Role, RunId, RunKind

QUALITY = Objective(kind=ObjectiveKind.QUALITY)
Scores = Sequence[float | None]
"""By case, in their order; None: no score."""


def case_ids(cases: int) -> list[str]:
    return [f"c{place:04}" for place in range(cases)]


def planned(
    cases: int, trials: int, *, racing: Racing | None = None, aims: Sequence[Objective] = (QUALITY,)
) -> SweepPlan:
    return SweepPlan(trials=trials, cases=cases, racing=racing or Racing(), objectives=tuple(aims), trials_at_once=4)


def answer(case_id: str, score: float | None, *, sample: int = 1, cost: float = 0.0, seconds: float = 1.0) -> TrialCase:
    return TrialCase(
        case_id=case_id,
        sample=sample,
        outcome=Outcome.FAILED if score is None else Outcome.SCORED,
        score=score,
        cost=Nanos(round(cost * NANOS_PER_USD)),
        latency_ns=round(seconds * 1e9),
    )


class Bench:
    """A sweep into which trials are put by hand."""

    def __init__(self, plan: SweepPlan) -> None:
        self.plan = plan
        self.record = SweepRecord(spec=SweepSpec(), plan=plan)
        spec = msgspec.json.encode(self.record).decode()
        self.fold = SweepFold(
            RunOpened(run_id=RunId("swp_0"), kind=RunKind.SWEEP, title="t", role=Role.PERSON, spec=spec)
        )

    def trial(
        self,
        number: int,
        scores: Scores,
        *,
        sample: int = 1,
        costs: Sequence[float] = (),
        state: TrialState = TrialState.COMPLETE,
    ) -> "Bench":
        """Put a trial's answers in, in the order of cases; of a trial that is there, those of another sample."""
        trial = self.fold.trials.setdefault(number, TrialFold(number))
        for place, (case_id, score) in enumerate(zip(case_ids(self.plan.cases), scores, strict=False)):
            cost = costs[place] if costs else 0.0
            trial.answers[case_id, sample] = answer(case_id, score, sample=sample, cost=cost)
        base = by_case(self.fold.trials[0].answers.values(), QUALITY) if 0 in self.fold.trials else {}
        trial.end = standing(trial, state, QUALITY, base)
        return self

    def conclude(self, end: SweepEnd = SweepEnd.TRIALS) -> SweepResult:
        return conclude(self.record, self.fold, end)


def swept(trials: Mapping[int, Scores], **rest: Racing | Sequence[Objective]) -> Bench:
    """A sweep that came to its end, every trial with all its cases."""
    bench = Bench(planned(len(trials[0]), len(trials), **rest))  # type: ignore[arg-type]  # passed on as they are
    for number, scores in trials.items():
        bench.trial(number, scores)
    return bench
