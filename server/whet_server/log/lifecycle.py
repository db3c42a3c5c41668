"""The lives of a run and of its branches, as tables. Everything else asks these.

A draft of the synthesis lives as a branch does.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from whet_server.values import RunState


class BranchState(StrEnum):
    """Where a branch or a draft stands; the wire's enum of the same name says what each means."""

    WAITING = "waiting"
    LOADING = "loading"
    ASKED = "asked"
    STREAMING = "streaming"
    DONE = "done"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED: Final = frozenset({BranchState.DONE, BranchState.PARTIAL, BranchState.FAILED, BranchState.CANCELLED})

NEXT: Final[Mapping[BranchState, frozenset[BranchState]]] = {
    BranchState.WAITING: frozenset(
        {BranchState.LOADING, BranchState.ASKED, BranchState.DONE, BranchState.FAILED, BranchState.CANCELLED}
    ),
    BranchState.LOADING: frozenset({BranchState.WAITING, BranchState.ASKED, BranchState.FAILED, BranchState.CANCELLED}),
    BranchState.ASKED: frozenset(
        {BranchState.STREAMING, BranchState.WAITING, BranchState.DONE, BranchState.FAILED, BranchState.CANCELLED}
    ),
    BranchState.STREAMING: frozenset({BranchState.DONE, BranchState.PARTIAL}),
    **{ended: frozenset() for ended in ENDED},
}
"""A branch waits, is asked, streams and ends. A failed attempt without text sends it back to waiting; text that has
come can only become an answer (DONE) or half of one (PARTIAL). An answer from the cache goes from WAITING to DONE."""

RUN_ENDED: Final = frozenset(RunState) - {RunState.RUNNING}
"""A run is RUNNING from the moment it is accepted and ends once."""
