"""Balances in memory: what counts against a run and against a workspace's periods."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from whet_server.store.base import ReservationRecord
from whet_server.values import Billing, Nanos

NEXT: Final[Mapping[Billing, frozenset[Billing]]] = {
    Billing.RESERVED: frozenset({Billing.SETTLED, Billing.NONE, Billing.UNKNOWN}),
    Billing.UNKNOWN: frozenset({Billing.SETTLED, Billing.NONE}),
    Billing.SETTLED: frozenset(),
    Billing.NONE: frozenset(),
}
"""The life of an entry. It ends settled, or with nothing to pay; UNKNOWN waits for a bill and holds its money."""


class Period(StrEnum):
    """Over which time a cap counts."""

    DAY = "day"
    MONTH = "month"

    def start(self, time_ns: int) -> int:
        """Return the beginning of the period, in UTC, that contains the time."""
        moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
        first = moment.replace(hour=0, minute=0, second=0)
        return int((first if self is Period.DAY else first.replace(day=1)).timestamp()) * 1_000_000_000


class Balance:
    """Money, or tokens, in its three states."""

    __slots__ = ("reserved", "settled", "unknown")

    def __init__(self) -> None:
        self.settled = 0
        self.unknown = 0
        self.reserved = 0

    @property
    def total(self) -> int:
        """What counts against a cap."""
        return self.settled + self.unknown + self.reserved

    def add(self, billing: Billing, amount: int) -> None:
        if billing is Billing.RESERVED:
            self.reserved += amount
        elif billing is Billing.SETTLED:
            self.settled += amount
        elif billing is Billing.UNKNOWN:
            self.unknown += amount


class RunBook:
    """What counts against a run."""

    __slots__ = ("money", "tokens")

    def __init__(self) -> None:
        self.money = Balance()
        self.tokens = Balance()

    def count(self, entry: ReservationRecord, sign: int = 1) -> None:
        """Count the entry, or with sign -1 take it out."""
        self.money.add(entry.billing, sign * money_of(entry))
        self.tokens.add(entry.billing, sign * tokens_of(entry))


class Window:
    """A workspace's balance in the current period."""

    __slots__ = ("balance", "end_ns", "period", "start_ns")

    def __init__(self, period: Period, now_ns: int) -> None:
        self.period = period
        self.balance = Balance()
        self.start_ns = period.start(now_ns)
        self.end_ns = self._end()

    def at(self, now_ns: int) -> Balance:
        """Return the balance of the period that `now_ns` is in, or of a later one that has been seen. A new period
        begins at nothing.
        """
        if now_ns >= self.end_ns:
            self.balance = Balance()
            self.start_ns = self.period.start(now_ns)
            self.end_ns = self._end()
        return self.balance

    def _end(self) -> int:
        # A month has begun 32 days after the last one did, and a day after one day.
        days = 1 if self.period is Period.DAY else 32
        return self.period.start(self.start_ns + days * 86_400 * 1_000_000_000)


class Book:
    """A workspace's caps, and what counts against them."""

    def __init__(self, now_ns: int) -> None:
        self.windows: Final = {period: Window(period, now_ns) for period in Period}
        self.limits: Final[dict[Period, Nanos]] = {}

    def count(self, entry: ReservationRecord, sign: int = 1) -> None:
        """Count the entry, or with sign -1 take it out, where its period is the current one."""
        for window in self.windows.values():
            balance = window.at(entry.create_ns)
            if entry.create_ns >= window.start_ns:
                balance.add(entry.billing, sign * money_of(entry))


def money_of(entry: ReservationRecord) -> int:
    """Return what the entry counts with."""
    return entry.settled if entry.billing is Billing.SETTLED else entry.reserved


def tokens_of(entry: ReservationRecord) -> int:
    """Return the tokens that the entry counts with."""
    usage = entry.usage
    return usage.input_tokens + usage.output_tokens if entry.billing is Billing.SETTLED else entry.reserved_tokens
