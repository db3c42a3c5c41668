"""Values of sweeps that several rooms speak of; `proto/whet/v1/sweeping.proto` documents each field under its name.

A case has a score exactly when its outcome is SCORED, as a verdict has: nothing anywhere makes a score of a failure.
"""

from enum import StrEnum
from typing import Final, TypeAlias

from whet_server.judging import Estimate, Outcome, OutcomeCount, Verdict
from whet_server.values import Failure, ModelName, Nanos, RunId, Totals, Value

BASELINE: Final = 0
"""The number of the trial that all others are compared with."""

Setting: TypeAlias = float | int | str
"""What a dimension is set to: a number of a float range, an integer of an integer range, a label of choices."""
Configuration: TypeAlias = dict[str, Setting]
"""One setting for each dimension that counts, by the dimensions' names, in their order."""


class ParameterValue(Value):
    """One setting, as it stands on the record and on the wire: one of the three is set."""

    name: str
    number: float | None = None
    integer: int | None = None
    text: str | None = None

    @property
    def setting(self) -> Setting:
        """The one that is set; an empty label when none is."""
        return next((each for each in (self.number, self.integer, self.text) if each is not None), "")


def written(configuration: Configuration) -> tuple[ParameterValue, ...]:
    """Return a configuration as it stands on the record."""
    return tuple(_written(name, setting) for name, setting in configuration.items())


def configuration_of(parameters: tuple[ParameterValue, ...]) -> Configuration:
    """Return what stands on the record as a configuration."""
    return {parameter.name: parameter.setting for parameter in parameters}


def _written(name: str, setting: Setting) -> ParameterValue:
    match setting:
        case str():
            return ParameterValue(name=name, text=setting)
        case int():
            return ParameterValue(name=name, integer=setting)
        case _:
            return ParameterValue(name=name, number=setting)


class FloatRange(Value):
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float = 0.0


class IntRange(Value):
    low: int = 0
    high: int = 0
    log: bool = False
    step: int = 0


class Choice(Value):
    """`text` and `models` empty: the label is the value."""

    label: str
    text: str = ""
    models: tuple[ModelName, ...] = ()


class Choices(Value):
    choices: tuple[Choice, ...] = ()


class Condition(Value):
    dimension: str
    labels: tuple[str, ...] = ()


class SearchDimension(Value):
    """One of the three kinds is set."""

    name: str
    float_range: FloatRange | None = None
    int_range: IntRange | None = None
    choices: Choices | None = None
    only_if: Condition | None = None


class SamplerKind(StrEnum):
    GRID = "grid"
    RANDOM = "random"
    TPE = "tpe"
    GAUSSIAN_PROCESS = "gaussian_process"
    CMA_ES = "cma_es"
    NSGA_II = "nsga_ii"
    GUIDED_TOP_K = "guided_top_k"
    REFLECTION = "reflection"


class Sampler(Value):
    """`kind` None and zeros are filled in by the plan."""

    kind: SamplerKind | None = None
    startup_trials: int = 0
    top_k: int = 0
    explore: float | None = None
    reflection_model: ModelName = ModelName("")
    minibatch: int = 0


class RacingMethod(StrEnum):
    NONE = "none"
    MEDIAN = "median"
    HALVING = "halving"
    PAIRED = "paired"


class Racing(Value):
    """`method` None and zeros are filled in by the plan, except `replicates`: 0 means none."""

    method: RacingMethod | None = None
    min_cases: int = 0
    reduction: int = 0
    alpha: float = 0.0
    replicates: int = 0


class ObjectiveKind(StrEnum):
    QUALITY = "quality"
    COST = "cost"
    LATENCY = "latency"


class Objective(Value):
    """With a margin it is a condition, without one an objective."""

    kind: ObjectiveKind | None = None
    criterion: str = ""
    margin: float | None = None


