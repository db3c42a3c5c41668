"""What the Judges place draws: judgements, their sums, their items, ratings. Plain values, fetched by a desk.

Fields have the names of the contract's, which `proto/whet/v1/judging.proto` documents. Amounts are nanos of a US
dollar, times nanoseconds since the epoch, spans nanoseconds; 0 where nothing is known.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from whet_tui.entries import FanoutState, Money

RunState = FanoutState
"""A judgement ends as every run does."""


class Outcome(StrEnum):
    """How a question ended; only `scored` carries a score."""

    SCORED = "scored"
    ABSTAINED = "abstained"
    REFUSED = "refused"
    UNPARSEABLE = "unparseable"
    TIMED_OUT = "timed_out"
    UNAFFORDABLE = "unaffordable"
    UNCALIBRATED = "uncalibrated"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def words(self) -> str:
        return self.replace("_", " ")


class Mode(StrEnum):
    POINTWISE = "pointwise"
    PAIRWISE = "pairwise"
    LISTWISE = "listwise"


class Standing(StrEnum):
    """Whether a judge was checked against people."""

    CALIBRATED = "calibrated"
    UNCALIBRATED = "uncalibrated"
    STALE = "stale"
    TOO_WEAK = "too_weak"


class Source(StrEnum):
    """Where a rating came from."""

    RPC = "rpc"
    KEYS = "keys"
    CSV = "csv"


class ItemOrder(StrEnum):
    """In which order items come, in the order in which the person goes through them."""

    DISAGREEMENT = "disagreement"
    SCORE = "score"
    GIVEN = "given"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    value: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeCount:
    outcome: Outcome
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionSummary:
    dimension: str
    weight: float = 0.0
    scored: int = 0
    mean: Estimate = Estimate()
    levels: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateStanding:
    candidate: int = 0
    wins: int = 0
    ties: int = 0
    losses: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    rubric: str = ""
    """With its version, as `name@version`."""
    models: tuple[str, ...] = ()
    mode: Mode = Mode.POINTWISE
    samples: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A criterion over all items; `judge` is None for a scorer."""

    criterion: str = ""
    unit: str = ""
    items: int = 0
    scored_items: int = 0
    outcomes: tuple[OutcomeCount, ...] = ()
    mean: Estimate = Estimate()
    deviation: float | None = None
    histogram: tuple[int, ...] = ()
    mean_value: float | None = None
    dimensions: tuple[DimensionSummary, ...] = ()
    panel_alpha: Estimate = Estimate()
    standings: tuple[CandidateStanding, ...] = ()
    order_flips: int = 0
    order_pairs: int = 0
    corrected_mean: Estimate = Estimate()
    corrected_on: int = 0
    calibration: Standing | None = None
    simulated: bool = False
    degraded: bool = False
    judge: Judge | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a judgement is to do."""

    items: int = 0
    criteria: tuple[str, ...] = ()
    judges: tuple[str, ...] = ()
    verdicts: int = 0
    origin: str = ""
    simulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A judgement as it stands; in lists without `criteria`, and with `combined` only once it has ended."""

    run_id: str
    title: str = ""
    state: RunState = RunState.RUNNING
    create_ns: int = 0
    end_ns: int = 0
    plan: Plan = Plan()
    criteria: tuple[Criterion, ...] = ()
    combined: Criterion | None = None
    verdicts: int = 0
    totals: Money = field(default_factory=Money)
    failure: str = ""

    @property
    def ended(self) -> bool:
        return self.state is not RunState.RUNNING

    @property
    def rated_by(self) -> Criterion | None:
        """The criterion by whose rubric people rate: the first that has a judge."""
        return next((each for each in self.criteria if each.judge is not None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a judgement is. `ended`: it is over, and the desk has its sums."""

    verdicts: int = 0
    planned: int = 0
    in_flight: int = 0
    totals: Money = field(default_factory=Money)
    expected_left: int = 0
    time_left_ns: int = 0
    outcomes: tuple[OutcomeCount, ...] = ()
    ended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Words of a candidate, in code points."""

    text: str
    candidate: int = 0
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionScore:
    dimension: str
    level: int | None = None
    rationale: str = ""
    quotes: tuple[Quote, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    criterion: str
    outcome: Outcome = Outcome.FAILED
    score: float | None = None
    value: float | None = None
    judge: str = ""
    """Empty for a scorer."""
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
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """What a person says of an item. `dimension` empty: the whole. `preferred`, -1 for a tie, stands for a level in
    pairs and lists.
    """

    rubric: str = ""
    dimension: str = ""
    level: int = 0
    preferred: int | None = None
    rater: str = ""
    source: Source = Source.RPC
    rate_ns: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    item_id: str
    input: str = ""
    candidates: tuple[str, ...] = ()
    reference: str = ""
    writers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedItem:
    item: Item
    verdicts: tuple[Verdict, ...] = ()
    score: float | None = None
    disagreement: float = 0.0
    ratings: tuple[Rating, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemQuery:
    """Which items, in which order. `outcome` None: any."""

    run_id: str
    order: ItemOrder = ItemOrder.DISAGREEMENT
    outcome: Outcome | None = None
    unrated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPage:
    """A judgement as it stands, with a page of its items. `next_page_token` is empty on the last."""

    judgement: Judgement
    items: tuple[JudgedItem, ...] = ()
    next_page_token: str = ""
    rated_items: int = 0
    """Of all items, however they are filtered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    level: int
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    name: str
    description: str = ""
    weight: float = 0.0
    anchors: tuple[Anchor, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rubric:
    """What people and judges rate by: levels from `lowest` to `highest`."""

    name: str
    version: int = 0
    lowest: int = 1
    highest: int = 5
    dimensions: tuple[Dimension, ...] = ()
