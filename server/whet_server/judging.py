"""Values of judging that several rooms speak of; `proto/whet/v1/judging.proto` documents each field under its name.

A verdict has a score exactly when its outcome is SCORED. Nothing anywhere makes a score of another outcome.

Of what a run has by the ten thousand the cycle collector is told nothing (`gc=False`): values hold no cycles, and to
look through them all would stop the server for a fifth of a second.
"""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from whet_server.errors import Reason
from whet_server.values import Failure, ModelName, Nanos, Parameters, Totals, Value

LEVEL: Final = 0.95
"""The level of every interval."""
DEFAULT_RUBRIC: Final = "problem-solving"


class Outcome(StrEnum):
    SCORED = "scored"
    ABSTAINED = "abstained"
    REFUSED = "refused"
    UNPARSEABLE = "unparseable"
    TIMED_OUT = "timed_out"
    UNAFFORDABLE = "unaffordable"
    UNCALIBRATED = "uncalibrated"
    FAILED = "failed"
    CANCELLED = "cancelled"


_OUTCOMES: Final[Mapping[str, Outcome]] = {
    Reason.CAP_EXCEEDED: Outcome.UNAFFORDABLE,
    Reason.PRICE_UNKNOWN: Outcome.UNAFFORDABLE,
    Reason.CONNECT_TIMEOUT: Outcome.TIMED_OUT,
    Reason.FIRST_TOKEN_TIMEOUT: Outcome.TIMED_OUT,
    Reason.IDLE_TIMEOUT: Outcome.TIMED_OUT,
    Reason.TOTAL_TIMEOUT: Outcome.TIMED_OUT,
    Reason.DEADLINE_EXCEEDED: Outcome.TIMED_OUT,
    Reason.CONTENT_FILTERED: Outcome.REFUSED,
    Reason.CANCELLED: Outcome.CANCELLED,
}


def outcome_of(reason: str) -> Outcome:
    """Return how a question ends whose call failed for this reason."""
    return _OUTCOMES.get(reason, Outcome.FAILED)


class Direction(StrEnum):
    HIGHER = "higher"
    LOWER = "lower"


class JudgeMode(StrEnum):
    POINTWISE = "pointwise"
    PAIRWISE = "pairwise"
    LISTWISE = "listwise"


class Judge(Value):
    """Who judges, by which rubric (`name` or `name@version`), in which way. Several models are a panel."""

    rubric: str = DEFAULT_RUBRIC
    models: tuple[ModelName, ...] = ()
    mode: JudgeMode = JudgeMode.POINTWISE
    parameters: Parameters = Parameters()
    samples: int = 1


class JudgeIdentity(Value):
    """What a calibration is bound to: change one word of the rubric or the prompt and the digest is another."""

    models: tuple[ModelName, ...]
    mode: JudgeMode
    parameters: Parameters
    rubric: str
    """The name alone."""
    rubric_digest: str
    prompt_digest: str

    @property
    def digest(self) -> str:
        """SHA-256 over everything but the rubric's name, in hexadecimal. The order of a panel does not count."""
        whole = (sorted(self.models), self.mode, self.parameters, self.rubric_digest, self.prompt_digest)
        return hashlib.sha256(msgspec.json.encode(whole, order="deterministic")).hexdigest()


class Item(Value, gc=False):
    """What is judged: an input and its candidates. `latency_ns` and `cost` are the first candidate's."""

    item_id: str = ""
    input: str = ""
    candidates: tuple[str, ...] = ()
    reference: str = ""
    writers: tuple[ModelName, ...] = ()
    latency_ns: int | None = None
    cost: Nanos | None = None
    fields: dict[str, str] = {}

    @property
    def output(self) -> str:
        """The first candidate; empty when there is none."""
        return self.candidates[0] if self.candidates else ""

    @property
    def subject(self) -> str:
        """SHA-256 over input and candidates, in hexadecimal: by it ratings find the same texts wherever they are."""
        return hashlib.sha256(msgspec.json.encode((self.input, self.candidates))).hexdigest()


class Quote(Value, gc=False):
    """Words of a candidate, in Unicode code points."""

    text: str
    candidate: int = 0
    start: int = 0
    end: int = 0


