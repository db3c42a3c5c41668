"""What a conversation looks like, as data: the entries of the transcript, the fan-outs in them, the status.

Nothing here knows a screen, the agent or the wire, so that the first frame can be drawn before any of them is loaded.
Text is kept as it came; whoever draws it takes it through `whet_tui.safe`.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal, TypeAlias

_NANOS: Final = re.compile(r'^ *"(?:\w+_)?nanos": "?(\d{1,18})"?,?$', re.MULTILINE)
"""A line of JSON that is an amount."""


class LaneState(StrEnum):
    """Where a branch or a draft stands, in the word that is shown."""

    PLANNED = "planned"
    WAITING = "waiting"
    LOADING = "loading"
    ASKED = "asked"
    STREAMING = "streaming"
    DONE = "done"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in _ENDED


_ENDED: Final = frozenset({LaneState.DONE, LaneState.PARTIAL, LaneState.FAILED, LaneState.CANCELLED})


class FanoutState(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(slots=True, kw_only=True)
class Money:
    """Nanos of a US dollar. Unknown money may have been spent: it is named wherever it is not nothing."""

    settled: int = 0
    unknown: int = 0
    reserved: int = 0
    unpriced: int = 0
    """Requests whose price nobody knows; what they cost stands in no amount."""


@dataclass(slots=True, kw_only=True)
class Lane:
    """One branch of a fan-out."""

    branch_id: str
    number: int
    """From 1; the source mark in the text."""
    model: str
    persona: str = ""
    sample: int = 1
    state: LaneState = LaneState.PLANNED
    detail: str = ""
    fraction: float = 0.0
    text: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    """Reported by the provider; 0 while it streams."""
    estimated: bool = False
    first_token_ns: int = 0
    latency_ns: int = 0
    """0 while it is under way: then it is the time since the fan-out opened."""
    money: Money = field(default_factory=Money)
    retries: int = 0
    cached: bool = False
    simulated: bool = False
    failure: str = ""


@dataclass(slots=True, kw_only=True)
class Draft:
    """The latest revision of the synthesis."""

    revision: int
    model: str = ""
    branch_ids: tuple[str, ...] = ()
    final: bool = False
    state: LaneState = LaneState.ASKED
    text: str = ""
    earlier: str = ""
    """What the revision before it said, to look at until this one has words."""
    failure: str = ""
    simulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A stretch of a branch's text, in code points."""

    branch_id: str
    start: int
    end: int
    score: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A sentence of the final text. No sources: no branch says it."""

    start: int
    end: int
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SoleClaim:
    branch_id: str
    text: str
    in_final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """Two branches that contradict each other."""

    left_id: str
    left_text: str
    right_id: str
    right_text: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    answer: str
    votes: int
    branch_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthesis:
    """The final text and what was found about it."""

    state: LaneState
    text: str
    revision: int
    sentences: tuple[Sentence, ...] = ()
    sole_claims: tuple[SoleClaim, ...] = ()
    disputes: tuple[Dispute, ...] = ()
    votes: tuple[Vote, ...] = ()
    failure: str = ""
    simulated: bool = False


@dataclass(slots=True, kw_only=True)
class Fanout:
    """One fan-out as it stands."""

    run_id: str = ""
    prompt: str = ""
    mode: str = ""
    opened_ns: int = 0
    lanes: dict[str, Lane] = field(default_factory=dict)
    draft: Draft | None = None
    synthesis: Synthesis | None = None
    state: FanoutState = FanoutState.RUNNING
    failure: str = ""
    money: Money = field(default_factory=Money)
    input_tokens: int = 0
    output_tokens: int = 0
    attempts: int = 0
    cache_hits: int = 0
    latency_ns: int = 0
    heard: int = 0
    """The sequence of the last durable event."""
    left: bool = False
    """Nobody listens any more: the call ended before the run told its end."""
    author: str = ""
    """Who gave the run's answer as its own, word for word."""

    @property
    def ended(self) -> bool:
        return self.state is not FanoutState.RUNNING

    @property
    def finished(self) -> int:
        """How many branches have come to an end."""
        return sum(lane.state.ended for lane in self.lanes.values())

    @property
    def simulated(self) -> bool:
        """Whether anything here is simulated or stands on it."""
        drafted = (self.draft is not None and self.draft.simulated) or (
            self.synthesis is not None and self.synthesis.simulated
        )
        return drafted or any(lane.simulated for lane in self.lanes.values())

    def number(self, branch_id: str) -> int:
        """Return the lane's number, 0 for a branch that nobody announced."""
        lane = self.lanes.get(branch_id)
        return lane.number if lane is not None else 0


@dataclass(slots=True, kw_only=True)
class Judging:
    """How far a judgement or an audit is. What it found is told by its result."""

    run_id: str = ""
    items: int = 0
    judges: tuple[str, ...] = ()
    origin: str = ""
    planned: int = 0
    """Verdicts that it asks for."""
    verdicts: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    """How often each outcome came so far."""
    money: Money = field(default_factory=Money)
    left_nanos: int = 0
    """What the rest is likely to cost."""
    left_ns: int = 0
    """How long the rest is likely to take; 0 while nobody knows."""
    state: FanoutState = FanoutState.RUNNING
    failure: str = ""
    simulated: bool = False
    latency_ns: int = 0
    heard: int = 0
    """The sequence of the last durable event."""
    left: bool = False
    """Nobody listens any more: the call ended before the run told its end."""

    @property
    def ended(self) -> bool:
        return self.state is not FanoutState.RUNNING


