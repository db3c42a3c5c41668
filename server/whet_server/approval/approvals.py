"""Approvals: an agent's call that spends much or changes something waits here until a person decides.

A grant holds for one digest (method and arguments without the request id) and for one call: the request id that uses
it may repeat, no other may.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Final

from whet_server.store.base import ApprovalRecord, Store
from whet_server.values import Nanos, Workspace

LIFETIME: Final = timedelta(hours=24)
"""A question nobody answered for a day is asked again: prices and intentions change."""


class ApprovalState(StrEnum):
    PENDING = "pending"
    GRANTED = "granted"
    REJECTED = "rejected"
    USED = "used"
    EXPIRED = "expired"


class Approvals:
    """The approvals of every workspace."""

    def __init__(self, store: Store, *, clock: Callable[[], int]) -> None:
        raise NotImplementedError

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
        digest raises `ApprovalNotOpen` with state `rejected` once to the request id that asked, and a later request
        id opens a new approval.
        """
        raise NotImplementedError

    async def decide(
        self, workspace: Workspace, approval_id: str, *, grant: bool, digest: str, reason: str
    ) -> ApprovalRecord:
        """Decide. Raises `ApprovalNotOpen` when it is expired, unknown, decided the other way, or the digest is
        another.
        """
        raise NotImplementedError

    async def get(self, workspace: Workspace, approval_id: str) -> ApprovalRecord:
        raise NotImplementedError

    async def list(
        self, workspace: Workspace, *, state: ApprovalState | None = None, before: str | None = None, limit: int = 50
    ) -> Sequence[ApprovalRecord]:
        raise NotImplementedError
