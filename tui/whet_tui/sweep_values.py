"""What the Experiments place draws: sweeps, their trials, what they found. Plain values, fetched by a desk.

Fields have the names of the contract's, which `proto/whet/v1/sweeping.proto` documents. Amounts are nanos of a US
dollar, times nanoseconds since the epoch, spans nanoseconds; None or 0 where nothing is known.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from whet_tui.entries import Money
from whet_tui.judging_values import Estimate, Item, Outcome, OutcomeCount, RunState, Verdict

NOTHING: Final = Estimate()
"""What nobody has measured."""


class TrialState(StrEnum):
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Phase(StrEnum):
    """What a sweep is at."""

    SEARCH = "search"
    REPLICATE = "replicate"
    HOLDOUT = "holdout"
    PAUSED = "paused"
    WAITING = "waiting"


class Action(StrEnum):
    """What can be done to a sweep under way."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    CANCEL = "cancel"
    RETUNE = "retune"


class Goal(StrEnum):
    """What an objective measures. Only of quality more is better."""

    QUALITY = "quality"
    COST = "cost"
    LATENCY = "latency"


class Found(StrEnum):
    """The verdict of a sweep."""

    BETTER = "better"
    NO_DIFFERENCE = "no_difference"
    UNDECIDED = "undecided"


class End(StrEnum):
    """Why a sweep ended."""

    SPACE = "space"
    TRIALS = "trials"
    MONEY = "money"
    TOKENS = "tokens"
    TIME = "time"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    FAILED = "failed"


class ExportFormat(StrEnum):
    JSON = "json"
    YAML = "yaml"
    ENV = "env"


