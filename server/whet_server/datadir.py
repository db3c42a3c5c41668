"""The data directory: whose it is, its tokens, and the note that says where the server answers."""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec

from whet_server.rpc.identity import TokenEntry, digest_of
from whet_server.values import Role, Value, Workspace

DEFAULT_WORKSPACE: Final = Workspace("default")
FIRST_TOKENS: Final = {"person.token": Role.PERSON, "agent.token": Role.AGENT}
"""Made at the first start, for whoever can read the owner's files."""
_TOKEN_BYTES: Final = 32
"""256 random bits: nobody guesses one."""


class ServerNote(Value):
    """What `server.json` says while the server is ready."""

    address: str
    pid: int
    started: str


class DataDir:
    """The paths of one data directory. Made readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def database(self) -> Path:
        return self.path / "whet.db"

    @property
    def master_key(self) -> Path:
        return self.path / "key"

    @property
    def tokens(self) -> Path:
        return self.path / "tokens.json"

    def prepare(self) -> None:
        """Make the directory, or take the rights of others away from it."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.path.stat().st_mode & 0o077:
            self.path.chmod(0o700)

    def make_first_tokens(self) -> None:
        """Make one token for a person and one for an agent, where the directory has none. Needs the lock."""
        for name, role in FIRST_TOKENS.items():
            if not (self.path / name).exists():
                token = self.create_token(DEFAULT_WORKSPACE, role)
                _write(self.path / name, token.encode() + b"\n")

    def create_token(self, workspace: Workspace, role: Role, lifetime: timedelta | None = None) -> str:
        """Make a token, keep its digest, and return its text, which is nowhere else.

        A running server sees the file change; two writers at once would lose one of two tokens, so callers that are not
        the server do this one at a time.
        """
        token = "whet_" + secrets.token_urlsafe(_TOKEN_BYTES)
        entries = self._entries()
        expire_ns = None if lifetime is None else time.time_ns() + int(lifetime.total_seconds() * 1e9)
        entry = TokenEntry(digest=digest_of(token), workspace=workspace, role=role, expire_ns=expire_ns)
        _write(self.tokens, msgspec.json.format(msgspec.json.encode((*entries, entry)), indent=2) + b"\n")
        return token

    @contextmanager
    def announced(self, address: str) -> Iterator[None]:
        """Say in `server.json` where the server answers, as long as the block runs."""
        path = self.path / "server.json"
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        note = ServerNote(address=address, pid=os.getpid(), started=started)
        _write(path, msgspec.json.encode(note) + b"\n")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    def _entries(self) -> tuple[TokenEntry, ...]:
        try:
            return msgspec.json.decode(self.tokens.read_bytes(), type=tuple[TokenEntry, ...])
        except FileNotFoundError:
            return ()


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one step, readable by its owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
