"""The record of what a session's listeners heard, as JSON lines.

What is live is not written. Lines are written in batches of a few milliseconds; what a person said or decided is on
the disk before anything is done about it. A last line torn by a crash is cut off: nobody had been told of it as
durable.
"""

import asyncio
import base64
import dataclasses
import json
import os
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

from whet.v1 import event_pb2
from whet_agent.events import (
    ApprovalDecided,
    Compacted,
    Envelope,
    Expanded,
    Happening,
    ModeChanged,
    Renamed,
    Rewound,
    Steered,
    UserSaid,
    Withdrawn,
)

BATCH_SECONDS: Final = 0.05
"""A crash may cost the screen what was drawn in this time; the conversation itself is in the checkpoints."""

TITLE_CHARACTERS: Final = 80
"""A title fits a line of a list."""

_KINDS: Final[dict[str, type[Any]]] = {kind.__name__: kind for kind in get_args(Happening)}
_SYNCED: Final = (
    UserSaid,
    Steered,
    Withdrawn,
    ApprovalDecided,
    ModeChanged,
    Compacted,
    Expanded,
    Rewound,
    Renamed,
)
"""What a person said, decided or arranged."""


def encode(envelope: Envelope) -> bytes:
    """Return the envelope as one line. The kind comes first, so that a reader who wants few kinds can skip the rest
    unread.
    """
    happening = envelope.happening
    values = {f.name: _to_json(getattr(happening, f.name)) for f in dataclasses.fields(happening)}
    line = {"h": type(happening).__name__, "q": envelope.sequence, "t": envelope.time_ns, "d": values}
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Envelope | None:
    """Return the envelope of a line, or None for a kind that this version does not know. Raises `ValueError` when it
    is torn.
    """
    parsed = json.loads(line)
    kind = _KINDS.get(parsed["h"])
    if kind is None:
        return None
    known = {f.name: parsed["d"][f.name] for f in dataclasses.fields(kind) if f.name in parsed["d"]}
    values = {name: _from_json(kind, name, value) for name, value in known.items()}
    return Envelope(sequence=parsed["q"], time_ns=parsed["t"], happening=kind(**values))


def _to_json(value: object) -> object:
    if isinstance(value, event_pb2.Event):
        return base64.b64encode(value.SerializeToString()).decode()
    return value


def _from_json(kind: type[Any], name: str, value: Any) -> object:
    if typing.get_type_hints(kind)[name] is event_pb2.Event:
        return event_pb2.Event.FromString(base64.b64decode(value))
    return tuple(value) if isinstance(value, list) else value


class Journal:
    """An append-only file. One process writes it; the lease says which."""

    def __init__(self, path: Path) -> None:
        """Open the file and cut off a torn last line."""
        self._path = path
        whole, self.last_sequence = _scan(path)
        self._file = path.open("ab")
        self._file.truncate(whole)
        self._pending: list[bytes] = []
        self._flusher: asyncio.TimerHandle | None = None

    def append(self, envelope: Envelope) -> None:
        """Take the next envelope. What a person said or decided is on the disk when this returns."""
        self._pending.append(encode(envelope))
        self.last_sequence = envelope.sequence
        if isinstance(envelope.happening, _SYNCED):
            self.flush()
            os.fsync(self._file.fileno())
        elif self._flusher is None:
            self._flusher = asyncio.get_running_loop().call_later(BATCH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what was taken."""
        if self._flusher is not None:
            self._flusher.cancel()
            self._flusher = None
        if self._pending:
            self._file.write(b"".join(self._pending))
            self._file.flush()
            self._pending.clear()

    def read(self, since: int = 0) -> Iterator[Envelope]:
        """Read what is journalled after `since`, in order."""
        self.flush()
        with self._path.open("rb") as lines:
            for line in lines:
                envelope = decode(line)
                if envelope is not None and envelope.sequence > since:
                    yield envelope

    def close(self) -> None:
        self.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def _scan(path: Path) -> tuple[int, int]:
    """Return the file's length up to the last line that is whole, and that line's sequence."""
    whole = last = 0
    if path.exists():
        with path.open("rb") as lines:
            for line in lines:
                try:
                    sequence = json.loads(line)["q"]
                except (ValueError, KeyError, TypeError):
                    break
                if not line.endswith(b"\n"):
                    break
                whole, last = whole + len(line), sequence
    return whole, last


def title_of(path: Path) -> tuple[str, int]:
    """Return the first words that the person said and how many turns there were, without reading the rest."""
    title, turns = "", 0
    with path.open("rb") as lines:
        for line in lines:
            if line.startswith(b'{"h":"UserSaid"') and line.endswith(b"\n"):
                said = json.loads(line)["d"]
                title = title or " ".join(said["text"].split())[:TITLE_CHARACTERS]
                turns += 1
    return title, turns
