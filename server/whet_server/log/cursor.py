"""Cursors: where in a run a watcher stands, as a string that only this server reads."""

import hashlib
from typing import Final

from whet_server.errors import CursorInvalid
from whet_server.values import RunId

BEGINNING: Final = ""
NOW: Final = "now"


def cursor_at(run_id: RunId, sequence: int) -> str:
    """Return the cursor of a watcher that has everything up to and including `sequence`."""
    return f"{sequence:x}.{_mark(run_id)}"


def read_cursor(run_id: RunId, cursor: str, newest: int) -> int:
    """Return the sequence after which to go on. Raises `CursorInvalid` for what this run has never given out."""
    if cursor == BEGINNING:
        return 0
    if cursor == NOW:
        return newest
    try:
        sequence = int(cursor.partition(".")[0], 16)
    except ValueError:
        sequence = -1
    if not 0 <= sequence <= newest or cursor_at(run_id, sequence) != cursor:
        raise CursorInvalid(
            f"the cursor is not one of {run_id}: attach with an empty cursor to begin at the first event",
            metadata={"run_id": run_id, "cursor": cursor},
        )
    return sequence


def _mark(run_id: RunId) -> str:
    return hashlib.sha256(b"cursor " + run_id.encode()).hexdigest()[:12]