class ReportFormat(StrEnum):
    MARKDOWN = "markdown"
    HTML = "html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What a dimension is set to."""

    name: str = ""
    number: float | None = None
    integer: int | None = None
    text: str | None = None

    @property
    def value(self) -> float | str:
        if self.text is not None:
            return self.text
        return self.integer if self.integer is not None else self.number or 0.0

    @property
    def shown(self) -> str:
        """The value in words, not yet safe."""
        if self.text is not None:
            return self.text
        return str(self.integer) if self.integer is not None else f"{self.number or 0.0:.4g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    low: float = 0.0
    high: float = 0.0
    log: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    label: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    choices: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One of the three kinds is set."""

    name: str = ""
    float_range: Range | None = None
    int_range: Range | None = None
    choices: Choices | None = None

    @property
    def range(self) -> Range | None:
        return self.float_range or self.int_range


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """`margin` is set where it is no objective but a condition."""

    kind: Goal = Goal.QUALITY
    criterion: str = ""
    margin: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a sweep may use; what is not set or 0 has no cap."""

    money: int | None = None
    tokens: int = 0
    trials: int = 0
    time_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a sweep is to do."""

    target: str = ""
    space: tuple[Dimension, ...] = ()
    size: int = 0
    baseline: tuple[Parameter, ...] = ()
    trials: int = 0
    cases: int = 0
    objectives: tuple[Objective, ...] = ()
    budget: Budget = Budget()
    concurrency: int = 0
    trials_at_once: int = 0
    seed: int = 0
    origin: str = ""
    holdout_rows: int = 0
    simulated: bool = False
    expected_cost: int | None = None
    worst_cost: int | None = None
    calls: int = 0
    expected_duration_ns: int = 0
    parent_run_id: str = ""
    step: str = ""

    @property
    def goals(self) -> tuple[Objective, ...]:
        """The objectives without the conditions: one of quality where none was said."""
        return tuple(each for each in self.objectives if each.margin is None) or (Objective(),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One configuration and how it stands."""

    number: int = 0
    state: TrialState = TrialState.RUNNING
    parameters: tuple[Parameter, ...] = ()
    texts: tuple[Choice, ...] = ()
    cases: int = 0
    scored_cases: int = 0
    answers: int = 0
    outcomes: tuple[OutcomeCount, ...] = ()
    quality: Estimate = NOTHING
    cost: float | None = None
    """US dollars."""
    latency_ns: int | None = None
    lift: Estimate = NOTHING
    reason: str = ""
    failure: str = ""
    start_ns: int = 0
    end_ns: int = 0
    simulated: bool = False
    front: bool = False
    worker: str = ""

    def value(self, goal: Goal) -> float | None:
        """Its value of a goal: a score, US dollars or seconds."""
        if goal is Goal.QUALITY:
            return self.quality.value
        if goal is Goal.COST:
            return self.cost
        return None if self.latency_ns is None else self.latency_ns / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a sweep is."""

    phase: Phase = Phase.SEARCH
    ended: int = 0
    pruned: int = 0
    running: int = 0
    answers: int = 0
    in_flight: int = 0
    best: int | None = None
    best_value: float | None = None
    totals: Money = field(default_factory=Money)
    money_left: int | None = None
    time_left_ns: int = 0
    expected_left: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedCase:
    case_id: str = ""
    before: float = 0.0
    after: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    name: str = ""
    share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutFigure:
    dataset: str = ""
    rows: int = 0
    baseline: Estimate = NOTHING
    winner: Estimate = NOTHING
    lift: Estimate = NOTHING
    pairs: int = 0
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BestPoint:
    number: int = 0
    ended: int = 0
    value: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    step: str = ""
    reason: str = ""
    trials: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a sweep found."""

    verdict: Found = Found.UNDECIDED
    finding: str = ""
    end: End = End.TRIALS
    best: int | None = None
    lift: Estimate = NOTHING
    p_value: float | None = None
    comparisons: int = 0
    alpha: float = 0.0
    pairs: int = 0
    regressed: tuple[ChangedCase, ...] = ()
    improved: int = 0
    convergence: str = ""
    converged: bool = False
    importance: tuple[Importance, ...] = ()
    front: tuple[int, ...] = ()
    history: tuple[BestPoint, ...] = ()
    holdout: HoldoutFigure | None = None
    follow_ups: tuple[FollowUp, ...] = ()
    simulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What somebody did to a sweep."""

    action: Action
    role: str = ""
    concurrency: int = 0
    from_trial: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep as it stands; in lists without its controls."""

    run_id: str
    title: str = ""
    state: RunState = RunState.RUNNING
    create_ns: int = 0
    end_ns: int = 0
    plan: Plan = Plan()
    progress: Progress = field(default_factory=Progress)
    best: Trial | None = None
    baseline: Trial | None = None
    result: Result | None = None
    controls: tuple[Control, ...] = ()
    totals: Money = field(default_factory=Money)
    failure: str = ""
    child_run_ids: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        return self.state is not RunState.RUNNING

    @property
    def planned(self) -> int:
        """Trials at most, as it is now."""
        return self.plan.budget.trials or self.plan.trials

    @property
    def concurrency(self) -> int:
        """Cases at once, as it is now."""
        retuned = (each.concurrency for each in reversed(self.controls) if each.concurrency)
        return next(retuned, self.plan.concurrency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a sweep's stream told at once: trials as they stand now, the latest progress."""

    trials: tuple[Trial, ...] = ()
    progress: Progress | None = None
    changed: bool = False
    """Somebody steered it, or it concluded: the sweep is worth reading anew."""
    ended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPage:
    trials: tuple[Trial, ...] = ()
    next_page_token: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOutput:
    stage: str = ""
    output: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCase:
    """One answer to one case."""

    case_id: str = ""
    sample: int = 1
    outcome: Outcome = Outcome.FAILED
    score: float | None = None
    output: str = ""
    stages: tuple[StageOutput, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    failure: str = ""
    cost: int | None = None
    latency_ns: int | None = None
    cached: bool = False
    simulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCell:
    """What one trial answered to a case; no answers: it was not asked."""

    number: int = 0
    answers: tuple[TrialCase, ...] = ()

    @property
    def score(self) -> float | None:
        """The mean over the answers that have one."""
        scores = [each.score for each in self.answers if each.score is not None]
        return sum(scores) / len(scores) if scores else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCase:
    item: Item
    cells: tuple[ComparedCell, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePage:
    cases: tuple[ComparedCase, ...] = ()
    next_page_token: str = ""
    trials: tuple[Trial, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retuning:
    """Other settings for a sweep under way; what is None stays."""

    money: int | None = None
    trials: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file that the server wrote."""

    content: str = ""
    file_name: str = ""
