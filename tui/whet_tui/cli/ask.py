"""`whet ask`: one question, one answer."""

import asyncio
import shlex
import sys
from dataclasses import replace
from typing import Any

import click

from whet_agent.events import TurnEnded
from whet_tui.cli.calls import json_line
from whet_tui.cli.configured import load_settings
from whet_tui.cli.exits import USAGE, Stopped
from whet_tui.cli.flags import stdin_text
from whet_tui.cli.root import Launch
from whet_tui.cli.talk import Talk, talking
from whet_tui.entries import Answer, Fanout, Money
from whet_tui.plain import PlainPrinter
from whet_tui.settings import Settings


@click.command("ask", help="Ask one question and print the answer. TEXT may be - or left out to read it from stdin.")
@click.argument("text", required=False)
@click.option("--model", "models", multiple=True, help="A model to ask, as endpoint/model. May be given several times.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: answer, run, cost, branches.")
@click.pass_obj
def command(launch: Launch, text: str | None, models: tuple[str, ...], *, as_json: bool) -> int:
    if text is None and sys.stdin.isatty():
        raise click.UsageError("What is the question? Give it as TEXT, or pipe it in.")
    question = (stdin_text("TEXT") if text is None or text == "-" else text).strip()
    if not question:
        raise Stopped("The question is empty.", advice="Give it as TEXT, or pipe it in.", code=USAGE)
    if models:
        question = " ".join(["/fanout", *(f"--model {shlex.quote(model)}" for model in models), question])
    settings = load_settings(launch)
    if models:
        settings = replace(settings, mind=None)  # what to ask and whom is said: nobody needs to think about it
    return asyncio.run(_ask(settings, question, as_json=as_json))


async def _ask(settings: Settings, question: str, *, as_json: bool) -> int:
    """What goes on is told on stderr, so that stdout holds the answer and nothing else."""

    def aside(line: str) -> None:
        if not as_json:
            click.echo(line, err=True)

    def answer(line: str) -> None:
        if not as_json:
            click.echo(line)

    async with talking(settings, PlainPrinter(aside, answer)) as talk:
        ended = await talk.say(question)
        if as_json:
            click.echo(json_line(_summary(talk, ended)))
        return talk.verdict(ended)


def _summary(talk: Talk, ended: TurnEnded) -> dict[str, Any]:
    view, fanout = talk.printer.view, talk.last_fanout
    answer = next((entry for entry in reversed(view.entries) if isinstance(entry, Answer) and entry.done), None)
    return {
        "answer": answer.text if answer is not None else "",
        "author": answer.author if answer is not None else "",
        "simulated": answer.simulated if answer is not None else False,
        "state": ended.state,
        "failure": ended.failure,
        "session_id": talk.session_id,
        "run_id": fanout.run_id if fanout is not None else "",
        "cost": _cost(view.status.money),
        "branches": _branches(fanout) if fanout is not None else [],
    }


def _cost(money: Money) -> dict[str, int]:
    return {"settled_nanos": money.settled, "unknown_nanos": money.unknown, "reserved_nanos": money.reserved}


def _branches(fanout: Fanout) -> list[dict[str, Any]]:
    return [
        {
            "branch_id": lane.branch_id,
            "model": lane.model,
            "state": lane.state.value,
            "text": lane.text,
            "failure": lane.failure,
            "simulated": lane.simulated,
            "cached": lane.cached,
            "latency": lane.latency_ns / 1e9,
            "cost": _cost(lane.money),
        }
        for lane in fanout.lanes.values()
    ]
