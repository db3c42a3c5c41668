"""Approvals: an agent's call that spends much or changes something waits here until a person decides.

A grant holds for one digest (method and arguments without the request id) and for one call: the request id that uses
it may repeat, no other may.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec.structs import replace

from whet_server.errors import ApprovalNotOpen, ApprovalRequired
from whet_server.store.base import ApprovalRecord, Store
from whet_server.values import Nanos, Workspace, new_id

LIFETIME: Final = timedelta(hours=24)
"""A question nobody answered for a day is asked again: prices and intentions change."""
PAGE: Final = 100
"""Approvals read from the store at a time: more than a person leaves open."""


class ApprovalState(StrEnum):
    PENDING = "pending"
    GRANTED = "granted"
    REJECTED = "rejected"
    USED = "used"
    EXPIRED = "expired"


NEXT: Final[Mapping[ApprovalState, frozenset[ApprovalState]]] = {
    ApprovalState.PENDING: frozenset({ApprovalState.GRANTED, ApprovalState.REJECTED, ApprovalState.EXPIRED}),
    ApprovalState.GRANTED: frozenset({ApprovalState.USED, ApprovalState.EXPIRED}),
    ApprovalState.REJECTED: frozenset(),
    ApprovalState.USED: frozenset(),
    ApprovalState.EXPIRED: frozenset(),
}
"""An approval is asked for, decided once and, if granted, used once; what stays open too long expires."""
_GRANTED: Final = frozenset({ApprovalState.GRANTED, ApprovalState.USED})


class Approvals:
    """The approvals of every workspace. One question is handled at a time: people are slower than the store."""

    def __init__(self, store: Store, *, clock: Callable[[], int]) -> None:
        """`clock` returns Unix nanoseconds."""
        self._store = store
        self._clock = clock
        self._turn = asyncio.Lock()

    async def use(
        self,
        workspace: Workspace,
        *,
        method: str,
        summary: str,
        effect: str,
        arguments_json: str,
        digest: str,
        worst_cost: Nanos,
        request_id: str,
    ) -> None:
        """Use up the grant for this digest and return; or raise `ApprovalRequired` with the pending approval (opened
        if there is none) in its metadata (approval_id, digest, worst_cost_nanos, expires_at as RFC 3339). A rejected
        digest raises `ApprovalNotOpen` with state `rejected` to the request id that asked, and a later request id
        opens a new approval. An empty request id never repeats.
        """
        async with self._turn:
            open_one: ApprovalRecord | None = None
            async for known in self._of_digest(workspace, digest):
                if request_id and request_id == known.used_by:
                    return
                if request_id and request_id == known.asked_by and known.state == ApprovalState.REJECTED:
                    raise _not_open(known, f"a person rejected this call: {known.reason or 'no reason was given'}")
                if open_one is None or known.state == ApprovalState.GRANTED:
                    open_one = known if ApprovalState.EXPIRED in NEXT[ApprovalState(known.state)] else open_one
            if open_one is not None and open_one.state == ApprovalState.GRANTED:
                await self._store.commit(replace(open_one, state=ApprovalState.USED.value, used_by=request_id))
                return
            if open_one is None:
                now = self._clock()
                open_one = ApprovalRecord(
                    approval_id=new_id("apr"),
                    workspace=workspace,
                    state=ApprovalState.PENDING.value,
                    method=method,
                    summary=summary,
                    effect=effect,
                    arguments_json=arguments_json,
                    digest=digest,
                    worst_cost=worst_cost,
                    create_ns=now,
                    expire_ns=now + LIFETIME // timedelta(microseconds=1) * 1000,
                    asked_by=request_id,
                )
                await self._store.commit(open_one)
        raise ApprovalRequired(
            f"a person must approve this first: {open_one.summary}",
            metadata={
                "approval_id": open_one.approval_id,
                "digest": open_one.digest,
                "worst_cost_nanos": str(open_one.worst_cost),
                "expires_at": _rfc3339(open_one.expire_ns),
            },
        )

    async def decide(
        self, workspace: Workspace, approval_id: str, *, grant: bool, digest: str, reason: str
    ) -> ApprovalRecord:
        """Decide. Raises `ApprovalNotOpen` when it is expired, unknown, decided the other way, or the digest is
        another. Deciding again the same way changes nothing.
        """
        wanted = ApprovalState.GRANTED if grant else ApprovalState.REJECTED
        async with self._turn:
            known = await self._known(workspace, approval_id)
            if known.digest != digest:
                raise _not_open(known, "the arguments are not the ones that were shown: read the approval again")
            state = ApprovalState(known.state)
            if state is wanted or (grant and state in _GRANTED):
                return known
            if wanted not in NEXT[state]:
                raise _not_open(known, f"the approval is {state} and cannot be decided any more")
            decided = replace(known, state=wanted.value, decide_ns=self._clock(), reason=reason)
            await self._store.commit(decided)
            return decided

    async def get(self, workspace: Workspace, approval_id: str) -> ApprovalRecord:
        """Return the approval. Raises `ApprovalNotOpen` when this workspace has none of this id."""
        async with self._turn:
            return await self._known(workspace, approval_id)

    async def list(
        self, workspace: Workspace, *, state: ApprovalState | None = None, before: str | None = None, limit: int = 50
    ) -> Sequence[ApprovalRecord]:
        """Return approvals newest first, those before `before` only."""
        async with self._turn:
            for open_state in (ApprovalState.PENDING, ApprovalState.GRANTED):
                await self._expire(workspace, open_state)
            return await self._store.approvals(workspace, state=state, before=before, limit=limit)

    async def _expire(self, workspace: Workspace, state: ApprovalState) -> None:
        before = None
        while page := await self._store.approvals(workspace, state=state.value, before=before, limit=PAGE):
            for approval in page:
                await self._fresh(approval)
            before = page[-1].approval_id

    async def _known(self, workspace: Workspace, approval_id: str) -> ApprovalRecord:
        known = await self._store.approval(workspace, approval_id)
        if known is None:
            raise ApprovalNotOpen(
                f"there is no approval {approval_id} in this workspace", metadata={"approval_id": approval_id}
            )
        return await self._fresh(known)

    async def _of_digest(self, workspace: Workspace, digest: str) -> AsyncIterator[ApprovalRecord]:
        before = None
        while page := await self._store.approvals(workspace, digest=digest, before=before, limit=PAGE):
            for approval in page:
                yield await self._fresh(approval)
            before = page[-1].approval_id

    async def _fresh(self, approval: ApprovalRecord) -> ApprovalRecord:
        """Return the approval as it stands now: what was open for too long has expired."""
        if ApprovalState.EXPIRED not in NEXT[ApprovalState(approval.state)] or self._clock() < approval.expire_ns:
            return approval
        expired = replace(approval, state=ApprovalState.EXPIRED.value)
        await self._store.commit(expired)
        return expired


def _not_open(approval: ApprovalRecord, message: str) -> ApprovalNotOpen:
    return ApprovalNotOpen(message, metadata={"approval_id": approval.approval_id, "state": approval.state})


def _rfc3339(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
