"""Files that travel in pieces: what the header says of a file, and the pieces.

The header's `source` is the file's path as the caller wrote it, and `sha256` what a person approves: the server takes
the pieces only if they are that file.
"""

import hashlib
import os
import stat
from collections.abc import AsyncIterator, Callable
from io import BufferedReader
from pathlib import Path
from typing import Final

from google.protobuf.message import Message

from whet_agent.arguments import BadArguments
from whet_agent.json_object import JsonObject, JsonView

PATH: Final = "path"
"""The argument that stands for the file, in place of what is computed from it."""
ABOUT: Final = "The file to store, as the person named it: .jsonl, .csv or .parquet."
COMPUTED: Final = frozenset({"source", "sha256"})
PIECE_BYTES: Final = 512 * 1024
"""Half of what the server takes in one message."""
LARGEST_BYTES: Final = 64 * 1024 * 1024
"""As the server's own limit: what is larger is refused before it is read."""

Progress = Callable[[int, int], None]
"""Hears how many bytes of how many have been handed over."""


def header_of(arguments: JsonView) -> JsonObject:
    """Return the header's fields for the file at `path`. An edited call names it by `source`, as its question showed
    it. Raises `BadArguments` for what is no file that can be read.
    """
    path = arguments.get(PATH) or arguments.get("source")
    if not isinstance(path, str) or not path:
        raise BadArguments(f"{PATH}: name the file to store.")
    with _opened(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    rest = {name: value for name, value in arguments.items() if name != PATH}
    return {**rest, "source": path, "sha256": digest}


def messages(request: Message, progress: Progress | None = None) -> AsyncIterator[Message]:
    """Return the messages of an upload: `request` with its header, then the file. Raises `BadArguments` at once: gRPC
    takes an error between two pieces for a cancellation.
    """
    header = request.header  # type: ignore[attr-defined]  # every upload has one
    with _opened(header.source) as file:
        content = file.read(LARGEST_BYTES + 1)
    return _pieces(request, content, progress)


async def _pieces(request: Message, content: bytes, progress: Progress | None) -> AsyncIterator[Message]:
    yield request
    for start in range(0, len(content), PIECE_BYTES):
        yield type(request)(chunk=content[start : start + PIECE_BYTES])
        if progress is not None:
            progress(min(start + PIECE_BYTES, len(content)), len(content))


def _opened(path: str) -> BufferedReader:
    """Open a regular file. Anything else could be read for ever, or is no file of the person's."""
    try:
        # A pipe without a writer would hold the opening up.
        handle = os.open(Path(path).expanduser(), os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise BadArguments(f"{PATH}: {path} cannot be read: {said}.") from None
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_BYTES:
        os.close(handle)
        what = "is no regular file" if not stat.S_ISREG(found.st_mode) else f"is larger than {LARGEST_BYTES} bytes"
        raise BadArguments(f"{PATH}: {path} {what}.")
    return os.fdopen(handle, "rb")