class Budget(Value):
    """None and zeros: no cap; `trials` is filled in by the plan."""

    money: Nanos | None = None
    tokens: int = 0
    trials: int = 0
    time_ns: int | None = None


class SweepPlan(Value):
    """What a sweep is to do, as its first event says it: nothing is left open in it."""

    target: str = ""
    space: tuple[SearchDimension, ...] = ()
    size: int = 0
    baseline: tuple[ParameterValue, ...] = ()
    trials: int = 0
    cases: int = 0
    sampler: Sampler = Sampler()
    racing: Racing = Racing()
    objectives: tuple[Objective, ...] = ()
    budget: Budget = Budget()
    concurrency: int = 0
    trials_at_once: int = 0
    seed: int = 0
    origin: str = ""
    holdout_rows: int = 0
    simulated: bool = False
    expected_cost: Nanos = Nanos(0)
    worst_cost: Nanos = Nanos(0)
    calls: int = 0
    expected_duration_ns: int = 0
    parent_run_id: RunId | None = None
    step: str = ""


class TrialState(StrEnum):
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Trial(Value):
    """One trial as it stands, folded from its cases."""

    number: int
    state: TrialState
    parameters: tuple[ParameterValue, ...] = ()
    texts: tuple[Choice, ...] = ()
    cases: int = 0
    scored_cases: int = 0
    answers: int = 0
    outcomes: tuple[OutcomeCount, ...] = ()
    quality: Estimate = Estimate()
    cost: float | None = None
    latency_ns: int | None = None
    lift: Estimate = Estimate()
    reason: str = ""
    failure: Failure | None = None
    totals: Totals = Totals()
    start_ns: int = 0
    end_ns: int | None = None
    simulated: bool = False
    front: bool = False
    worker: str = ""


class StageOutput(Value, gc=False):
    stage: str
    output: str


class TrialCase(Value, gc=False):
    """One answer to one case, scored or with the reason why not."""

    case_id: str
    outcome: Outcome
    sample: int = 1
    score: float | None = None
    output: str = ""
    stages: tuple[StageOutput, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    failure: Failure | None = None
    totals: Totals = Totals()
    cost: Nanos | None = None
    latency_ns: int | None = None
    cached: bool = False
    simulated: bool = False

    def __post_init__(self) -> None:
        if (self.score is not None) is not (self.outcome is Outcome.SCORED):
            raise ValueError(f"a case that is {self.outcome} cannot have the score {self.score}")


class SweepVerdict(StrEnum):
    BETTER = "better"
    NO_DIFFERENCE = "no_difference"
    UNDECIDED = "undecided"


class SweepEnd(StrEnum):
    SPACE = "space"
    TRIALS = "trials"
    MONEY = "money"
    TOKENS = "tokens"
    TIME = "time"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    FAILED = "failed"


class ChangedCase(Value):
    case_id: str
    before: float
    after: float


class Importance(Value):
    name: str
    share: float


class HoldoutFigure(Value):
    dataset: str = ""
    rows: int = 0
    baseline: Estimate = Estimate()
    winner: Estimate = Estimate()
    lift: Estimate = Estimate()
    pairs: int = 0
    failure: Failure | None = None


class BestPoint(Value):
    number: int
    ended: int
    value: float


class FollowUp(Value):
    step: str
    reason: str
    space: tuple[SearchDimension, ...] = ()
    trials: int = 0


class SweepResult(Value):
    """What a sweep found."""

    verdict: SweepVerdict
    finding: str
    end: SweepEnd
    best: int | None = None
    lift: Estimate = Estimate()
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
    ended: int = 0
    pruned: int = 0


class SweepAction(StrEnum):
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    CANCEL = "cancel"
    RETUNE = "retune"


class SweepPhase(StrEnum):
    SEARCH = "search"
    REPLICATE = "replicate"
    HOLDOUT = "holdout"
    PAUSED = "paused"
    WAITING = "waiting"
