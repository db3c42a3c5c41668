"""What a judge is told: the rubric, and the texts between marks that none of them can close (`fanout/fence.py`).

The rubric stands in the system message, before anything that changes from item to item, so that a provider's cache of
prompts, and a local model's, keeps it. Texts are never cut: a judge that saw a half would judge another text.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from string import Template
from typing import Any, Final

import whet_prompts
from whet_server.fanout.fence import Fence
from whet_server.fanout.sentences import split
from whet_server.judge.rubric import Dimension, Rubric
from whet_server.judging import Item, JudgeMode
from whet_server.values import Message, Speaker

TIE: Final = "tie"
_REPAIR: Final = "judge-repair"
SHORT: Final = 60
"""Characters of a reason of a model that is held to short ones: it rambles, and each verdict has to wait for that."""
_LONGEST: Final = 300
_MOST_SENTENCES: Final = 60
"""Sentences that such a model may choose its quotes from, and how long they may be: its grammar grows with them."""
_KEPT: Final = 64
"""Rubrics, each in a mode, whose words are kept as they are asked by: thousands of questions differ in texts alone."""
_REPEATED: Final = 4_000
"""Characters of its own answer that a judge is shown again: longer ones are garbage, and would fill its window."""


def label(place: int) -> str:
    """Return what the answer at this place, from 0, is called: A to Z, then AA, AB, ..."""
    head, rest = divmod(place, 26)
    return (label(head - 1) if head else "") + chr(ord("A") + rest)


def labels(count: int) -> list[str]:
    return [label(place) for place in range(count)]


def digest(mode: JudgeMode) -> str:
    """Return the SHA-256, in hexadecimal, over the words that a judge of this mode is told."""
    told = [whet_prompts.load(name).digest for name in (f"judge-{mode}", _REPAIR)]
    return hashlib.sha256("".join(told).encode()).hexdigest()


def messages(item: Item, rubric: Rubric, mode: JudgeMode, order: tuple[int, ...]) -> tuple[Message, ...]:
    """Return the messages that ask for a verdict. `order`: the candidates' indexes as they are shown."""
    shown = [item.candidates[index] for index in order]
    fence = Fence([item.input, item.reference, *shown])
    system, user, names = _of_rubric(rubric, mode, len(order))
    task = user.substitute(names=names, fence=fence.name, texts=_texts(item, fence, shown))
    return system, Message(role=Speaker.USER, content=task)


@lru_cache(maxsize=_KEPT)
def _of_rubric(rubric: Rubric, mode: JudgeMode, count: int) -> tuple[Message, Template, str]:
    """Return what is the same in all questions over `count` answers by a rubric: the system message, and the frame of
    the task with the names that it asks for.
    """
    keys = labels(count) if mode is JudgeMode.LISTWISE else [each.name for each in rubric.dimensions]
    system, _, task = whet_prompts.load(f"judge-{mode}").text.partition("\n---\n")
    names = ", ".join(f'"{key}"' for key in keys)
    told = Template(system).substitute(
        lowest=str(rubric.lowest),
        description=rubric.description,
        dimensions="\n\n".join(_dimension(each, anchors=mode is JudgeMode.POINTWISE) for each in rubric.dimensions),
        form=_form(mode, rubric, keys),
        names=names,
    )
    return Message(role=Speaker.SYSTEM, content=told), Template(task), names


def repair(asked: tuple[Message, ...], answer: str, wrong: str) -> tuple[Message, ...]:
    """Return the messages that ask once more, saying what was wrong with the answer."""
    again = Template(whet_prompts.load(_REPAIR).text).substitute(wrong=wrong)
    return (
        *asked,
        Message(role=Speaker.ASSISTANT, content=answer[:_REPEATED]),
        Message(role=Speaker.USER, content=again),
    )


@lru_cache(maxsize=_KEPT)
def schema(rubric: Rubric, mode: JudgeMode, count: int, quotable: tuple[str, ...] = ()) -> str:
    """Return the JSON Schema of a verdict over `count` answers, for endpoints that enforce one.

    It keeps to what all of them know: no bounds, no lengths, every property required. With `quotable` texts it is for a
    model that can be held to more and needs it: its quotes are sentences of those texts, and its reasons are short.
    """
    names = labels(count)
    words: dict[str, Any] = {"type": "string"} | ({"maxLength": SHORT} if quotable else {})
    if mode is JudgeMode.LISTWISE:
        texts = quotable or ("",) * count
        quotes = {name: _quote([text]) for name, text in zip(names, texts, strict=True)}
        ranking = {"type": "array", "items": {"type": "string", "enum": names}}
        return json.dumps(_object({"quotes": _object(quotes), "summary": words, "ranking": ranking}))
    if mode is JudgeMode.POINTWISE:
        last = {"level": {"type": ["integer", "null"], "enum": [*range(rubric.lowest, rubric.highest + 1), None]}}
    else:
        last = {"better": {"type": ["string", "null"], "enum": [*names, TIE, None]}}
    each = _object({"quote": _quote(quotable), "reason": words} | last)
    whole = _object({dimension.name: each for dimension in rubric.dimensions})
    return json.dumps(_object({"dimensions": whole, "summary": words}))


def _quote(texts: Sequence[str]) -> dict[str, Any]:
    """Return the schema of a quote: any words, or a sentence of these texts that is not too long."""
    said = [sentence.text for text in texts for sentence in split(text) if len(sentence.text) <= _LONGEST]
    return {"type": "string"} | ({"enum": list(dict.fromkeys(said[:_MOST_SENTENCES]))} if said else {})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _form(mode: JudgeMode, rubric: Rubric, keys: list[str]) -> str:
    """Return how one entry of the answer looks, and that the others look alike."""
    if mode is JudgeMode.LISTWISE:
        return ", ".join(f'"{key}": "quote from {key}"' for key in keys)
    last = (
        f'"level": {rubric.lowest} to {rubric.highest}'
        if mode is JudgeMode.POINTWISE
        else '"better": "A", "B" or "tie"'
    )
    more = ", ..." if len(keys) > 1 else ""
    return f'"{keys[0]}": {{"quote": "...", "reason": "...", {last}}}{more}'


def _dimension(dimension: Dimension, *, anchors: bool) -> str:
    head = f"{dimension.name}: {dimension.description}"
    lines = [f"{anchor.level} = {anchor.description}" for anchor in dimension.anchors]
    if anchors:
        return "\n".join([head, *lines])
    return f"{head} At its best: {dimension.anchors[-1].description}"


def _texts(item: Item, fence: Fence, shown: list[str]) -> str:
    texts = [fence.around("input", item.input)]
    if item.reference:
        texts.append(fence.around("reference", item.reference))
    if len(shown) == 1:
        texts.append(fence.around("answer", shown[0]))
    else:
        texts += [fence.around("answer", text, source=label(place)) for place, text in enumerate(shown)]
    return "\n\n".join(texts)
