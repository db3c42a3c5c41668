"""A judgement as asked for, as it is kept, and as it stands: values without wire or database."""

from enum import StrEnum
from typing import Final

from whet_server.dataset.spec import DatasetRef
from whet_server.errors import Reason
from whet_server.judge.rubric import Dimension, Rubric
from whet_server.judging import (
    CriterionSummary,
    Direction,
    Item,
    Judge,
    JudgeIdentity,
    JudgementPlan,
    Outcome,
    Rating,
    Verdict,
)
from whet_server.score.spec import Scorer
from whet_server.values import CallLimits, Failure, Forecast, Nanos, Run, RunId, Value

DEFAULT_CONCURRENCY: Final = 100
"""As the contract says: calls to judges under way at once."""


class Criterion(Value):
    """One thing that every item is asked: by a scorer or by a judge, one of the two. No name: the scorer's or the
    rubric's.
    """

    name: str = ""
    weight: float = 1.0
    aside: bool = False
    scorer: Scorer | None = None
    judge: Judge | None = None


class JudgementSpec(Value):
    """The wire's `JudgementSpec` after unpacking. `scorers` are names, as in `score.names`."""

    items: tuple[Item, ...] = ()
    dataset: DatasetRef | None = None
    fanout_run_id: RunId | None = None
    judge: Judge | None = None
    scorers: tuple[str, ...] = ()
    criteria: tuple[Criterion, ...] = ()
    concurrency: int = DEFAULT_CONCURRENCY
    require_calibrated: bool = False
    correct: bool = False
    cap: Nanos | None = None
    cache_bypass: bool = False
    cache_ttl: float | None = None
    limits: CallLimits = CallLimits()
    title: str = ""


class Asked(Value):
    """A criterion with nothing left open: of a scorer what it measures, of a judge its rubric's text and its identity,
    as they were when the run began. `follows`: the rubric was named without a version, so that its newest one is meant.
    """

    name: str
    weight: float = 1.0
    aside: bool = False
    unit: str = "share"
    direction: Direction = Direction.HIGHER
    scorer: Scorer | None = None
    judge: Judge | None = None
    rubric: Rubric | None = None
    identity: JudgeIdentity | None = None
    follows: bool = False


class JudgementRecord(Value):
    """What the first event of a run keeps: the judgement is taken up and shown from it. `spec` names the data set's
    version; `row_ids` are the rows, where more could be read later because a seal was opened; `purpose` is what the
    room that began it (an audit) wants to find again.
    """

    spec: JudgementSpec
    criteria: tuple[Asked, ...]
    plan: JudgementPlan
    row_ids: tuple[str, ...] = ()
    purpose: str = ""

    def asked(self, criterion: str) -> Asked | None:
        """Return the criterion of this name."""
        return next((asked for asked in self.criteria if asked.name == criterion), None)


class JudgementForecast(Forecast):
    """What a judgement would do and cost. `low`: what the cache has is free, and verdicts are short."""

    plan: JudgementPlan = JudgementPlan(items=0, criteria=())
    low: Nanos = Nanos(0)
    duration_ns: int = 0
    sealed_rows: int = 0


class JudgedItem(Value):
    """An item with what was said of it."""

    item: Item
    verdicts: tuple[Verdict, ...] = ()
    score: float | None = None
    disagreement: float = 0.0
    ratings: tuple[Rating, ...] = ()

    @property
    def subject(self) -> str:
        return self.item.subject


class Sums(Value):
    """The criteria over all items, and the items' weighted scores; None when no criterion counts."""

    criteria: tuple[CriterionSummary, ...] = ()
    combined: CriterionSummary | None = None


class JudgementView(Value):
    """A judgement as it stands."""

    run: Run
    plan: JudgementPlan
    sums: Sums = Sums()
    verdicts: int = 0
    failure: Failure | None = None


class OrderBy(StrEnum):
    GIVEN = "given"
    DISAGREEMENT = "disagreement"
    SCORE = "score"


class ItemOrder(Value):
    """Which items are shown, and in which order: as given, the greatest disagreement or the lowest score first."""

    by: OrderBy = OrderBy.GIVEN
    outcome: Outcome | None = None
    unrated: bool = False


class Judged(Value):
    """What a calibration compares with people: a judge, and its verdicts by subject."""

    criterion: str
    judge: Judge
    identity: JudgeIdentity
    levels: tuple[int, ...]
    dimensions: tuple[Dimension, ...]
    verdicts: dict[str, tuple[Verdict, ...]]
    simulated: bool = False


class GateRequest(Value):
    """A bar. No criterion: the only one, else the items' weighted scores."""

    criterion: str = ""
    min_mean: float = 0.0
    by_lower_end: bool = False
    min_scored: float = 0.9
    min_kappa: float = 0.4


class GateDecision(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    REFUSED = "refused"


class GateAnswer(Value):
    """What a gate decides; a refusal has its published reason."""

    decision: GateDecision
    reason: str
    measured: CriterionSummary
    error_reason: Reason | None = None
    min_mean: float = 0.0
