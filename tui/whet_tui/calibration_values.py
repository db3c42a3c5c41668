"""Whether judges may be trusted, as the terminal draws it. Fields have the names of the contract, see
proto/whet/v1/calibration.proto and judging.proto.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from whet_tui.entries import Money
from whet_tui.judging_values import Estimate, Judge, OutcomeCount, RunState, Standing

_UNKNOWN: Final = Estimate()
_NOBODY: Final = Judge()


class AuditVerdict(StrEnum):
    FAIR = "fair"
    BIASED = "biased"
    UNDECIDED = "undecided"


class AuditAxis(StrEnum):
    """What a judge may be biased by."""

    POSITION = "position"
    LENGTH = "length"
    SELF_PREFERENCE = "self_preference"
    FORMATTING = "formatting"
    SYCOPHANCY = "sycophancy"
    INJECTION = "injection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far a judge and people agree, on one dimension or, without one, on the whole."""

    dimension: str = ""
    items: int = 0
    unscored: int = 0
    exact: Estimate = _UNKNOWN
    kappa: Estimate = _UNKNOWN
    weighted_kappa: Estimate = _UNKNOWN
    alpha: Estimate = _UNKNOWN
    spearman: Estimate = _UNKNOWN
    bias: Estimate = _UNKNOWN
    error: Estimate = _UNKNOWN
    people_alpha: Estimate = _UNKNOWN
    levels: tuple[int, ...] = ()
    matrix: tuple[int, ...] = ()
    """How often people said the row's level and the judge the column's, row by row."""

    def row(self, place: int) -> tuple[int, ...]:
        """What the judge said of the items to which people gave the level at this place."""
        width = len(self.levels)
        return self.matrix[place * width : (place + 1) * width]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A judge compared with people."""

    calibration_id: str
    judge: Judge = _NOBODY
    run_id: str = ""
    criterion: str = ""
    agreements: tuple[Agreement, ...] = ()
    """On the whole, then on each dimension that was rated."""
    raters: tuple[str, ...] = ()
    outcomes: tuple[OutcomeCount, ...] = ()
    create_ns: int = 0
    simulated: bool = False
    state: Standing = Standing.UNCALIBRATED
    reason: str = ""
    judge_digest: str = ""
    rubric_digest: str = ""
    prompt_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditExample:
    item_id: str = ""
    change: str = ""
    before: float = 0.0
    after: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisResult:
    """What an audit found on one axis."""

    axis: AuditAxis
    verdict: AuditVerdict = AuditVerdict.UNDECIDED
    pairs: int = 0
    scored_pairs: int = 0
    flip_rate: Estimate = _UNKNOWN
    noise_rate: Estimate = _UNKNOWN
    shift: Estimate = _UNKNOWN
    p_value: float | None = None
    finding: str = ""
    examples: tuple[AuditExample, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    axes: tuple[AxisResult, ...] = ()
    verdict: AuditVerdict = AuditVerdict.UNDECIDED
    simulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRun:
    """An audit as lists show it."""

    run_id: str
    title: str = ""
    state: RunState = RunState.RUNNING
    create_ns: int = 0
    end_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """An audit as it stands."""

    run_id: str
    state: RunState = RunState.RUNNING
    judge: Judge = _NOBODY
    report: AuditReport | None = None
    """What it found; None before its end."""
    verdicts: int = 0
    planned: int = 0
    totals: Money = field(default_factory=Money)
    failure: str = ""