@dataclass(slots=True, kw_only=True)
class Sweeping:
    """How far a sweep is, and its verdict. What else it found is told by its result."""

    run_id: str = ""
    origin: str = ""
    """Where its cases come from."""
    space: tuple[str, ...] = ()
    """The names of what it searches."""
    objective: str = "quality"
    """What it optimises above all: `quality`, `cost` or `time`."""
    planned: int = 0
    """Trials at most."""
    cases: int = 0
    """Cases of a whole trial."""
    trials: int = 0
    """Trials that have ended."""
    pruned: int = 0
    """Those that were stopped early."""
    running: int = 0
    answers: int = 0
    phase: str = ""
    """What it is at, in words; empty while it searches."""
    best: int | None = None
    best_value: float | None = None
    controlled: str = ""
    """What was done to it last."""
    verdict: str = ""
    finding: str = ""
    money: Money = field(default_factory=Money)
    cap_nanos: int = 0
    """What it may spend at most; 0: no cap of its own."""
    left_nanos: int | None = None
    """What of it is left; None where it has no cap."""
    """What the rest is likely to cost."""
    left_ns: int = 0
    """How long the rest is likely to take; 0 while nobody knows."""
    state: FanoutState = FanoutState.RUNNING
    failure: str = ""
    simulated: bool = False
    latency_ns: int = 0
    heard: int = 0
    """The sequence of the last durable event."""
    left: bool = False
    """Nobody listens any more: the call ended before the run told its end."""

    @property
    def ended(self) -> bool:
        return self.state is not FanoutState.RUNNING


@dataclass(slots=True, kw_only=True)
class Said:
    """What the person wrote. `steering`: into a turn that was running."""

    key: str
    turn: int
    text: str
    steering: bool = False


@dataclass(slots=True, kw_only=True)
class Answer:
    """What the mind wrote in one step. `done` is False while it grows."""

    key: str
    turn: int
    text: str = ""
    author: str = ""
    run_id: str = ""
    """The run whose own answer this is, word for word; empty for words of the mind's own."""
    quoted: bool = False
    """The run's answer stands in this conversation already, with its sources, and need not be drawn twice."""
    attempt: int = 0
    simulated: bool = False
    done: bool = False


class CallState(StrEnum):
    RUNNING = "running"
    DECIDING = "waits for you"
    DONE = "done"
    FAILED = "failed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


@dataclass(slots=True, kw_only=True)
class Call:
    """One tool call, with the fan-out, the judgement, the audit or the sweep that it started or follows."""

    key: str
    turn: int
    tool: str = ""
    arguments_json: str = ""
    state: CallState = CallState.RUNNING
    result: str = ""
    repeated: bool = False
    """The result stands below as the answer, word for word, and need not be drawn twice."""
    run_id: str = ""
    fanout: Fanout | None = None
    judging: Judging | None = None
    sweep: Sweeping | None = None


@dataclass(slots=True, kw_only=True)
class Note:
    """Something worth knowing that is no answer."""

    key: str
    level: Literal["info", "warning", "error"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """An approval that waits for the person."""

    approval_id: str
    turn: int
    key: str
    tool: str
    summary: str
    effect: str
    arguments_json: str
    digest: str
    worst_cost_nanos: int
    expires_at: str


Entry: TypeAlias = Said | Answer | Call | Note
"""One thing in the transcript."""


@dataclass(slots=True, kw_only=True)
class Status:
    """What the status line tells."""

    session_id: str = ""
    mind: str = ""
    server: str = ""
    panel: tuple[str, ...] = ()
    restored: bool = False
    money: Money = field(default_factory=Money)
    input_tokens: int = 0
    output_tokens: int = 0
    title: str = ""
    mode: str = "ask"
    """How calls that need a yes are answered: `ask`, `allowance` or `read_only`."""
    allowance_nanos: int = 0
    context_tokens: int = 0
    """How much of the mind's window is filled; `context_window` is 0 when it is not known."""
    context_window: int = 0


def dollars(nanos: int) -> str:
    """Show money: cents need two digits, what is smaller keeps three that matter, so that a cheap call does not look
    free.
    """
    if nanos == 0:
        return "$0"
    value = nanos / 1_000_000_000
    if abs(value) >= 0.01:
        return f"${value:,.2f}"
    return f"${value:.3g}" if abs(value) >= 0.0001 else f"${value:.9f}".rstrip("0")


def with_amounts(text: str) -> str:
    """Write behind each line of nanos how much money it is: nobody counts nine zeros."""
    return _NANOS.sub(lambda found: f"{found[0]}   = {dollars(int(found[1]))}", text)


def money_line(money: Money) -> str:
    """Settled money, and in words what is unknown or still reserved."""
    parts = [dollars(money.settled)] if money.settled or not money.unpriced else []
    if money.unpriced:
        parts.append("price unknown")
    if money.unknown:
        parts.append(f"{dollars(money.unknown)} unknown")
    if money.reserved:
        parts.append(f"{dollars(money.reserved)} reserved")
    return " + ".join(parts)
