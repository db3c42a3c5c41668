"""`whet serve`: the server itself, in place of this process."""

import os
import sys

import click

from whet_tui.cli.root import Launch


@click.command(
    "serve",
    help="Run a server on its own. What follows is the server's: see whet serve --help.",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def command(launch: Launch, arguments: tuple[str, ...]) -> None:
    given = [*arguments]
    for name, path in (("--data", launch.data), ("--config", launch.config)):
        if path is not None:
            given = [name, str(path), *given]
    # -P: a file in the current directory must not stand in for a module of the server.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "whet_server", *given])  # noqa: S606 -- our own interpreter
