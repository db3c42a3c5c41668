"""What the planner knows of a conversation, and what it can come to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from whet_agent.conversation import Entry
from whet_agent.json_object import JsonView


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Call a tool."""

    tool: str
    arguments: JsonView


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """Answer, or ask back."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Call several tools, one after the other: each with its own approval, and none after one that failed."""

    calls: tuple[Call, ...]


Plan: TypeAlias = Call | Calls | Say


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a sentence may refer to: the last run, the last question with its answer, what the planner said last, and
    the panel.
    """

    last_run: str = ""
    question: str = ""
    answer: str = ""
    last_said: str = ""
    panel: tuple[str, ...] = ()


def situation_of(entries: Sequence[Entry], *, panel: tuple[str, ...]) -> Situation:
    """Read the situation before the last message off the conversation."""
    last_run = question = answer = last_said = said = ""
    for entry in entries[:-1]:
        role, content = entry["m"]["role"], entry["m"]["content"]
        last_run = entry.get("run") or last_run
        if role == "user":
            said = content
        elif role == "assistant" and content:
            last_said = content
            if entry.get("quoted"):
                question, answer = said, content
    return Situation(last_run=last_run, question=question, answer=answer, last_said=last_said, panel=panel)
