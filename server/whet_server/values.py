"""Values that every room of the server speaks. Nothing here knows the wire or the database.

Money is an integer number of nanos (billionths of a US dollar). Times are Unix nanoseconds, latencies and waits are
nanoseconds too, so that every figure in a record is an integer.
"""

import secrets
import threading
import time
from enum import StrEnum
from typing import Any, Final, NewType, dataclass_transform

import msgspec

RunId = NewType("RunId", str)
"""A run's id, such as `fan_06b2k...`: unique on the server, sorts by time of creation."""
BranchId = NewType("BranchId", str)
"""A branch's id within its run: `b1`, `b2`, ..."""
CallId = NewType("CallId", str)
"""One logical call to a model, with all its attempts: `<run>/<branch>` or `<run>/draft-<revision>`."""
Workspace = NewType("Workspace", str)
ModelName = NewType("ModelName", str)
"""A model as `endpoint/model`; the part after the first slash is the endpoint's own name for it."""
Nanos = NewType("Nanos", int)
"""Billionths of a US dollar."""

NANOS_PER_USD: Final = 1_000_000_000
NANOSECONDS: Final = 1_000_000_000
"""Of a second."""
_CROCKFORD: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = [one + other for one in _CROCKFORD for other in _CROCKFORD]


@dataclass_transform(frozen_default=True, kw_only_default=True)
class _ValueMeta(msgspec.StructMeta):
    """Makes every `Value` frozen and keyword-only, and says so to type checkers."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any) -> "_ValueMeta":
        fixed = {"frozen": True, "kw_only": True, "omit_defaults": True}
        made: _ValueMeta = super().__new__(cls, name, bases, namespace, **(fixed | config))
        return made


class Value(msgspec.Struct, metaclass=_ValueMeta):
    """Base of every value: frozen, keyword-only, and fields that equal their defaults are left out of records."""


class Role(StrEnum):
    """Whose token made a call."""

    PERSON = "person"
    AGENT = "agent"


class Principal(Value):
    """Who calls: the workspace and the role that the bearer token names."""

    workspace: Workspace
    role: Role


class Speaker(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class Message(Value):
    """One message of a conversation with a model."""

    role: Speaker
    content: str


class Parameters(Value):
    """Sampling parameters; None means the model's default."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    json_schema: str = ""

    def over(self, below: "Parameters") -> "Parameters":
        """Return these parameters where set, else those of `below`."""
        chosen = {name: mine for name in self.__struct_fields__ if (mine := getattr(self, name)) not in (None, (), "")}
        return msgspec.structs.replace(below, **chosen)


class CallLimits(Value):
    """Limits of time of one call, in seconds; None means the endpoint's default."""

    connect: float | None = None
    first_token: float | None = None
    idle: float | None = None
    total: float | None = None


class Usage(Value, gc=False):
    """Tokens. `estimated` is true when the provider did not report them."""

    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            estimated=self.estimated or other.estimated,
        )


class Billing(StrEnum):
    """What the money of an attempt came to; the wire's `Billing` says what each means."""

    NONE = "none"
    SETTLED = "settled"
    UNKNOWN = "unknown"
    CACHED = "cached"
    RESERVED = "reserved"


class Failure(Value):
    """Why a part of a run failed: data, not an exception. `reason` is a `Reason` of `errors.py`."""

    reason: str
    message: str
    metadata: dict[str, str] = {}
    transient: bool = False
    retry_after_ns: int | None = None


class Attempt(Value):
    """One request to one endpoint, as it stands on the record."""

    number: int
    model: ModelName
    start_ns: int
    latency_ns: int
    failure: Failure | None = None
    first_token_ns: int | None = None
    usage: Usage = Usage()
    billing: Billing = Billing.NONE
    cost: Nanos = Nanos(0)
    provider_request_id: str = ""
    wait_ns: int | None = None


class Totals(Value, gc=False):
    """Sums over calls. `unknown` counts the worst case of every attempt whose outcome is unknown."""

    settled: Nanos = Nanos(0)
    unknown: Nanos = Nanos(0)
    reserved: Nanos = Nanos(0)
    usage: Usage = Usage()
    attempts: int = 0
    cache_hits: int = 0
    unpriced: int = 0
    """Attempts at models whose price nobody knows: what they cost stands in none of the sums."""

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            settled=Nanos(self.settled + other.settled),
            unknown=Nanos(self.unknown + other.unknown),
            reserved=Nanos(self.reserved + other.reserved),
            usage=self.usage + other.usage,
            attempts=self.attempts + other.attempts,
            cache_hits=self.cache_hits + other.cache_hits,
            unpriced=self.unpriced + other.unpriced,
        )


class Forecast(Value):
    """What a run would do and cost: the figures that decide about approval."""

    plan_hash: str
    calls: int
    cache_hits: int
    expected: Nanos
    worst: Nanos
    unpriced: tuple[ModelName, ...] = ()
    unbounded: bool = False
    """Some model has no price and is neither on this machine nor on a private network: nobody knows the worst."""
    opens_seal: bool = False
    """It would open a hold-out, which an agent may not do alone."""


class RunKind(StrEnum):
    FANOUT = "fanout"
    JUDGEMENT = "judgement"
    AUDIT = "audit"
    DATASET = "dataset"
    SWEEP = "sweep"


class RunState(StrEnum):
    """Where a run stands; the law of its changes is in `log/lifecycle.py`."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Run(Value):
    """A run's row: what lists show without reading the log."""

    run_id: RunId
    workspace: Workspace
    kind: RunKind
    title: str
    state: RunState
    role: Role
    create_ns: int
    end_ns: int | None = None
    event_count: int = 0
    head_hash: bytes = b""
    totals: Totals = Totals()
    request_id: str = ""


_STEP_BITS: Final = 48
"""Of the step between two ids of one millisecond: as hard to guess as before, and 2^32 of them fit."""
_LAST: Final = [0]
_LAST_LOCK: Final = threading.Lock()


def new_id(prefix: str) -> str:
    """Return `prefix_` and 26 characters: 48 bits of milliseconds, then 80 random bits, in Crockford's base 32.

    Ids of one process sort in the order in which they were made: one of the same millisecond as the last, or of one
    before it because the clock was set back, is the last one and a random step.
    """
    drawn = secrets.randbits(80)
    number = (time.time_ns() // 1_000_000) << 80 | drawn
    with _LAST_LOCK:
        if number <= _LAST[0] or number >> 80 == _LAST[0] >> 80:
            number = _LAST[0] + 1 + (drawn >> 80 - _STEP_BITS)
        _LAST[0] = number
    return prefix + "_" + "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])


def usd(nanos: int) -> str:
    """Return an amount to the last nano, with two digits after the point at least: `$0.00012`."""
    whole, rest = divmod(nanos, NANOS_PER_USD)
    return f"${whole}." + f"{rest:09d}".rstrip("0").ljust(2, "0")


def cost(tokens: int, nanos_per_million: int) -> Nanos:
    """Return the price of `tokens` at `nanos_per_million`, rounded up to a whole nano."""
    return Nanos(-(-tokens * nanos_per_million // 1_000_000))
