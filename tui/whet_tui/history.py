"""What was sent, over all sessions: a small file with a JSON string a line, the newest last."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_MOST: Final = 500
"""Messages that are kept: more than anybody walks back through with an arrow key."""
_LONGEST: Final = 20_000
"""Characters above which a message is remembered until the chat ends, and not in the file."""


class History:
    """Messages, oldest first. One that begins with a blank is not kept: that is how a secret is typed."""

    def __init__(self, path: Path | None = None) -> None:
        """Without a path nothing is written. The file is read when it is first needed."""
        self._path = path
        self._sent: list[str] | None = None

    @property
    def sent(self) -> Sequence[str]:
        """What was sent, as far as it was kept."""
        if self._sent is None:
            self._sent = self._read()
        return self._sent

    def add(self, text: str) -> None:
        """Keep a message, unless it is the one that was kept last."""
        if not text.strip() or text.startswith(" ") or self.sent[-1:] == [text]:
            return
        self._sent = [*self.sent, text][-_MOST:]
        if self._path is not None and len(text) <= _LONGEST:
            self._append(self._path, text)

    def _append(self, path: Path, text: str) -> None:
        line = json.dumps(text).encode() + b"\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(file, line)  # one write, so that two chats do not tear each other's lines
            finally:
                os.close(file)
        except OSError:
            self._path = None  # a full or read-only disk: the message itself is what counts

    def _read(self) -> list[str]:
        if self._path is None:
            return []
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return []
        if len(lines) > 2 * _MOST:
            self._shorten(self._path, lines[-_MOST:])
        return [text for line in lines[-_MOST:] if isinstance(text := _parsed(line), str)]

    @staticmethod
    def _shorten(path: Path, lines: Sequence[str]) -> None:
        beside = path.with_suffix(".new")
        try:
            beside.touch(mode=0o600)
            beside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            beside.replace(path)
        except OSError:
            return  # it is shortened another time


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None  # a line that a crash tore