class DimensionScore(Value, gc=False):
    dimension: str
    level: int | None = None
    rationale: str = ""
    quotes: tuple[Quote, ...] = ()


class Verdict(Value, gc=False):
    """How one scorer or one call to a judge ended on one item."""

    item_id: str
    criterion: str
    outcome: Outcome
    score: float | None = None
    value: float | None = None
    judge: ModelName = ModelName("")
    sample: int = 1
    dimensions: tuple[DimensionScore, ...] = ()
    rationale: str = ""
    order: tuple[int, ...] = ()
    ranking: tuple[int, ...] = ()
    tie: bool = False
    repaired: bool = False
    cached: bool = False
    simulated: bool = False
    degraded: bool = False
    failure: Failure | None = None
    totals: Totals = Totals()
    latency_ns: int = 0
    model: ModelName = ModelName("")

    def __post_init__(self) -> None:
        if (self.score is not None) is not (self.outcome is Outcome.SCORED):
            raise ValueError(f"a verdict that is {self.outcome} cannot have the score {self.score}")


class Estimate(Value):
    """An estimate with its interval. `value` None: the data do not define it."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = LEVEL


class OutcomeCount(Value):
    outcome: Outcome
    count: int


class DimensionSummary(Value):
    dimension: str
    weight: float
    scored: int = 0
    mean: Estimate = Estimate()
    levels: tuple[int, ...] = ()


class Standing(Value):
    candidate: int
    wins: int = 0
    ties: int = 0
    losses: int = 0


class CalibrationState(StrEnum):
    CALIBRATED = "calibrated"
    UNCALIBRATED = "uncalibrated"
    STALE = "stale"
    TOO_WEAK = "too_weak"


class CriterionSummary(Value):
    """A criterion over all items; means are over what was scored, and the counts say what was not."""

    criterion: str
    unit: str = "share"
    direction: Direction = Direction.HIGHER
    items: int = 0
    scored_items: int = 0
    outcomes: tuple[OutcomeCount, ...] = ()
    mean: Estimate = Estimate()
    deviation: float | None = None
    histogram: tuple[int, ...] = ()
    mean_value: float | None = None
    dimensions: tuple[DimensionSummary, ...] = ()
    panel_alpha: Estimate = Estimate()
    standings: tuple[Standing, ...] = ()
    order_flips: int = 0
    order_pairs: int = 0
    corrected_mean: Estimate = Estimate()
    corrected_on: int = 0
    calibration: CalibrationState | None = None
    simulated: bool = False
    degraded: bool = False
    judge: Judge | None = None


class JudgementPlan(Value):
    """What a judgement is to do, as its first event says it."""

    items: int
    criteria: tuple[str, ...]
    judges: tuple[ModelName, ...] = ()
    verdicts: int = 0
    origin: str = ""
    simulated: bool = False


class RatingSource(StrEnum):
    RPC = "rpc"
    KEYS = "keys"
    CSV = "csv"


class Rating(Value):
    """What a person says of an answer, by a rubric; `preferred` instead of a level for pairs (-1: a tie)."""

    subject: str
    rubric: str
    rater: str
    item_id: str = ""
    dimension: str = ""
    level: int = 0
    preferred: int | None = None
    source: RatingSource = RatingSource.RPC
    rate_ns: int = 0
    note: str = ""


class AuditAxis(StrEnum):
    POSITION = "position"
    LENGTH = "length"
    SELF_PREFERENCE = "self_preference"
    FORMATTING = "formatting"
    SYCOPHANCY = "sycophancy"
    INJECTION = "injection"


class AuditVerdict(StrEnum):
    FAIR = "fair"
    BIASED = "biased"
    UNDECIDED = "undecided"


class AuditExample(Value):
    item_id: str
    change: str
    before: float
    after: float


class AxisResult(Value):
    axis: AuditAxis
    verdict: AuditVerdict
    pairs: int = 0
    scored_pairs: int = 0
    flip_rate: Estimate = Estimate()
    noise_rate: Estimate = Estimate()
    shift: Estimate = Estimate()
    p_value: float | None = None
    finding: str = ""
    examples: tuple[AuditExample, ...] = ()


class AuditReport(Value):
    axes: tuple[AxisResult, ...] = ()
    verdict: AuditVerdict = AuditVerdict.UNDECIDED
    simulated: bool = False
