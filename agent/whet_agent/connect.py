"""Find a server, or start the embedded one.

`server.json` in the data directory names the address of a server that is already there. Otherwise
`python -m whet_server` is started as a child in a session of its own, on a unix socket in the data directory; it
outlives the terminal and exits by itself when nobody needs it.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import signal
import stat
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from whet_agent.health import is_serving
from whet_agent.processes import is_alive

_PROBE_SECONDS: Final = 2.0
"""A server that is up answers its health check in milliseconds; one that hangs this long is treated as absent."""
_POLL_SECONDS: Final = 0.02
"""Between two looks at a server that starts: short beside the half second that a start takes."""
_IDLE_EXIT_SECONDS: Final = 120
"""How long an embedded server waits for the next call; long enough for the gap between two commands of a person."""
_SOCKET_PATH_BYTES: Final = 100
"""The kernel takes 107 bytes for the path of a unix socket; the rest is room for gRPC's prefix."""
_LOG_BYTES: Final = 16_000_000
"""A log that has grown beyond this is set aside when the next server starts, and the one before it is dropped."""
_IN_USE: Final = 75
"""With this code (EX_TEMPFAIL) a server ends that finds its data directory locked by another one."""
_RIVAL_SECONDS: Final = 0.1
"""How long to let a rival server come up or go down before the next attempt."""
_STOP_SECONDS: Final = 15.0
"""A server drains for at most eight seconds; the rest is for a slow disk."""
_LAST_LINES: Final = 8
"""How much of a dead server's log an error shows: a Python traceback's end and the line before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectSettings:
    """Where to look. `address` empty: the embedded server of `data`."""

    data: Path
    config: Path | None = None
    address: str = ""
    token: str = field(default="", repr=False)
    """For a server elsewhere: the token to use for both roles, unless `agent_token` is set."""
    agent_token: str = field(default="", repr=False)
    start_seconds: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A server that answers, and the tokens to call it with. Tokens never appear in a repr."""

    address: str
    person_token: str = field(repr=False)
    agent_token: str = field(repr=False)
    embedded: bool
    settings: ConnectSettings | None = field(default=None, repr=False)
    """How to start the server again when it is an embedded one."""


class ServerUnavailable(Exception):
    """No server answers and none could be started. `str()` says why and where its log is."""


class ServerMisconfigured(ServerUnavailable):
    """The server does not start with this configuration."""


async def connect(settings: ConnectSettings) -> Connection:
    """Return a connection to a server that is ready (its health says SERVING). Raises `ServerUnavailable`."""
    if settings.address:
        return await _connect_elsewhere(settings)
    address = await _running(settings.data)
    if address is None:
        try:
            async with asyncio.timeout(settings.start_seconds):
                address = await _start(settings)
        except TimeoutError:
            raise ServerUnavailable(
                f"The server was not ready after {settings.start_seconds:g} seconds. Look into {_log(settings.data)}."
            ) from None
    return _embedded(settings, address)


async def find(settings: ConnectSettings) -> Connection | None:
    """Return a connection to the server that is there; None when none answers. Nothing is started."""
    if settings.address:
        try:
            return await _connect_elsewhere(settings)
        except ServerUnavailable:
            return None
    address = await _running(settings.data)
    return None if address is None else _embedded(settings, address)


async def stop(data: Path, *, timeout: float = _STOP_SECONDS) -> bool:
    """Ask the server of the data directory to stop and wait until it has; return whether there was one.

    Raises `TimeoutError` when it is still there in the end.
    """
    known = _known(data)
    if known is None or not is_alive(known[1]):
        return False
    pid = known[1]
    os.kill(pid, signal.SIGTERM)
    async with asyncio.timeout(timeout):
        while is_alive(pid):
            with contextlib.suppress(ChildProcessError):  # it may be another process's child
                os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 -- WNOHANG does not wait
            await asyncio.sleep(_POLL_SECONDS)
    return True


def _embedded(settings: ConnectSettings, address: str) -> Connection:
    return Connection(
        address=address,
        person_token=_token(settings.data / "person.token"),
        agent_token=_token(settings.data / "agent.token"),
        embedded=True,
        settings=settings,
    )


