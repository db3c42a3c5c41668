"""`whet mcp`: the tools for other agents, over the Model Context Protocol."""

import asyncio
import logging
import os
import secrets
import shlex
import signal
import sys
from pathlib import Path
from typing import Final

import click

from whet_agent.connect import connect
from whet_tui.cli.configured import load_settings
from whet_tui.cli.exits import USAGE, Stopped
from whet_tui.cli.root import Launch
from whet_tui.opening import connect_settings
from whet_tui.settings import Settings

_SECRET_BYTES: Final = 32
_FEWEST_CHARACTERS: Final = 16
"""A secret that is shorter can be guessed."""


@click.command("mcp", help="Serve the tools to other agents over the Model Context Protocol, on stdin and stdout.")
@click.option("--http", "over_http", is_flag=True, help="Serve over HTTP on the loopback address instead.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="With --http: the port; any free one without.")
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --http: the file with the secret that clients must send; made when it is not there.",
)
@click.pass_obj
def command(launch: Launch, *, over_http: bool, port: int, secret_file: Path | None) -> None:
    if not over_http and (port or secret_file):
        raise click.UsageError("--port and --secret-file belong to --http.")
    settings = load_settings(launch)
    told = logging.StreamHandler(sys.stderr)
    told.setFormatter(_OneLine("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[told])
    secret = _secret(secret_file) if over_http else ""
    # Nothing here needs a farewell, and a thread that waits for a line of stdin would not let an interrupt end us.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    asyncio.run(_serve(settings, _program(launch, settings), port=port, secret=secret))


class _OneLine(logging.Formatter):
    """What the client said wrong, the SDK explains in pages, which clients show to people."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).partition("\n")[0]


async def _serve(settings: Settings, program: str, *, port: int, secret: str) -> None:
    from whet_agent.mcp.serving import NotAnAgent, adapter_for  # a second to import

    connection = await connect(connect_settings(settings))
    try:
        async with adapter_for(connection, program=program) as adapter:
            if secret:
                from whet_agent.mcp.http import serve_http

                await serve_http(adapter, port=port, secret=secret, ready=lambda url: _say_where(url, secret))
            else:
                from whet_agent.mcp.stdio import serve_stdio

                await serve_stdio(adapter)
    except NotAnAgent as error:
        raise Stopped(str(error), code=USAGE) from error


def _say_where(url: str, secret: str) -> None:
    click.echo(f"{url}\nAuthorization: Bearer {secret}")


def _secret(file: Path | None) -> str:
    """Return the secret that is kept in the file, or a new one, which is kept there."""
    if file is not None and file.exists():
        kept = file.read_text(encoding="utf-8").strip()
        if len(kept) < _FEWEST_CHARACTERS or not kept.isascii() or not kept.isprintable() or " " in kept:
            raise Stopped(
                f"{file} holds no secret of at least {_FEWEST_CHARACTERS} characters.",
                advice="Remove the file and a new one is made.",
                code=USAGE,
            )
        return kept
    made = secrets.token_urlsafe(_SECRET_BYTES)
    if file is not None:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as kept_in:
            kept_in.write(f"{made}\n")
    return made


def _program(launch: Launch, settings: Settings) -> str:
    """Return the command line with which a person in a shell of their own reaches the same server."""
    words = ["whet"]
    if settings.server:
        words += ["--server", settings.server]
    elif launch.data is not None or launch.environment.get("WHET_DATA"):
        words += ["--data", str(settings.data.absolute())]
    return shlex.join(words)
