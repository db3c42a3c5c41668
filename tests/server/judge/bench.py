"""What the tests of judging share: a rubric of two dimensions, an item, and answers of judges."""

import asyncio
import json
from typing import Any

from msgspec.structs import replace

from whet_server.judge.asking import Question, ask, call_of, questions
from whet_server.judge.rubric import Rubric, parse
from whet_server.judging import Item, Judge, JudgeMode, Verdict
from whet_server.llm.base import CallSpec
from whet_server.llm.scripted import Line, ScriptedCaller
from whet_server.values import CallId, ModelName, RunId, Workspace

MODEL = ModelName("house/judge")
LEVELS = "levels = {1 = 'bad', 2 = 'poor', 3 = 'fair', 4 = 'good', 5 = 'very good'}"
TEXT = f"""
description = "Whether it is right and short."
[[dimension]]
name = "right"
weight = 3
question = "Is it right?"
{LEVELS}
[[dimension]]
name = "short"
question = "Is it short?"
{LEVELS}
"""
ITEM = Item(
    item_id="i1",
    input="Why is the sky blue?",
    candidates=(
        "Air scatters blue light\n  more than red light.",
        "It mirrors the sea.",
        "Rayleigh scattering: shorter waves are scattered more.",
    ),
)


def rubric(text: str = TEXT) -> Rubric:
    return parse(text, "two", 1)


def question(mode: JudgeMode = JudgeMode.POINTWISE, *, text: str = TEXT, item: Item = ITEM, at: int = 0) -> Question:
    if mode is JudgeMode.POINTWISE:
        item = replace(item, candidates=item.candidates[:1])
    return questions(item, "two", Judge(rubric="two", models=(MODEL,), mode=mode), rubric(text))[at]


def rated(right: Any = 4, short: Any = 2, *, quote: str = "blue light more", **more: Any) -> str:
    """A pointwise answer."""
    entries = {
        "right": {"quote": quote, "reason": "it is", "level": right},
        "short": {"quote": "Air", "reason": "it is not", "level": short},
    }
    return json.dumps({"dimensions": entries, "summary": "Mostly right.", **more})


def compared(right: Any = "A", short: Any = "tie", *, quote: str = "the sea") -> str:
    """A pairwise answer."""
    entries = {
        "right": {"quote": quote, "reason": "it is", "better": right},
        "short": {"quote": "", "reason": "alike", "better": short},
    }
    return json.dumps({"dimensions": entries, "summary": ""})


def spec(asked: Question) -> CallSpec:
    return call_of(asked, Workspace("w"), RunId("jud_1"), call_id=CallId("jud_1/v-1"))


async def verdict(asked: Question, *lines: Line | str) -> tuple[Verdict, ScriptedCaller]:
    """Ask with these answers and return how it ended; every line must be used."""
    script = [line if isinstance(line, Line) else Line(line) for line in lines]
    caller = ScriptedCaller({MODEL: script})
    ended = await ask(caller, asked, spec(asked), asyncio.Event())
    caller.assert_played()
    return ended, caller
