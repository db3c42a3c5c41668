"""The ledger: no call without a reservation, no interleaving that crosses a cap.

Balances live in memory, because one process owns the data directory and its event loop runs one thing at a time:
`reserve` checks every cap and takes the money in one step without an await, then makes the entry durable, and only
then may the caller send. A reservation ends once: settled with what was used, released when nothing was sent, or
unknown, which keeps the money until somebody learns the bill. After a crash every entry still RESERVED is UNKNOWN.
Days and months are UTC's; an entry counts in the period in which it was reserved.
"""

from collections.abc import Callable, Sequence

from whet_server.store.base import ReservationRecord, Store, Write
from whet_server.values import ModelName, Nanos, Totals, Usage, Value, Workspace


class Price(Value):
    """Nanos of a US dollar for a million tokens. `source` says where it is from: `endpoint`, `genai-prices`, `local`,
    `sim`.
    """

    input: int
    output: int
    source: str = ""


class CapStatus(Value):
    """A cap and what counts against it in the current period."""

    period: str
    limit: Nanos
    settled: Nanos
    unknown: Nanos
    reserved: Nanos


class Ledger:
    """The money of every workspace."""

    @classmethod
    async def open(cls, store: Store, *, clock: Callable[[], int]) -> "Ledger":
        """Load balances and caps; turn what a crash left RESERVED into UNKNOWN."""
        raise NotImplementedError

    async def reserve(
        self,
        workspace: Workspace,
        *,
        run_id: str,
        model: ModelName,
        price: Price | None,
        max_input_tokens: int,
        max_output_tokens: int,
        run_cap: Nanos | None = None,
        ttl_seconds: float | None = None,
        reservation_id: str = "",
        also: Sequence[Write] = (),
    ) -> ReservationRecord:
        """Reserve the worst case against the run's cap and the workspace's caps; durable when it returns.

        Raises `CapExceeded` (nothing was taken) or `PriceUnknown` (no price and a money cap applies). Without a price
        and without a cap the entry carries tokens and no money. With `ttl_seconds` an entry that nobody settles in
        time becomes UNKNOWN by itself.
        """
        raise NotImplementedError

    async def settle(self, workspace: Workspace, reservation_id: str, usage: Usage) -> ReservationRecord:
        """Settle with what was used. Also for an UNKNOWN entry whose bill became known; again with the same usage
        changes nothing, with other usage raises `WrongState`. A bill above the reservation is recorded as it is.
        Raises `ReservationNotFound`.
        """
        raise NotImplementedError

    async def release(self, workspace: Workspace, reservation_id: str) -> ReservationRecord:
        """Nothing was sent, or the provider bills nothing: give the money back (billing NONE)."""
        raise NotImplementedError

    async def unknown(self, workspace: Workspace, reservation_id: str, usage: Usage = Usage()) -> ReservationRecord:
        """The outcome is not known: the worst case stays reserved. `usage` is what was seen of it, as an estimate."""
        raise NotImplementedError

    def run_totals(self, run_id: str) -> Totals:
        """Return the money of a run so far (usage and counts are not filled in)."""
        raise NotImplementedError

    def has_cap(self, workspace: Workspace) -> bool:
        """Whether any money cap of the workspace applies."""
        raise NotImplementedError

    async def put_cap(
        self, workspace: Workspace, period: str, limit: Nanos, *, also: Sequence[Write] = ()
    ) -> CapStatus:
        raise NotImplementedError

    async def delete_cap(self, workspace: Workspace, period: str, *, also: Sequence[Write] = ()) -> None:
        """Raises `CapNotFound`."""
        raise NotImplementedError

    def caps(self, workspace: Workspace) -> Sequence[CapStatus]:
        raise NotImplementedError

    async def close(self) -> None:
        """Stop the clockwork that expires reservations."""