async def _connect_elsewhere(settings: ConnectSettings) -> Connection:
    if not settings.token:
        raise ServerUnavailable(
            f"The server at {settings.address} asks for a token. Give the file that holds it: --token-file PATH."
        )
    if not await is_serving(settings.address, timeout=_PROBE_SECONDS):
        raise ServerUnavailable(
            f"No server answers at {settings.address}. Check the address, or start one: whet serve."
        )
    return Connection(
        address=settings.address,
        person_token=settings.token,
        agent_token=settings.agent_token or settings.token,
        embedded=False,
    )


async def _running(data: Path) -> str | None:
    """Return the address in `server.json` if a ready server answers there: a killed one leaves its file behind."""
    known = _known(data)
    if known is None or not is_alive(known[1]):
        return None
    return known[0] if await is_serving(known[0], timeout=_PROBE_SECONDS) else None


def _known(data: Path) -> tuple[str, int] | None:
    """Address and process id in `server.json`; None when there is no such file or it is no such thing."""
    try:
        known = json.loads((data / "server.json").read_text(encoding="utf-8"))
        return str(known["address"]), int(known["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


async def _start(settings: ConnectSettings) -> str:
    """Start a server. Of all who come at once, the one with the file lock starts it and the others wait."""
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (settings.data / "start.lock").open("a", encoding="utf-8") as lock:
        while True:
            if (address := await _running(settings.data)) is not None:
                return address
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.sleep(_POLL_SECONDS)
                continue
            if (address := await _start_child(settings)) is not None:
                return address


async def _start_child(settings: ConnectSettings) -> str | None:
    """Start the child and wait until it is ready. None: another server holds the directory, coming or going."""
    log = _log(settings.data)
    _set_aside(log)
    begin = log.stat().st_size if log.exists() else 0
    pid = _spawn(settings, log)
    while True:
        if (address := await _running(settings.data)) is not None:
            return address
        ended, status = os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 -- WNOHANG does not wait
        if ended:
            code = os.waitstatus_to_exitcode(status)
            if code == _IN_USE:
                await asyncio.sleep(_RIVAL_SECONDS)
                return None
            refusal = ServerMisconfigured if code == os.EX_CONFIG else ServerUnavailable
            raise refusal(
                f"The server ended while it started (exit code {code}). Its last words:\n"
                f"{_last_words(log, begin)}\nThe whole log: {log}"
            )
        await asyncio.sleep(_POLL_SECONDS)


def _spawn(settings: ConnectSettings, log: Path) -> int:
    """Start the server in a session of its own.

    Of this terminal it has nothing but the environment, which may hold keys of providers.
    """
    data = settings.data.resolve()
    # -P: a file in the current directory must not stand in for a module of the server.
    command = [sys.executable, "-P", "-m", "whet_server", "--data", str(data), "--socket", str(_socket(data))]
    command += ["--idle-exit", str(_IDLE_EXIT_SECONDS)]
    if settings.config is not None:
        command += ["--config", str(settings.config.resolve())]
    # Not subprocess.Popen: nobody owns this child for longer than its start, and a forgotten Popen warns.
    return os.posix_spawn(
        sys.executable,
        command,
        os.environ,
        setsid=True,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )


def _socket(data: Path) -> Path:
    """Where the socket lies: in the data directory or, where that path is too long, in a private temporary folder."""
    near = data / "server.sock"
    if len(os.fsencode(near)) <= _SOCKET_PATH_BYTES:
        return near
    folder = Path(tempfile.gettempdir()) / f"whet-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ServerUnavailable(
            f"{folder} is not a folder that only you can open. Remove it, or choose a shorter --data."
        )
    return folder / f"{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}.sock"


def _token(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ServerUnavailable(
            f"The token in {path} cannot be read ({error.strerror}). Use the account that started the server."
        ) from error


def _log(data: Path) -> Path:
    return data / "server.log"


def _set_aside(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))


def _last_words(log: Path, begin: int) -> str:
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read().decode(errors="replace").strip().splitlines()
    return "\n".join(f"  {_said(line)}" for line in lines[-_LAST_LINES:]) or "  (none)"


def _said(line: str) -> str:
    """What a line of the log says to a person; a line that is no record, such as a traceback's, speaks for itself."""
    try:
        record = json.loads(line)
        why = record.get("exception", "").strip().rpartition("\n")[2]
        return f"{record['level']}: {record['message']}" + (f": {why}" if why else "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return line
