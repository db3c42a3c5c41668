"""`whet demo`: a short conversation without a screen, all on this machine."""

import asyncio
import signal
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click

from whet_agent.connect import stop
from whet_tui.cli.configured import load_settings
from whet_tui.cli.exits import INTERRUPTED, OK
from whet_tui.cli.root import Launch
from whet_tui.cli.talk import Talk, talking
from whet_tui.plain import PlainPrinter
from whet_tui.settings import Settings

_INTRODUCTION: Final = """\
A conversation on this machine alone: no key, no network, nothing paid. local/smollm2 is a real language model of 135
million parameters, so it is quick and knows little. sim/ models are simulated: what they say, their timing and their
prices are made up. Whatever stands on one of them is marked (simulated).
"""
_QUESTION: Final = "What is a hash table?"
_MODELS: Final = ("local/smollm2", "sim/fast", "sim/costly")
"""One that is real and comes late, so that a draft is revised; one that is quick; one that has a price."""
_LIMITS: Final = "--max-tokens 90 --synthesis-model sim/fast"
"""The real model is quick enough for a paragraph; its draft of what all the others wrote is not worth the wait."""


def _ask(_: Talk) -> str:
    models = " ".join(f"--model {model}" for model in _MODELS)
    return f"/fanout {models} {_LIMITS} {_QUESTION}"


def _plan(_: Talk) -> str:
    return f"/plan_fanout --model sim/costly --model sim/fast {_LIMITS} {_QUESTION}"


def _spending(_: Talk) -> str:
    return "how much have I spent"


def _prove(talk: Talk) -> str:
    fanout = talk.last_fanout
    return f"/verify_trace {fanout.run_id if fanout is not None else ''}"


_TURNS: Final[Sequence[Callable[[Talk], str]]] = (_ask, _plan, _spending, _prove)


@click.command("demo", help="Watch a short conversation without a screen. It runs in a directory of its own.")
@click.pass_obj
def command(launch: Launch) -> int:
    load_settings(launch)  # only to say what is wrong with it
    try:
        return asyncio.run(_demo())
    except asyncio.CancelledError:
        return INTERRUPTED


def _end_by_sigterm() -> None:
    """Whoever ends the demo from outside ends its server too, as Ctrl-C does."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


async def _demo() -> int:
    """Neither the person's data, nor a key, nor a configured endpoint is touched."""
    click.echo(_INTRODUCTION)
    _end_by_sigterm()
    with tempfile.TemporaryDirectory(prefix="whet-demo-") as folder:
        settings, code = Settings(data=Path(folder)), OK
        try:
            async with talking(settings, PlainPrinter(click.echo, click.echo)) as talk:
                for turn in _TURNS:
                    ended = await talk.say(turn(talk))
                    click.echo()
                    code = talk.verdict(ended) or code
        finally:
            await stop(settings.data)
    return code
