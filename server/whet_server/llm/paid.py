"""Which calls of a run that a crash cut off may have been paid: those are not made again.

The ledger's entries tell: an entry's id names its call, and one that names none stands for every open call that could
have asked its model. A call to a model that costs nothing is made again, and so is one whose answer the cache has: both
are free.
"""

from collections import defaultdict
from typing import Final

from whet_server.errors import NotFound, Reason
from whet_server.llm.base import Caller, CallSpec, call_of
from whet_server.store.base import ReservationRecord, Store
from whet_server.values import Billing, CallId, Failure, Nanos, Run, Totals

INTERRUPTED: Final = Failure(
    reason=Reason.INTERRUPTED,
    message="The server stopped while this was under way. What may have been paid is not asked again: ask anew if you "
    "still need it.",
)
_PAGE: Final = 500
"""Ledger entries read at once."""


class Paid:
    """A run's ledger entries under which something may have been sent, by the call they name."""

    def __init__(self, caller: Caller, entries: list[ReservationRecord]) -> None:
        self._caller = caller
        self._of: dict[CallId | None, list[ReservationRecord]] = defaultdict(list)
        for entry in entries:
            self._of[call_of(entry.reservation_id)].append(entry)

    @classmethod
    async def read(cls, store: Store, caller: Caller, run: Run) -> "Paid":
        """Read a run's entries from the ledger."""
        found: list[ReservationRecord] = []
        before: str | None = None
        while True:
            page = await store.reservations(run.workspace, run_id=run.run_id, before=before, limit=_PAGE)
            found += [entry for entry in page if entry.billing is not Billing.NONE]
            if len(page) < _PAGE:
                return cls(caller, found)
            before = page[-1].reservation_id

    def knows(self, call: CallSpec) -> bool:
        """Whether anything may have been sent for this call."""
        return call.call_id in self._of or any(entry.model in call.models for entry in self._of.get(None, ()))

    async def again(self, call: CallSpec) -> bool:
        """Whether making this call again could pay a second time."""
        nameless = [entry for entry in self._of.get(None, ()) if entry.model in call.models]
        try:
            owing = await self._owing(call, [*self._of.get(call.call_id, ()), *nameless])
            return owing and not (await self._caller.estimate(call)).cached
        except NotFound:  # of a model that is gone nobody can say that it was free
            return True

    async def owes(self, call: CallSpec, call_id: CallId) -> bool:
        """Whether something may be owed under this id, for a call to the models of `call`."""
        try:
            return await self._owing(call, self._of.get(call_id, []))
        except NotFound:
            return True

    def totals(self, call_id: CallId) -> Totals:
        """Return what the ledger knows of a call that nobody finished."""
        whole = Totals()
        for entry in self._of.get(call_id, ()):
            settled = entry.billing is Billing.SETTLED
            whole += Totals(
                settled=entry.settled if settled else Nanos(0),
                unknown=Nanos(0) if settled else entry.reserved,
                usage=entry.usage,
                attempts=1,
            )
        return whole

    async def _owing(self, call: CallSpec, entries: list[ReservationRecord]) -> bool:
        for entry in entries:
            if not await self._is_free(call, entry):
                return True
        return False

    async def _is_free(self, call: CallSpec, entry: ReservationRecord) -> bool:
        """Whether the model of an entry costs nothing. One without a price may cost something."""
        if entry.reserved or entry.settled:
            return False
        info = await self._caller.resolve(call.workspace, entry.model)
        return info.price is not None and not info.price.input and not info.price.output
