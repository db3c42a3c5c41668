"""`whet run`: a script of turns and expectations."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click

from whet_tui.cli.configured import load_settings
from whet_tui.cli.exits import FAILED, OK, USAGE, Stopped
from whet_tui.cli.root import Launch
from whet_tui.cli.talk import Talk, talking
from whet_tui.opening import Limits
from whet_tui.plain import PlainPrinter, counted
from whet_tui.safe import safe, safe_line
from whet_tui.script.play import Play, Played, said_of, settled
from whet_tui.script.report import write_json, write_junit
from whet_tui.script.schema import Script, load
from whet_tui.script.tree import ScriptError
from whet_tui.script.variables import filled
from whet_tui.settings import Settings

_FAILURE: Final = 2_000
"""Characters of a failure that are told; the reports have all of it."""


class _Pair(click.ParamType[tuple[str, str]]):
    """`KEY=VALUE`."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, equals, rest = str(value).partition("=")
        if not (key and equals):
            self.fail(f"{value!r} is not KEY=VALUE", param, ctx)
        return key, rest


class _Report(_Pair):
    """`json=PATH` or `junit=PATH`."""

    name = "KIND=PATH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        kind, path = super().convert(value, param, ctx)
        if kind not in {"json", "junit"} or not path:
            self.fail(f"{value!r} is neither json=PATH nor junit=PATH", param, ctx)
        if Path(path).is_dir() or not os.access(Path(path).parent, os.W_OK):  # told before anything is paid for
            self.fail(f"no file can be written at {path!r}", param, ctx)
        return kind, path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    script: Script
    variables: Mapping[str, str]
    reports: tuple[tuple[str, str], ...]
    fail_fast: bool


@click.command("run")
@click.argument("file", metavar="SCRIPT", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--var", "given", type=_Pair(), multiple=True, help="A variable's value. May be given several times.")
@click.option("--report", "reports", type=_Report(), multiple=True, help="Write a report: json=PATH or junit=PATH.")
@click.option("--fail-fast", is_flag=True, help="Stop after the first turn that fails.")
@click.option("--dry-run", is_flag=True, help="Check the script and show what it would say; call nothing.")
@click.pass_obj
def command(
    launch: Launch,
    file: Path,
    given: tuple[tuple[str, str], ...],
    reports: tuple[tuple[str, str], ...],
    *,
    fail_fast: bool,
    dry_run: bool,
) -> int:
    """Run a script of turns and expectations (docs/scripts.md).

    Exit codes: 0 all expectations are met, 1 one is not, 2 the script is wrong, 3 a person must decide, 75 try again,
    130 interrupted.
    """
    try:
        script = load(file, launch.environment)
    except ScriptError as error:
        for problem in error.problems:
            click.echo(f"{safe_line(str(file))}:{problem.line}:{problem.column}: {safe_line(problem.text)}", err=True)
        return USAGE
    except FileNotFoundError:
        raise Stopped(f"{file}: there is no such script.", code=USAGE) from None
    variables = settled(script, dict(given))
    if dry_run:
        _show(script, variables)
        return OK
    settings = load_settings(launch)
    if script.session.mind == "offline":
        settings = replace(settings, mind=None)
    wish = _Wish(script=script, variables=variables, reports=reports, fail_fast=fail_fast)
    return asyncio.run(_run(settings, wish))


def _show(script: Script, variables: Mapping[str, str]) -> None:
    """What later turns take from earlier ones stays a reference."""
    saved = {name: f"${{{name}}}" for turn in script.turns for name in turn.save}
    for number, written in enumerate(script.turns, start=1):
        turn = filled(written, saved | dict(variables))
        expected = counted(len(turn.expect), "expectation", "expectations")
        click.echo(f"{turn.name or f'turn {number}'}: {safe_line(said_of(turn))} ({expected})")
    click.echo(f"{safe_line(script.name)} is well-formed. Nothing was called.")


async def _run(settings: Settings, wish: _Wish) -> int:
    session = wish.script.session
    printer = PlainPrinter(_aside, _aside)
    async with talking(
        settings,
        printer,
        session_id=session.resume,
        limits=Limits(max_steps=session.max_turns, max_cost_nanos=session.max_cost),
        seconds=session.timeout,
    ) as talk:
        play = Play(
            script=wish.script, talk=talk, variables=dict(wish.variables), audience=_Teller(), fail_fast=wish.fail_fast
        )
        code = FAILED
        try:
            code = await play.run()
        except Stopped as stopped:
            code = stopped.code
            raise
        finally:
            _conclude(play, talk, wish, code)
        return code


def _conclude(play: Play, talk: Talk, wish: _Wish, code: int) -> None:
    checks = [check for played in play.played for check in played.checks]
    met = sum(not check.failure for check in checks)
    left = len(wish.script.turns) - len(play.played)
    skipped = f", {counted(left, 'turn', 'turns')} not reached" if left else ""
    click.echo(f"{met} of {counted(len(checks), 'expectation', 'expectations')} met{skipped} ({talk.session_id})")
    for kind, path in wish.reports:
        if kind == "json":
            write_json(Path(path), wish.script.name, talk.session_id, play.played, code)
        else:
            write_junit(Path(path), wish.script.name, play.played)


class _Teller:
    """Tells a script's progress on stdout; the conversation goes to stderr."""

    def begun(self, number: int, name: str) -> None:
        click.echo(f"{number}  {safe_line(name, 100)}")

    def ended(self, played: Played) -> None:
        for check in played.checks:
            where = f" (line {check.line})" if check.failure and check.line else ""
            click.echo(f"   {'FAIL' if check.failure else 'ok  '}  {safe_line(check.what)}{where}")
            if check.failure:
                click.echo(f"         {safe_line(check.failure, _FAILURE)}")


def _aside(line: str) -> None:
    click.echo(safe(line), err=True)
