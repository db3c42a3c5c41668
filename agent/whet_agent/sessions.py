"""The sessions of a folder: listed from their tallies, renamed, put in the trash and taken out again.

Nothing here opens a conversation. Whatever changes a session's folder holds its lease meanwhile, so that nobody loses
the ground under an open one.
"""

import os
import re
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from whet_agent.events import Renamed
from whet_agent.journal import JOURNAL
from whet_agent.lease import Lease, LeaseTaken, holder_of
from whet_agent.record import Record
from whet_agent.tally import SUMMARY, Tally, read_tally, title_of, write_tally

CHECKPOINTS: Final = "checkpoints.sqlite"
LEASE: Final = "lease"
TRASH: Final = ".trash"

TRASH_DAYS: Final = 30
"""How long a deleted session can be had back."""

_DAY_SECONDS: Final = 86_400
_SESSION_ID: Final = re.compile(r"ses_[a-z0-9]{1,60}")


class SessionError(Exception):
    """The session cannot be opened, or not do what is asked. `str()` says why and what to do."""


class SessionInUse(SessionError):
    """Another process continues this conversation."""


class SessionNotFound(SessionError):
    """There is no session of that id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSummary:
    """A session as lists show it. Times are in seconds since the epoch, money is in nanos of a US dollar."""

    session_id: str
    title: str
    """What the person called it, else the first thing that was said."""
    last_used: float
    turns: int
    created: float = 0.0
    settled: int = 0
    unknown: int = 0
    approvals: int = 0
    """Questions that wait for a person."""
    runs: tuple[str, ...] = ()
    """Runs whose end this session has not heard: they may be under way at the server."""
    holder: int = 0
    """The process that has it open, this one perhaps; 0 when none has."""
    crashed: bool = False
    """Nobody has it open, and whoever had it last did not close it."""


def list_sessions(folder: Path) -> Sequence[SessionSummary]:
    """Return the sessions of a folder, the one used last first. One in which nothing was said is left out."""
    found = [_summary(path.parent) for path in folder.glob(f"ses_*/{JOURNAL}")]
    return sorted((each for each in found if each.turns), key=lambda summary: summary.last_used, reverse=True)


def rename_session(folder: Path, session_id: str, title: str) -> None:
    """Give a session that is not open another title. Raises `SessionError`."""
    short = good_title(title)
    with held(folder, session_id) as home, closing(Record(home)) as record:
        record.tell(Renamed(title=short))


def delete_session(folder: Path, session_id: str) -> None:
    """Put a session in the trash. Raises `SessionError`; `SessionInUse` while somebody has it open."""
    with held(folder, session_id) as home:
        trash = folder / TRASH
        trash.mkdir(mode=0o700, exist_ok=True)
        os.utime(home)  # its time in the trash begins now
        home.rename(trash / session_id)


def restore_session(folder: Path, session_id: str) -> None:
    """Take a session out of the trash. Raises `SessionNotFound` when it is not in there any more."""
    home = folder / TRASH / session_id
    if not _SESSION_ID.fullmatch(session_id) or not home.is_dir():
        raise SessionNotFound(f"There is no session {session_id!r} in the trash.")
    home.rename(folder / session_id)


def empty_trash(folder: Path, *, days: float = TRASH_DAYS) -> None:
    """Remove for good what was put in the trash longer ago than this, its checkpoints too."""
    old = time.time() - days * _DAY_SECONDS
    gone = [home for home in (folder / TRASH).glob("*") if home.stat().st_mtime < old]
    if gone and (folder / CHECKPOINTS).exists():
        _forget(folder / CHECKPOINTS, [home.name for home in gone])
    for home in gone:
        shutil.rmtree(home)


def good_title(title: str) -> str:
    """Return a title as it is kept. Raises `SessionError` for an empty one."""
    if not (short := title_of(title)):
        raise SessionError("A title needs at least one word.")
    return short


def new_session_id() -> str:
    return f"ses_{time.time_ns() // 1_000_000:x}{secrets.token_hex(4)}"


def home_of(folder: Path, session_id: str) -> Path:
    """Return where a session lies. Raises `SessionNotFound`."""
    if not (_SESSION_ID.fullmatch(session_id) and (folder / session_id).is_dir()):
        raise SessionNotFound(
            f"There is no session {session_id!r} in {folder}. Start a new one, or pick one that is listed."
        )
    return folder / session_id


def take_lease(home: Path) -> Lease:
    """Raises `SessionInUse`."""
    try:
        return Lease.take(home / LEASE)
    except LeaseTaken as taken:
        raise SessionInUse(f"Session {home.name} is open in {taken}. Close it there, or start a new one.") from None


@contextmanager
def held(folder: Path, session_id: str) -> Iterator[Path]:
    """Hold a session's lease for a moment. Raises `SessionError`."""
    home = home_of(folder, session_id)
    lease = take_lease(home)
    try:
        yield home
    finally:
        lease.release()


def _summary(home: Path) -> SessionSummary:
    kept = (home / SUMMARY).exists()
    tally = read_tally(home)
    holder = holder_of(home / LEASE)
    if not holder and not kept:
        write_tally(home, tally)
    return SessionSummary(
        session_id=home.name,
        title=tally.title,
        last_used=_seconds(tally.used_ns),
        turns=len(tally.turns),
        created=_seconds(tally.created_ns),
        settled=tally.settled,
        unknown=tally.unknown,
        approvals=len(tally.approvals),
        runs=tuple(tally.runs.running),
        holder=holder,
        crashed=_has_crashed(tally, holder),
    )


def _has_crashed(tally: Tally, holder: int) -> bool:
    return not tally.closed and not holder


def _seconds(nanoseconds: int) -> float:
    return nanoseconds / 1_000_000_000


def _forget(checkpoints: Path, session_ids: Sequence[str]) -> None:
    """Remove the checkpoints of sessions, those before they were gone back in included."""
    with closing(sqlite3.connect(checkpoints)) as database, database:
        for table in ("writes", "checkpoints"):
            for session_id in session_ids:
                database.execute(
                    f"DELETE FROM {table} WHERE thread_id = ? OR thread_id GLOB ?",  # noqa: S608 -- our own two names
                    (session_id, f"{session_id}/*"),
                )
