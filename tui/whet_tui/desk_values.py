"""What the places other than the chat draw: plain values, fetched by a desk.

Amounts of money are nanos of a US dollar, times are nanoseconds since the epoch; 0 where nothing has happened yet.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from whet_tui.entries import Fanout, FanoutState, Money

Grouping: TypeAlias = Literal["model", "run", "day"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A fan-out as lists show it."""

    run_id: str
    title: str
    state: FanoutState
    created_ns: int = 0
    ended_ns: int = 0
    money: Money = field(default_factory=Money)


@dataclass(slots=True, kw_only=True)
class Following:
    """A run that is followed: how it stands, and from where to go on after a pause. It grows while it is followed."""

    run_id: str
    fanout: Fanout
    cursor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that can be asked. Prices are for a million tokens, None where nobody knows them."""

    name: str
    input_price: int | None = None
    output_price: int | None = None
    price_source: str = ""
    simulated: bool = False
    in_panel: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint as it is configured and as it stands. A limit of 0 is none."""

    name: str
    kind: str
    url: str = ""
    has_key: bool = False
    source: str = ""
    circuit: str = "closed"
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    max_concurrency: int = 0
    concurrency: int = 0
    """Calls at once that it is allowed right now."""
    in_flight: int = 0
    last_success_ns: int = 0
    failure: str = ""
    """Why its last call failed, when it did."""
    models: tuple[Model, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How the test of an endpoint went."""

    ok: bool
    latency_ns: int
    failure: str = ""
    models: int = 0
    """How many models it names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """A limit of the workspace's spending, and what counts against it."""

    period: str
    limit: int
    money: Money

    @property
    def left(self) -> int:
        """What may still be spent; unknown and reserved money counts in full."""
        return max(0, self.limit - self.money.settled - self.money.unknown - self.money.reserved)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageLine:
    """What one model, run or day came to."""

    key: str
    money: Money
    title: str = ""
    """Of a run."""
    input_tokens: int = 0
    output_tokens: int = 0
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """The workspace's money."""

    caps: tuple[Cap, ...] = ()
    approval_threshold: int = 0
    total: UsageLine
    lines: tuple[UsageLine, ...] = ()
    """Most money first; by day, newest first."""
    days: tuple[UsageLine, ...] = ()
    """Each day on which something was asked, oldest first."""
