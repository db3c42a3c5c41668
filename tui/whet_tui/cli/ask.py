"""`whet ask`: a question and its answer, or a conversation in JSON lines."""

import asyncio
import shlex
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

import click

from whet_agent.arguments import BadArguments, money_nanos
from whet_agent.events import TurnEnded
from whet_tui.cli.chat import latest_session
from whet_tui.cli.configured import load_settings
from whet_tui.cli.converse import converse
from whet_tui.cli.exits import OK, USAGE, Stopped
from whet_tui.cli.flags import stdin_text
from whet_tui.cli.root import Launch
from whet_tui.cli.summary import summary_of
from whet_tui.cli.talk import Printer, Talk, talking
from whet_tui.json_lines import json_line
from whet_tui.opening import Limits
from whet_tui.plain import PlainPrinter
from whet_tui.settings import Settings
from whet_tui.stream_json import StreamPrinter

Output: TypeAlias = Literal["text", "json", "stream-json"]

_HINT_SECONDS: Final = 3.0
"""Whoever started us with an open pipe and writes nothing learns after this why nothing happens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the command line asks for. `question` None: messages come as JSON lines."""

    question: str | None
    session_id: str
    output: Output
    limits: Limits
    seconds: float | None


class MoneyType(click.ParamType[int]):
    """Dollars, as nanos."""

    name = "$AMOUNT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return money_nanos(value, "amount")
        except BadArguments as error:
            self.fail(str(error), param, ctx)


@click.command("ask")
@click.argument("text", required=False)
@click.option("--model", "models", multiple=True, help="A model to ask, as endpoint/model. May be given several times.")
@click.option("--output", type=click.Choice(["text", "json", "stream-json"]), default="text", help="How to answer.")
@click.option("--json", "as_json", is_flag=True, help="Short for --output json: answer, run, cost, branches.")
@click.option("--input", "source", type=click.Choice(["text", "stream-json"]), default="text", help="What stdin holds.")
@click.option("--resume", metavar="ID", default="", help="Take up the session with this id and finish its turn.")
@click.option("--continue", "latest", is_flag=True, help="Take up the session used last.")
@click.option("--max-turns", type=click.IntRange(1), help="How often the mind may think before a turn is ended.")
@click.option("--max-cost", type=MoneyType(), help="What the session may spend.")
@click.option("--timeout", "seconds", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="For it all.")
@click.pass_obj
def command(
    launch: Launch,
    text: str | None,
    models: tuple[str, ...],
    output: Output,
    source: str,
    resume: str,
    max_turns: int | None,
    max_cost: int | None,
    seconds: float | None,
    *,
    as_json: bool,
    latest: bool,
) -> int:
    """Ask one question and print the answer.

    TEXT may be - or left out to read it from stdin; what is piped in beside TEXT is put below it. Exit codes: 0 done,
    1 failed, 2 wrong usage, 3 a person must decide, 75 try again, 130 interrupted.
    """
    if resume and latest:
        raise click.UsageError("Give --resume or --continue, not both.")
    settings = load_settings(launch)
    session_id = latest_session(settings) if latest else resume
    question = None
    if source == "text":
        question = _with_models(_question(text, taking_up=bool(session_id)), models)
    elif text is not None or models:
        raise click.UsageError("With --input stream-json the messages come from stdin; leave out TEXT and --model.")
    if models:
        settings = replace(settings, mind=None)  # what to ask and whom is said: nobody needs to think about it
    wish = Wish(
        question=question,
        session_id=session_id,
        output="json" if as_json else output,
        limits=Limits(max_steps=max_turns, max_cost_nanos=max_cost),
        seconds=seconds,
    )
    return asyncio.run(_ask(settings, wish))


def _question(text: str | None, *, taking_up: bool) -> str:
    """Return the question; empty when an earlier turn is to be finished. Raises `click.UsageError` and `Stopped`."""
    if text is None and taking_up:
        return ""
    if sys.stdin.isatty():
        if text is None:
            raise click.UsageError("What is the question? Give it as TEXT, or pipe it in.")
        piped = stdin_text("TEXT") if text == "-" else ""
    else:
        piped = _piped()
    asked = "" if text in {None, "-"} else str(text).strip()
    below = f"\n\n<stdin>\n{piped}\n</stdin>" if piped.strip() else ""
    question = asked + below if asked else piped.strip()
    if not question:
        raise Stopped("The question is empty.", advice="Give it as TEXT, or pipe it in.", code=USAGE)
    return question


def _piped() -> str:
    hint = threading.Timer(
        _HINT_SECONDS, click.echo, ("Waiting for stdin to end. Nothing piped in? Add </dev/null.",), {"err": True}
    )
    hint.daemon = True
    hint.start()
    try:
        return stdin_text("TEXT")
    finally:
        hint.cancel()


def _with_models(question: str, models: tuple[str, ...]) -> str:
    if not models:
        return question
    if not question:
        raise click.UsageError("--model needs a question.")
    return " ".join(["/fanout", *(f"--model {shlex.quote(model)}" for model in models), question])


async def _ask(settings: Settings, wish: Wish) -> int:
    """What goes on is told on stderr, so that stdout holds the answer and nothing else."""
    printer = _printer(wish.output)
    async with talking(settings, printer, session_id=wish.session_id, limits=wish.limits, seconds=wish.seconds) as talk:
        try:
            code = await (converse(talk) if wish.question is None else _answer(talk, wish.question))
        except Stopped as stopped:
            _conclude(talk, wish.output, stopped.code, str(stopped))
            raise
        _conclude(talk, wish.output, code)
        return code


async def _answer(talk: Talk, question: str) -> int:
    """Finish what is unfinished, then ask."""
    ended: TurnEnded | None = await talk.finish()
    if question and not talk.interruption.code:
        ended = await talk.say(question)
    if ended is None:
        raise Stopped(
            f"Nothing is unfinished in {talk.session_id}.", advice="Give TEXT to say something in it.", code=USAGE
        )
    return talk.verdict(ended)


def _printer(output: Output) -> Printer:
    match output:
        case "text":
            return PlainPrinter(_aside, click.echo)
        case "json":
            return PlainPrinter(_untold, _untold)
        case "stream-json":
            return StreamPrinter(_flushed)


def _conclude(talk: Talk, output: Output, code: int, failure: str = "") -> None:
    """Print the result, where the output has one."""
    result: dict[Output, Callable[[], object]] = {
        "json": lambda: click.echo(json_line(summary_of(talk, code, failure))),
        "stream-json": lambda: _flushed(json_line({"type": "result"} | summary_of(talk, code, failure))),
    }
    result.get(output, lambda: OK)()


def _aside(line: str) -> None:
    click.echo(line, err=True)


def _untold(_: str) -> None:
    """Only the end is told."""


def _flushed(line: str) -> None:
    """A line is told at once, however many follow: whoever reads may act on it."""
    click.echo(line)
    sys.stdout.flush()
