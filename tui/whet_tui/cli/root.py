"""The root of the command line.

`whet --help` must answer at once, so the root knows its commands from a table and loads one when it is asked for. A
test holds the table's nouns equal to the catalogue's.
"""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Final

import click

from whet_tui.cli.exits import BROKEN_PIPE, FAILED, INTERRUPTED, OK, USAGE, explain

NOUNS: Final[Mapping[str, str]] = {
    "fanout": "Ask many models at once and draft one answer from theirs.",
    "model": "Endpoints, models, prices and the response cache.",
    "ledger": "What was spent, what is unknown, and the caps.",
    "approval": "What waits for a person's decision.",
    "trace": "The record of every run, and its proof.",
    "judge": "Judge and score many answers, with every outcome counted.",
    "calibration": "People's ratings, agreement with them, and audits of judges.",
    "rubric": "Rubrics that judges judge by, and their versions.",
    "scorer": "Scorers, which need no judge.",
    "dataset": "Data sets: versions, splits and the sealed hold-out.",
    "sweep": "Optimise prompts, models and parameters under a budget.",
    "trial": "The trials of a sweep: leaderboard, and case by case.",
    "hook": "Webhooks, and what they delivered.",
}
"""One group for each service of the contract; its verbs are made from the contract when the group is entered."""

OWN: Final[Mapping[str, str]] = {
    "chat": "Chat in the terminal.",
    "ask": "Ask one question and print the answer.",
    "run": "Run a script of turns and expectations.",
    "demo": "Watch a short conversation, all on this machine.",
    "status": "Say what runs where, without starting anything.",
    "serve": "Run a server on its own.",
    "mcp": "Serve the tools to other agents (Model Context Protocol).",
}
"""Commands with a module of their own, `whet_tui.cli.<name>`, whose `command` is taken."""

_EPILOG: Final = (
    "Without a command: the chat, or where stdin or stdout is no terminal, one message a line from stdin. "
    "-p and --print are short for ask."
)
_ASK: Final = frozenset({"-p", "--print"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What a command is given: the environment as it was at start, and the global options."""

    environment: Mapping[str, str]
    server: str = ""
    token_file: Path | None = None
    data: Path | None = None
    config: Path | None = None

    def options(self) -> Sequence[str]:
        """The global options, to be given to another `whet`."""
        given = {
            "--server": self.server,
            "--token-file": self.token_file,
            "--data": self.data,
            "--config": self.config,
        }
        return [word for name, value in given.items() if value for word in (name, str(value))]

    @property
    def program(self) -> str:
        """`whet` as it was called, for commands that a person copies from what is told."""
        return shlex.join(["whet", *self.options()])

    @property
    def decider(self) -> str:
        """The same for a person's decision. Who is asked had an agent's token, which decides nothing."""
        return replace(self, token_file=None).program


class Root(click.Group):
    """Loads a command when it is asked for and lists them without loading any."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`whet -p TEXT` is `whet ask TEXT`, wherever the flag stands before a command."""
        for place, word in enumerate(args):
            if word in OWN or word in NOUNS:
                break
            if word in _ASK:
                args = [*args[:place], "ask", *args[place + 1 :]]
                break
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*OWN, *NOUNS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in OWN:
            module = import_module(f"whet_tui.cli.{cmd_name}")
            command: click.Command = module.command
            return command
        if cmd_name in NOUNS:
            from whet_tui.cli.verbs import group_for

            return group_for(cmd_name, NOUNS[cmd_name])
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, table in (("Commands", OWN), ("Verbs of the contract", NOUNS)):
            with formatter.section(title):
                formatter.write_dl(list(table.items()))


@click.command(cls=Root, invoke_without_command=True, epilog=_EPILOG, context_settings={"max_content_width": 100})
@click.option("--server", metavar="ADDRESS", default="", help="A server elsewhere, as host:port or unix:PATH.")
@click.option("--token-file", type=click.Path(path_type=Path), help="The file with the token for --server.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="The data directory.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="The configuration file.")
@click.version_option(package_name="whet", prog_name="whet")
@click.pass_context
def whet(context: click.Context, /, **_: object) -> int:
    """Whet sharpens prompts: an agent fans them out to models, drafts one answer and keeps the record."""
    if context.invoked_subcommand is not None:
        return OK
    from whet_tui.cli.chat import start

    return start(context.obj)


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command line and return its exit code. Every error ends here, in two lines and never in a traceback."""
    launch = Launch(environment=environment)
    try:
        try:
            # Not `whet.main`: it turns a closed pipe into a failure.
            with whet.make_context("whet", list(arguments)) as context:
                context.obj = launch = replace(launch, **context.params)
                code = whet.invoke(context)
        finally:
            sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 -- the top of the process: two lines for a person, a report for a bug
        return _ended(error, launch.decider)
    return code if isinstance(code, int) else OK


def _ended(error: Exception, decider: str) -> int:
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case click.ClickException():
            error.show()
            return USAGE if isinstance(error, click.UsageError) else FAILED
        case BrokenPipeError():
            # Whoever read us has left. Python would complain once more when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return BROKEN_PIPE
        case _:
            explained = explain(error, decider)
            click.echo("\n".join(explained.lines), err=True)
            return explained.code
