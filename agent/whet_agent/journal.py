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
    RunHeard,
    Steered,
    UserSaid,
    Withdrawn,
)

JOURNAL: Final = "journal.jsonl"

BATCH_SECONDS: Final = 0.05
"""A crash may cost the screen what was drawn in this time; the conversation itself is in the checkpoints."""

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
    return _envelope(json.loads(line))


def _envelope(parsed: dict[str, Any]) -> Envelope | None:
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
    if kind is RunHeard and name == "event":
        return event_pb2.Event.FromString(base64.b64decode(value))
    return tuple(value) if isinstance(value, list) else value


class Journal:
    """An append-only file. One process writes it; the lease says which."""

    def __init__(self, path: Path, *, end: int = 0, last_sequence: int = 0) -> None:
        """Open the file and cut off a torn last line. It is known to be whole up to `end`."""
        self._path = path
        self.end, self.last_sequence = end, last_sequence
        for _, self.end, self.last_sequence, _ in whole_lines(path, end):
            pass
        self._file = path.open("ab")
        self._file.truncate(self.end)
        self._pending: list[bytes] = []
        self._flusher: asyncio.TimerHandle | None = None

    def append(self, envelope: Envelope) -> None:
        """Take the next envelope. What a person said or decided is on the disk when this returns."""
        line = encode(envelope)
        self._pending.append(line)
        self.end += len(line)
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

    def read(self, since: int = 0, *, offset: int = 0) -> Iterator[Envelope]:
        """Read what is journalled after `since`, in order, beginning at the line at `offset`."""
        self.flush()
        with self._path.open("rb") as lines:
            lines.seek(offset)
            for line in lines:
                envelope = decode(line)
                if envelope is not None and envelope.sequence > since:
                    yield envelope

    def words_of(self, turn: int) -> str:
        """Return what the person said to begin a turn. Raises `LookupError`."""
        self.flush()
        with self._path.open("rb") as lines:
            for line in lines:
                if line.startswith(b'{"h":"UserSaid"') and (said := json.loads(line)["d"])["turn"] == turn:
                    return str(said["text"])
        raise LookupError(turn)

    def close(self) -> None:
        self.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def whole_lines(path: Path, offset: int = 0) -> Iterator[tuple[int, int, int, Envelope | None]]:
    """Read a journal from `offset` up to the first line that is torn: for each line its begin, its end, its sequence
    and its envelope.
    """
    if not path.exists():
        return
    with path.open("rb") as lines:
        lines.seek(offset)
        for line in lines:
            try:
                parsed = json.loads(line)
                sequence, envelope = parsed["q"], _envelope(parsed)
            except (ValueError, KeyError, TypeError):
                return
            if not line.endswith(b"\n"):
                return
            yield offset, offset + len(line), sequence, envelope
            offset += len(line)
