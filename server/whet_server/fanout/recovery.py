"""What becomes of the branches that a crash left open: what may have been paid is not paid again.

The ledger's entries of a run tell which calls may have left: an entry's id names its call, and one that names none
stands for every open branch that could have asked its model. A branch of a model that costs nothing is asked again, and
so is one whose answer the cache has: both are free. What the first asking has cost is added to what the second says.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from whet_server.errors import NotFound, Reason
from whet_server.fanout.plan import branch_calls, draft_id
from whet_server.fanout.spec import FanoutSpec
from whet_server.fanout.view import History
from whet_server.llm.base import Caller, CallSpec, call_of
from whet_server.log.events import BranchFinished, DraftEnded
from whet_server.log.lifecycle import BranchState
from whet_server.store.base import ReservationRecord, Store
from whet_server.values import Billing, BranchId, Failure, Nanos, Run, Totals

INTERRUPTED: Final = Failure(
    reason=Reason.INTERRUPTED,
    message="The server stopped while this was under way. What may have been paid is not asked again: ask anew if you "
    "still need it.",
)
_PAGE: Final = 500
"""Ledger entries read at once."""


async def interrupted(
    store: Store, caller: Caller, run: Run, spec: FanoutSpec, history: History
) -> tuple[list[BranchFinished], list[DraftEnded], Mapping[BranchId, Totals]]:
    """Return the ends of the branches that are not asked again and of the draft that was being written, and what was
    spent on branches that are asked again.
    """
    entries = await _entries(store, run)
    branches = []
    spent = {}
    for plan, call in zip(
        history.opened.branches,
        branch_calls(run.workspace, run.run_id, spec, history.opened.branches),
        strict=True,
    ):
        if plan.branch_id in history.finished:
            continue
        totals = _totals(call.call_id, entries)
        if await _may_be_paid(caller, call, entries):
            branches.append(
                BranchFinished(
                    branch_id=plan.branch_id,
                    state=BranchState.FAILED,
                    model=plan.model,
                    failure=INTERRUPTED,
                    totals=totals,
                    simulated=plan.simulated,
                )
            )
        else:
            spent[plan.branch_id] = totals
    drafts = [
        DraftEnded(
            revision=revision,
            state=BranchState.FAILED,
            model=started.model,
            failure=INTERRUPTED,
            totals=_totals(draft_id(run.run_id, revision), entries),
        )
        for revision, started in history.started.items()
        if revision not in history.ended
    ]
    return branches, drafts, spent


async def _entries(store: Store, run: Run) -> list[ReservationRecord]:
    """Return the ledger's entries of a run under which something may have been sent."""
    found: list[ReservationRecord] = []
    before: str | None = None
    while True:
        page = await store.reservations(run.workspace, run_id=run.run_id, before=before, limit=_PAGE)
        found += [entry for entry in page if entry.billing is not Billing.NONE]
        if len(page) < _PAGE:
            return found
        before = page[-1].reservation_id


async def _may_be_paid(caller: Caller, call: CallSpec, entries: Sequence[ReservationRecord]) -> bool:
    """Whether asking again could pay a second time."""
    sent = [e for e in entries if call_of(e.reservation_id) == call.call_id or _could_be(call, e)]
    try:
        owing = [entry for entry in sent if not await _is_free(caller, call, entry)]
        return bool(owing) and not (await caller.estimate(call)).cached
    except NotFound:  # of a model that is gone nobody can say that it was free
        return True


def _could_be(call: CallSpec, entry: ReservationRecord) -> bool:
    return call_of(entry.reservation_id) is None and entry.model in call.models


async def _is_free(caller: Caller, call: CallSpec, entry: ReservationRecord) -> bool:
    """Whether the model of an entry costs nothing. One without a price may cost something."""
    if entry.reserved or entry.settled:
        return False
    info = await caller.resolve(call.workspace, entry.model)
    return info.price is not None and not info.price.input and not info.price.output


def _totals(call_id: str, entries: Sequence[ReservationRecord]) -> Totals:
    """Return what the ledger knows of a call that nobody finished."""
    whole = Totals()
    for entry in entries:
        if call_of(entry.reservation_id) == call_id:
            settled = entry.billing is Billing.SETTLED
            whole += Totals(
                settled=entry.settled if settled else Nanos(0),
                unknown=Nanos(0) if settled else entry.reserved,
                usage=entry.usage,
                attempts=1,
            )
    return whole
