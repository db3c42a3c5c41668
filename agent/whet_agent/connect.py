"""Find a server, or start the embedded one.

`server.json` in the data directory names the address of a server that is already there. Otherwise `python -m whet_server` is started as a child in a session of its
own, on a unix socket in the data directory; it outlives the terminal and exits by itself when nobody needs it.
"""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectSettings:
    """Where to look. `address` empty: the embedded server of `data`."""

    data: Path
    config: Path | None = None
    address: str = ""
    token: str = ""
    """For a server elsewhere: the token to use for both roles, unless `agent_token` is set."""
    agent_token: str = ""
    start_seconds: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A server that answers, and the tokens to call it with. Tokens never appear in a repr."""

    address: str
    person_token: str = field(repr=False)
    agent_token: str = field(repr=False)
    embedded: bool


class ServerUnavailable(Exception):
    """No server answers and none could be started. `str()` says why and where its log is."""


async def connect(settings: ConnectSettings) -> Connection:
    """Return a connection to a server that is ready (its health says SERVING). Raises `ServerUnavailable`."""
    raise NotImplementedError
