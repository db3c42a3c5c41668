"""A sweep as asked for, as it is kept, and as it stands: values without wire or database."""

from typing import Final

from whet_server.dataset.spec import DatasetRef
from whet_server.fanout.spec import FanoutSpec
from whet_server.judge.spec import Asked, Criterion
from whet_server.judging import Item, Judge
from whet_server.log.events import SweepControlled, SweepProgress
from whet_server.sweeping import (
    Budget,
    Objective,
    ParameterValue,
    Racing,
    Sampler,
    SearchDimension,
    SweepPlan,
    SweepResult,
    Trial,
)
from whet_server.values import CallLimits, Failure, Forecast, ModelName, Nanos, Parameters, Run, RunId, Value

DEFAULT_CONCURRENCY: Final = 32
"""As the contract says: cases under way at once."""
DEFAULT_TRIALS_AT_ONCE: Final = 4
DEFAULT_TRIALS: Final = 50


class FewShot(Value):
    """Solved cases before the question. `selection`: `first`, `random` or `similar`."""

    count: int = 0
    selection: str = "first"


class Stage(Value):
    """One call to a model. Empty `template` and `model` are filled in by the plan."""

    name: str
    template: str = ""
    system: str = ""
    model: ModelName = ModelName("")
    parameters: Parameters = Parameters()
    examples: FewShot = FewShot()


class Pipeline(Value):
    stages: tuple[Stage, ...] = ()
    examples: DatasetRef | None = None


class Outside(Value):
    description: str = ""
    lease: float = 600.0
    """Seconds that a trial which was asked for is waited for."""


class Chain(Value):
    depth: int = 0
    money: Nanos | None = None
    parent_run_id: RunId | None = None
    step: str = ""


class SweepSpec(Value):
    """The wire's `SweepSpec` after unpacking: one of the three targets is set, except in a follow-up."""

    pipeline: Pipeline | None = None
    fanout: FanoutSpec | None = None
    outside: Outside | None = None
    space: tuple[SearchDimension, ...] = ()
    baseline: tuple[ParameterValue, ...] = ()
    sampler: Sampler = Sampler()
    racing: Racing = Racing()
    objectives: tuple[Objective, ...] = ()
    dataset: DatasetRef | None = None
    items: tuple[Item, ...] = ()
    scorers: tuple[str, ...] = ()
    criteria: tuple[Criterion, ...] = ()
    judge: Judge | None = None
    budget: Budget = Budget()
    concurrency: int = 0
    trials_at_once: int = 0
    seed: int = 0
    holdout: bool = False
    cache_bypass: bool = False
    cache_ttl: float | None = None
    limits: CallLimits = CallLimits()
    title: str = ""
    chain: Chain = Chain()


class SweepRecord(Value):
    """What the first event of a run keeps: the sweep is taken up and shown from it. `spec` has its defaults filled in
    and names the data set's version; `criteria` are as they were looked up.
    """

    spec: SweepSpec
    plan: SweepPlan
    criteria: tuple[Asked, ...] = ()
    chain_root: RunId | None = None
    """The first sweep of the chain; None: this one is it."""
    chain_place: int = 0
    """How many sweeps came before it in the chain."""


class SweepForecast(Forecast):
    """What a sweep would do and cost."""

    plan: SweepPlan = SweepPlan()
    low: Nanos = Nanos(0)
    duration_ns: int = 0
    warnings: tuple[str, ...] = ()
    detectable: float | None = None


class SweepView(Value):
    """A sweep as it stands."""

    run: Run
    plan: SweepPlan
    progress: SweepProgress | None = None
    best: Trial | None = None
    baseline: Trial | None = None
    result: SweepResult | None = None
    controls: tuple[SweepControlled, ...] = ()
    failure: Failure | None = None
    child_run_ids: tuple[RunId, ...] = ()


class Retune(Value):
    """What changes of a sweep under way; what is not set stays."""

    budget: Budget = Budget()
    concurrency: int = 0
    space: tuple[SearchDimension, ...] = ()
