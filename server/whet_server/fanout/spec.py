"""A fan-out as asked for, and as it stands: values without wire or database."""

from enum import StrEnum

from whet_server.log.events import BranchFinished, BranchPlan, DraftEnded, SynthesisFinished
from whet_server.values import CallLimits, Failure, Forecast, Message, ModelName, Nanos, Parameters, Run, Value


class SynthesisMode(StrEnum):
    UNSPECIFIED = ""
    NONE = "none"
    FIRST = "first"
    VOTE = "vote"
    DRAFT = "draft"


class BranchSpec(Value):
    """One model to ask, in its own way."""

    model: ModelName
    parameters: Parameters = Parameters()
    persona: str = ""
    label: str = ""
    """Tells the branch apart in lists and lanes; empty: the persona's first words do."""
    samples: int = 1
    failover: tuple[ModelName, ...] = ()


class SynthesisSpec(Value):
    mode: SynthesisMode = SynthesisMode.UNSPECIFIED
    model: ModelName | None = None
    start_after: int = 0
    parameters: Parameters = Parameters()


class FanoutSpec(Value):
    """The wire's `FanoutSpec` after unpacking: `prompt` has become a user message, `models` have become branches.
    Empty `branches`: ask the panel.
    """

    messages: tuple[Message, ...]
    branches: tuple[BranchSpec, ...] = ()
    parameters: Parameters = Parameters()
    enough: int = 0
    deadline: float | None = None
    """Seconds after the start."""
    synthesis: SynthesisSpec = SynthesisSpec()
    cache_bypass: bool = False
    cache_ttl: float | None = None
    cap: Nanos | None = None
    limits: CallLimits = CallLimits()
    title: str = ""


class FanoutPlan(Forecast):
    """What a fan-out would do and cost."""

    branches: tuple[BranchPlan, ...] = ()


class FanoutView(Value):
    """A fan-out as it stands, folded from its events."""

    run: Run
    prompt: str
    plan: tuple[BranchPlan, ...]
    branches: tuple[BranchFinished, ...] = ()
    drafts: tuple[DraftEnded, ...] = ()
    synthesis: SynthesisFinished | None = None
    failure: Failure | None = None
