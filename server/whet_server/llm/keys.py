"""API keys: bound to one origin, encrypted at rest.

A key is sealed with AES-256-GCM. Workspace, endpoint name and origin are authenticated with it, so a sealed key that is
copied to another row, or whose row gets another URL, does not open.
"""

import os
import stat
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_VERSION: Final = 1
"""First byte of every sealed key, so that a later scheme can tell old ones from its own."""
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
"""The size for which GCM is specified; random, which is safe for far more than the few keys one person stores."""
PRIVATE_MODE: Final = 0o600
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class KeyNotOpened(Exception):
    """The sealed key is damaged, was sealed by another master key, or belongs to another place."""


class WrongOrigin(Exception):
    """A key was about to be sent to another origin than its own."""


def origin_of(url: str) -> str:
    """Return `scheme://host:port` of a URL, in lower case and with the port always named."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme.lower()}://{shown}:{parts.port or _DEFAULT_PORTS.get(parts.scheme.lower(), 0)}"


class BoundKey:
    """A key and the only origin that may see it. Not a `Value`, so that no encoder can write it down."""

    __slots__ = ("_secret", "origin")

    def __init__(self, secret: str, origin: str) -> None:
        self._secret = secret
        self.origin = origin

    def __repr__(self) -> str:
        return f"BoundKey(origin={self.origin!r})"

    def reveal(self, origin: str) -> str:
        """Return the key for a request to `origin`. Raises `WrongOrigin` for any other than its own."""
        if origin != self.origin:
            raise WrongOrigin(f"this key belongs to {self.origin} and is not sent to {origin}")
        return self._secret


class Sealer:
    """Seals and opens keys with the master key of the data directory."""

    def __init__(self, master: bytes) -> None:
        if len(master) != KEY_BYTES:
            raise ValueError(f"the master key has {len(master)} bytes, it needs {KEY_BYTES}")
        self._cipher = AESGCM(master)

    @classmethod
    def from_file(cls, path: Path) -> "Sealer":
        """Read the master key, or make one readable by its owner only when there is none."""
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE)
        except FileExistsError:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                path.chmod(PRIVATE_MODE)
            return cls(path.read_bytes())
        with os.fdopen(handle, "wb") as file:
            master = AESGCM.generate_key(KEY_BYTES * 8)
            file.write(master)
            file.flush()
            os.fsync(file.fileno())
        return cls(master)

    def seal(self, secret: str, *, workspace: str, endpoint: str, origin: str) -> bytes:
        """Encrypt a key for one endpoint of one workspace at one origin."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, secret.encode(), _place(workspace, endpoint, origin))
        return bytes((KEY_VERSION,)) + nonce + sealed

    def open(self, sealed: bytes, *, workspace: str, endpoint: str, origin: str) -> BoundKey:
        """Decrypt a key. Raises `KeyNotOpened` unless it was sealed for this very place."""
        if sealed[:1] != bytes((KEY_VERSION,)):
            raise KeyNotOpened("the stored key has an unknown version: store it again")
        nonce, body = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        try:
            secret = self._cipher.decrypt(nonce, body, _place(workspace, endpoint, origin))
        except (InvalidTag, ValueError) as error:
            raise KeyNotOpened("the stored key does not open here: store it again") from error
        return BoundKey(secret.decode(), origin)


def _place(workspace: str, endpoint: str, origin: str) -> bytes:
    """Return what is authenticated with a key; no part may hold the separator."""
    parts = (f"v{KEY_VERSION}", workspace, endpoint, origin)
    if any("\0" in part for part in parts):
        raise ValueError("a workspace, an endpoint or an origin holds a NUL character")
    return "\0".join(parts).encode()
