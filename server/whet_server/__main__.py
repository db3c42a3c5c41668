"""Start a Whet server: `whet serve`, or `python -m whet_server`. Reads the command line and the environment; nothing
below does.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from whet_server import garbage

if TYPE_CHECKING:
    from whet_server.config import ServerConfig

IN_USE: Final = 75
"""Exit code (EX_TEMPFAIL) when another server has the data directory: whoever started this one looks there again."""
BAD_CONFIG: Final = 78
"""Exit code (EX_CONFIG) when the configuration or the address cannot be used."""
DEFAULT_ADDRESS: Final = "127.0.0.1:7677"
MAX_DAYS: Final = 3_650
"""A token that outlives ten years is one that nobody remembers."""
LEVELS: Final = ("debug", "info", "warning", "error")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    options = _parser().parse_args(arguments)
    os.umask(0o077)
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # its C core writes lines of its own kind between ours
    data = _data(options.data, os.environ)
    if options.command == "token":
        return _create_token(data, options)
    from whet_server.telemetry import log_to

    log_to(sys.stderr, options.log_level)
    return _serve(data, options, os.environ)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="whet serve", description="Start a Whet server.")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the data directory (else WHET_DATA, else the user's)")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the configuration (else WHET_CONFIG, else the user's)"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--address", metavar="HOST:PORT", help=f"where to listen (default {DEFAULT_ADDRESS})")
    where.add_argument("--socket", type=Path, metavar="PATH", help="listen on a unix socket instead")
    parser.add_argument(
        "--insecure-listen", action="store_true", help="listen where other machines can call, without encryption"
    )
    parser.add_argument(
        "--idle-exit", type=_seconds, metavar="SECONDS", help="end when nobody called for so long and nothing runs"
    )
    parser.add_argument("--log-level", choices=LEVELS, default="info")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    token = commands.add_parser("token", help="make a token").add_subparsers(dest="action", required=True)
    create = token.add_parser("create", help="make a token and print it, once")
    create.add_argument("--workspace", type=_workspace, default="default")
    create.add_argument("--role", choices=("person", "agent"), default="person")
    create.add_argument("--days", type=_days, default=90, help="how long it is valid (default 90)")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError("give a number of seconds above 0")
    return seconds


def _workspace(text: str) -> str:
    if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", text) is None:
        raise argparse.ArgumentTypeError("give lower case letters, digits and hyphens, 63 at most")
    return text


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_DAYS:
        raise argparse.ArgumentTypeError(f"give a whole number from 1 to {MAX_DAYS}")
    return int(text)


def _data(given: Path | None, environment: Mapping[str, str]) -> Path:
    if given is None and "WHET_DATA" not in environment:
        import platformdirs

        return Path(platformdirs.user_data_dir("whet"))
    return (given or Path(environment["WHET_DATA"])).expanduser().absolute()


def _config_file(given: Path | None, environment: Mapping[str, str]) -> Path | None:
    """Return the file to read: one that was named, or the user's own if it exists."""
    named = given or (Path(found) if (found := environment.get("WHET_CONFIG")) else None)
    if named is not None:
        return named
    import platformdirs

    own = Path(platformdirs.user_config_dir("whet")) / "config.toml"
    return own if own.exists() else None


def _create_token(data: Path, options: argparse.Namespace) -> int:
    from whet_server.datadir import DataDir
    from whet_server.values import Role, Workspace

    directory = DataDir(data)
    directory.prepare()
    token = directory.create_token(Workspace(options.workspace), Role(options.role), timedelta(days=options.days))
    sys.stdout.write(token + "\n")
    return 0


def _serve(data: Path, options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    garbage.look_seldom()
    from whet_server.app import ServeOptions, serve
    from whet_server.config import ConfigError
    from whet_server.datadir import DataDir
    from whet_server.errors import InvalidField, StorageUnavailable
    from whet_server.rpc.server import AddressRefused
    from whet_server.store.lock import DataLock

    directory = DataDir(data)
    try:
        config = _config(options, environment)
        directory.prepare()
        lock = DataLock.acquire(data)
    except StorageUnavailable as error:
        return _refused(error, IN_USE)
    except (ConfigError, OSError) as error:
        return _refused(error, BAD_CONFIG)
    garbage.keep()
    with lock, _spans(config.telemetry_endpoint):
        try:
            asyncio.run(
                serve(config, directory, ServeOptions(insecure=options.insecure_listen, idle_exit=options.idle_exit))
            )
        except (AddressRefused, InvalidField, StorageUnavailable) as error:
            return _refused(error, BAD_CONFIG)
    return 0


def _config(options: argparse.Namespace, environment: Mapping[str, str]) -> "ServerConfig":
    """Return the configuration: the command line stands above the file, the file above the environment."""
    from msgspec.structs import replace

    from whet_server.config import ServerConfig, read_config, with_environment

    file = _config_file(options.config, environment)
    config = with_environment(read_config(file, environment) if file else ServerConfig(), environment)
    address = f"unix:{options.socket.absolute()}" if options.socket else options.address
    return replace(config, address=address or config.address or DEFAULT_ADDRESS)


@contextlib.contextmanager
def _spans(collector: str) -> Iterator[None]:
    """Export spans while the block runs, if there is a collector."""
    if not collector:
        yield
        return
    from whet_server.telemetry import export_spans

    flush = export_spans(collector)
    try:
        yield
    finally:
        flush()


def _refused(error: Exception, code: int) -> int:
    """Say why the server does not start, in one line that a person reads."""
    logging.getLogger("whet_server").error("%s", error)
    return code


if __name__ == "__main__":
    sys.exit(main())
