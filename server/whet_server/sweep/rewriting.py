"""What a model that rewrites a template is told, and what is taken from its answer."""

import re
from collections.abc import Sequence
from string import Template
from typing import Final

import whet_prompts
from whet_server.fanout.fence import Fence
from whet_server.judging import Item
from whet_server.sweeping import TrialCase
from whet_server.values import Message, Speaker

_ANSWER: Final = re.compile(r"<template>\n?(.*)</template>", re.DOTALL)
_PLACE: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_LONGEST: Final = 6_000
"""Characters of one text of a case that are shown: enough to see what went wrong, with room for the other cases."""
_ECHOED: Final = 4_000
"""Characters of its own answer that a model is shown again."""

Example = tuple[Item, TrialCase]
"""A case and how it was answered."""


def messages(stage: str, template: str, examples: Sequence[Example]) -> tuple[Message, ...]:
    """Return the messages that ask for a new template of a stage, from how cases were answered with the old one."""
    shown = [_texts(stage, *example) for example in examples]
    fence = Fence([template, *(text for texts in shown for _, text in texts)])
    cases = "\n\n".join(
        f"Case {at}:\n" + "\n".join(fence.around(kind, text) for kind, text in texts)
        for at, texts in enumerate(shown, 1)
    )
    system, _, task = whet_prompts.load("reflect").text.partition("\n---\n")
    asked = Template(task).substitute(
        fence=fence.name,
        stage=stage,
        template=fence.around("template", template),
        cases=cases,
        places=", ".join(dict.fromkeys(_PLACE.findall(template))) or "none",
    )
    return Message(role=Speaker.SYSTEM, content=system), Message(role=Speaker.USER, content=asked)


def repair(asked: tuple[Message, ...], answer: str, wrong: str) -> tuple[Message, ...]:
    """Return the messages that ask once more, saying what was wrong."""
    again = Template(whet_prompts.load("reflect-repair").text).substitute(wrong=wrong)
    return (
        *asked,
        Message(role=Speaker.ASSISTANT, content=answer[:_ECHOED]),
        Message(role=Speaker.USER, content=again),
    )


def taken(answer: str) -> str:
    """Return the template in an answer; empty when there is none."""
    found = _ANSWER.search(answer)
    return found[1].strip() if found else ""


def _texts(stage: str, item: Item, case: TrialCase) -> list[tuple[str, str]]:
    """Return what is shown of a case, each text with its kind. A case without a score says why, and has no number."""
    own = next((each.output for each in case.stages if each.stage == stage), None)
    texts = [("input", item.input)]
    texts += [(f"field-{name}", text) for name, text in item.fields.items()]
    if own is not None:
        texts.append(("stage-answer", own))
    texts.append(("answer", case.output))
    if item.reference:
        texts.append(("expected", item.reference))
    texts.append(("judged", _judged(case)))
    return [(kind, text[:_LONGEST]) for kind, text in texts]


def _judged(case: TrialCase) -> str:
    if case.score is None:
        return f"No score: {case.failure.message if case.failure else case.outcome}"
    words = [f"Score {case.score:.3g} of 1."]
    words += [f"{each.criterion}: {each.rationale}" for each in case.verdicts if each.rationale]
    return "\n".join(words)
