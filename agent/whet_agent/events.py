"""What a session tells whoever listens: one frozen value per thing that happened.

Every listener (the Textual screen, plain output, JSON lines) hears the same events and folds them with the same
reducer. An `Envelope` numbers them densely within the session; live events (`LIVE`) are not journalled, and what they
told is repeated whole by the event that follows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from whet.v1 import event_pb2

ApprovalMode: TypeAlias = Literal["ask", "allowance", "read_only"]
"""`ask`: a person decides each call that needs a yes. `allowance`: what only spends passes while the session's
allowance lasts, the rest asks. `read_only`: whatever spends or changes is refused without asking.
"""

Decider: TypeAlias = Literal["person", "allowance", "read_only", "script", "elsewhere"]
"""Who decided: the person here, one of the modes, a script's rules, or somebody at another place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOpened:
    """The session is ready. `mind` is the model that thinks, or the offline planner's name."""

    session_id: str
    mind: str
    server: str
    panel: tuple[str, ...]
    restored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSaid:
    """The person said something, which is a turn of its own. `steered` names what it is when it was said into an
    earlier turn that ended before the mind had heard it: that turn and the number of `Steered`, as `3/1`.
    """

    turn: int
    text: str
    steered: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered:
    """The person said something into the running turn. The mind hears it before its next step. `number` counts from 1
    within the turn.
    """

    turn: int
    number: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """A message that waited for its turn was taken back; the turn never begins."""

    turn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MindSaid:
    """Live: the mind's text grew. A higher `attempt` of the same turn and step withdraws what a lower one said.
    `offset` is where `text` begins in the attempt's whole text, in code points, so that hearing it twice changes
    nothing.
    """

    turn: int
    step: int
    attempt: int
    offset: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantSaid:
    """The answer of one step, whole, as Markdown. `author` is the mind's model or the offline planner's name. With
    `run_id` the text is that run's own answer, word for word: a listener that has shown it growing need not show it
    again.
    """

    turn: int
    step: int
    text: str
    author: str
    simulated: bool = False
    run_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAsked:
    """A tool is about to be called. `key` is `session/turn/call` and the RPC's request id."""

    turn: int
    key: str
    tool: str
    arguments_json: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHeard:
    """An event of the run that a tool call started or watches. Live when the run's own event is (sequence 0)."""

    turn: int
    key: str
    run_id: str
    event: event_pb2.Event


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAsked:
    """A person must decide before the call is made. Everything is exactly what the server will hold the grant to."""

    turn: int
    key: str
    approval_id: str
    tool: str
    summary: str
    effect: str
    arguments_json: str
    digest: str
    worst_cost_nanos: int
    expires_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalDecided:
    turn: int
    key: str
    approval_id: str
    granted: bool
    reason: str = ""
    """`EXPIRED` when nobody decided in time: the call is made again, which asks anew."""
    arguments_json: str = ""
    """What the person changed the arguments to. The approval itself is rejected, the call is made again with these and
    asks anew, with its new digest and its new worst cost.
    """
    by: Decider = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAnswered:
    """A tool call ended. `text` is what the mind is told; `run_id` names the run it made, if any."""

    turn: int
    key: str
    tool: str
    ok: bool
    text: str
    run_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """The money of this session so far, in nanos of a US dollar, the mind's included."""

    settled: int
    unknown: int
    reserved: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeChanged:
    """How calls that need a yes are answered from now on. `allowance_nanos` is what the whole session may spend under
    `allowance`, in nanos of a US dollar, counted from its first call.
    """

    mode: ApprovalMode
    allowance_nanos: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextUsed:
    """How much of the mind's window the conversation fills, in tokens. `window` is 0 when it is not known."""

    tokens: int
    window: int
    estimated: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """The mind reads `summary` in place of the turns up to `upto` from now on. Nothing is lost: `Expanded` undoes
    it.
    """

    upto: int
    summary: str
    tokens_before: int
    tokens_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Expanded:
    """The mind reads the whole conversation again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewound:
    """The conversation goes on from before `turn`; that turn and those after it are gone from it, though not from the
    journal. `thread` numbers the checkpoints that hold from now on. Turn numbers are never used again. `held` is what
    fan-outs of those turns may still spend, in nanos: by the run's id, or by the call's key where nobody knows the run.
    """

    turn: int
    thread: int
    held: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed:
    """The session's title, in place of the first words that were said."""

    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something worth knowing that is no answer: a retry, a lost connection, a healed turn."""

    level: Literal["info", "warning", "error"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnded:
    """The session takes the next message. `failure` says in one or two sentences what went wrong."""

    turn: int
    state: Literal["done", "cancelled", "failed"]
    failure: str = ""


Happening: TypeAlias = (
    SessionOpened
    | UserSaid
    | Steered
    | Withdrawn
    | MindSaid
    | AssistantSaid
    | ToolAsked
    | RunHeard
    | ApprovalAsked
    | ApprovalDecided
    | ToolAnswered
    | Spent
    | ModeChanged
    | ContextUsed
    | Compacted
    | Expanded
    | Rewound
    | Renamed
    | Notice
    | TurnEnded
)
"""Everything a listener can hear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One happening in its place. `sequence` is dense from 1 within the session for journalled events and 0 for live
    ones.
    """

    sequence: int
    time_ns: int
    happening: Happening


def is_live(happening: Happening) -> bool:
    """Whether the happening is not journalled."""
    return isinstance(happening, MindSaid) or (isinstance(happening, RunHeard) and happening.event.sequence == 0)


EXPIRED: Final = "expired"
"""The reason of a decision that nobody took in time."""

OFFLINE_PLANNER: Final = "offline planner"
"""The name under which the planner answers when no tool-calling model is configured."""
