"""Server-sent events: bytes in, the data of whole events out.

Bytes may be split anywhere, also inside a character or a line end. Only `data` matters to us: comments, event names,
ids and retry hints are read over.
"""

from typing import Final

MAX_EVENT_BYTES: Final = 1 << 20
"""A chunk of an answer has some hundred bytes; a megabyte without an end is a provider gone wrong."""
_PLAIN: Final = b"data: "
_MARK: Final = b"\xef\xbb\xbf"


class EventTooLarge(Exception):
    """An event has more bytes than any honest one."""


class EventReader:
    """Takes a stream apart. One instance reads one stream."""

    __slots__ = ("_held", "_limit", "_open_cr")

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._held = bytearray()
        self._limit = limit
        self._open_cr = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of the events that `chunk` completes. Raises `EventTooLarge`."""
        if not chunk:
            return []
        if self._open_cr or b"\r" in chunk:
            chunk = self._unify(chunk)
        held = self._held
        if held:
            searched = len(held) - 1
            held += chunk
            if held.find(b"\n\n", searched) < 0:
                self._check(len(held))
                return []
            chunk = bytes(held)
            held.clear()
        blocks = chunk.split(b"\n\n")
        if rest := blocks.pop():
            self._check(len(rest))
            held += rest
        return _data_of(blocks)

    def end(self) -> list[bytes]:
        """Return the data of what the stream ended in without a blank line; it may be half an event."""
        rest = bytes(self._held)
        self._held.clear()
        return _data_of([rest])

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise EventTooLarge(f"an event of the stream has more than {self._limit} bytes")

    def _unify(self, chunk: bytes) -> bytes:
        """Make every line end a line feed, also a CR LF that two chunks share."""
        if self._open_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            if not chunk:
                self._open_cr = False
                return b""
        self._open_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _data_of(blocks: list[bytes]) -> list[bytes]:
    found = []
    for block in blocks:
        if block.startswith(_PLAIN) and b"\n" not in block:
            found.append(block[6:])
        elif data := _lines_of(block):
            found.append(b"\n".join(data))
    return found


def _lines_of(block: bytes) -> list[bytes]:
    """Return the data lines of an event, for those that are more than one plain line."""
    data = []
    for line in block.removeprefix(_MARK).split(b"\n"):
        name, colon, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" ") if colon else b"")
    return data
