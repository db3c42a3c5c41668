"""Which concepts together mean which tool. The form that takes up most of a sentence wins; two as good are asked
about.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

from whet_agent.catalogue import Tool
from whet_agent.json_object import JsonView
from whet_agent.planner.extract import amounts, period, periods, run_id
from whet_agent.planner.plan import Situation
from whet_agent.planner.words import ACTIONS, NEGATIONS, Sentence, look_up

_FORMS: Final[Mapping[str, str]] = {
    "cancel_fanout": "CANCEL+THIS_RUN | CANCEL+FANOUT+THIS_RUN | CANCEL+RUN+THIS_RUN",
    "clear_cache": "CLEAR+CACHE | REMOVE+CACHE | CLEAR+CACHE+RESULT | REMOVE+CACHE+RESULT",
    "delete_cap": "REMOVE+CAP",
    "delete_endpoint": "REMOVE+ENDPOINT+NAME | REMOVE+ENDPOINT+NAME+KEY",
    "export_trace": "EXPORT+THIS_RUN | EXPORT+THIS_RUN+TRACE | EXPORT+TRACE | SHOW+THIS_RUN+TRACE+EXPORT",
    "get_approval": "APPROVAL_ID | APPROVALS+APPROVAL_ID",
    "get_cache": "CACHE | CACHE+RESULT",
    "get_fanout": "THIS_RUN | RESULT+THIS_RUN | FANOUT+THIS_RUN | FANOUT+RESULT+THIS_RUN | MODEL+RESULT+THIS_RUN",
    "get_trace": "TRACE+THIS_RUN | EVENTS+THIS_RUN | TRACE+EVENTS+THIS_RUN",
    "get_usage": "SPENT | SPENT+MODEL | SPENT+COST | COST+GROUPED | COST+GROUPED+MODEL | SPENT+THIS_RUN | COST+THIS_RUN"
    " | SPENT+COST+MODEL",
    "list_approvals": "APPROVALS | NEEDED | APPROVALS+NEEDED | GRANT+ASKS | NEEDED+GRANT+ASKS",
    "list_caps": "CAP | LEFT | CAP+LEFT | CAP+SPENT | SPENT+LEFT",
    "list_endpoints": "ENDPOINT | HEALTH | ENDPOINT+HEALTH",
    "list_fanouts": "FANOUT | FANOUT+RUN | RUNNING",
    "list_models": "MODEL | COST | MODEL+COST | MODEL+NAME | MODEL+ENDPOINT | MODEL+ENDPOINT+NAME | COST+NAME",
    "list_reservations": "ENTRIES | ENTRIES+THIS_RUN | UNKNOWN+COST | UNKNOWN+SPENT | UNKNOWN+ENTRIES"
    " | UNKNOWN+COST+RATE",
    "list_traces": "TRACE | RUN | TRACE+RUN",
    "put_cap": "CAP+MONEY+PERIOD | SET+CAP+MONEY+PERIOD | ADD+CAP+MONEY+PERIOD | CAP+SPENT+MONEY+PERIOD"
    " | SET+CAP+SPENT+MONEY+PERIOD | MOST+SPENT+MONEY+PERIOD",
    "put_endpoint": "ADD+URL+NAME | ADD+ENDPOINT+URL+NAME | ENDPOINT+URL+NAME | SET+ENDPOINT+URL+NAME"
    " | ADD+URL+NAME+KEY | ADD+ENDPOINT+URL+NAME+KEY | SET+CAP+NAME+RATE | CAP+NAME+RATE | SET+CAP+ENDPOINT+NAME+RATE",
    "test_endpoint": "TEST+NAME | TEST+ENDPOINT+NAME | ENDPOINT+HEALTH+NAME | HEALTH+NAME",
    "verify_trace": "UNTOUCHED+THIS_RUN | UNTOUCHED+TRACE+THIS_RUN | TEST+UNTOUCHED+THIS_RUN"
    " | TEST+UNTOUCHED+TRACE+THIS_RUN",
    "watch_fanout": "WATCH+THIS_RUN | WATCH+FANOUT+THIS_RUN",
    "watch_trace": "WATCH+TRACE+THIS_RUN | WATCH+EVENTS+THIS_RUN | WATCH+TRACE+EVENTS+THIS_RUN",
}
_KINDS: Final = {"DatasetService": "data set", "RubricService": "rubric"}
"""What a name means in a call of these services."""
_POINTED: Final = frozenset({"cache", "cap", "model", "endpoint", "approval"})
_WEAK: Final = frozenset({"SHOW", "FILLER", "MARK", "NUMBER", "NAMED", "RUN_ID", "SECRET"})
"""Concepts that a form need not take up."""
_MOST: Final = re.compile(r"\b(?:not|don't|no|never) (?:\w+ ){0,4}more than\b|\bat most\b|\bup to\b", re.IGNORECASE)
_PRONOUN: Final = re.compile(r"\b(?:it|this|that|its)\b", re.IGNORECASE)
_WONDERING: Final = re.compile(
    r"(?:should|shall|may|might|can|could|must|do) (?:i|we)\b|what (?:happens|if|would happen)|if\b|is it\b"
    r"|(?:why|how)\b",
    re.IGNORECASE,
)
_FIRST_EVER: Final = re.compile(r"(?:(?:would|could|can|do|did|will) (?:you|we|they) )?ever\b", re.IGNORECASE)
_BY: Final = re.compile(r"(?:by|per|for|of|in|on)\b", re.IGNORECASE)
_COUNTED: Final = re.compile(r"\b(?:per|by|each|every) (?:model|day|run)\b", re.IGNORECASE)
_MINE: Final = re.compile(r"\bcosts? (?:me|us)\b|\bdid\b.*\bcost\b|\bmoney\b.*\b(?:use|go|went)\b", re.IGNORECASE)
_AGAIN: Final = re.compile(r"\b(?:run|do|ask|start) (?:it|that|this|the \w+) again\b", re.IGNORECASE)
_FOREIGN_MONEY: Final = re.compile(r"[€£¥]|\b(?:euros?|eur|pounds?|gbp|yen)\b", re.IGNORECASE)


def concepts_of(sentence: Sentence, text: str, situation: Situation) -> frozenset[str]:
    """Return what the sentence speaks of: its words' concepts, and what stands in several words together."""
    found = set(sentence.concepts)
    meant = sentence.meant
    pointed = situation.last_run and (_PRONOUN.search(meant) or {"WATCH", "UNTOUCHED", "EXPORT"} & found)
    if run_id(text, situation) or run_id(meant, situation) or pointed:
        found = (found - {"RUN", "FANOUT"} if "RUN_ID" not in found else found - {"RUN"}) | {"THIS_RUN"}
    for concept, there in (
        ("MONEY", amounts(meant)),
        ("PERIOD", period(meant, situation)),
        ("GROUPED", _COUNTED.search(meant)),
        ("MOST", _MOST.search(meant)),
        ("RUNNING", re.search(r"\banything\b.*\brunning\b", meant)),
        ("ASKS", re.search(r"\b(?:need|have|anything|something|must|waiting)\b", meant)),
        ("SPENT", _MINE.search(meant)),
        ("AGAIN", _AGAIN.search(meant)),
    ):
        if there:
            found.add(concept)
    return frozenset(found)


def candidates(concepts: frozenset[str], tools: Mapping[str, Tool]) -> Sequence[Tool]:
    """Return the tools whose form takes up most of the concepts, leaving out no thing and no order."""
    fitting = {
        name: max(len(form) for form in forms)
        for name, tool in tools.items()
        if (forms := [form for form in _forms(name, tool) if form <= concepts and not _left(concepts - form)])
    }
    most = max(fitting.values(), default=0)
    return [tools[name] for name, size in fitting.items() if size == most]


def telling(concepts: frozenset[str]) -> frozenset[str]:
    """Return the concepts that say what a sentence is about."""
    return concepts - _WEAK - {"PERIOD", "MOST", "ASKS", "GROUPED"}


def near(concepts: frozenset[str], tools: Mapping[str, Tool]) -> Sequence[Tool]:
    """Return the tools that share most with the concepts, for a question back: the first is the nearest."""
    told = telling(concepts) | (concepts & {"PERIOD", "MOST"} if "MONEY" in concepts else set())
    shared = {
        name: max(
            (len(form & told) * 2 - len(form - told) - len(told - form) for form in _forms(name, tool)), default=-9
        )
        for name, tool in tools.items()
    }
    return [tools[name] for name in sorted(shared, key=lambda name: -shared[name]) if shared[name] > 0]


def orders(concepts: frozenset[str]) -> bool:
    """Whether something is ordered."""
    return bool(concepts & {*ACTIONS, "AGAIN", "TOLD"})


def denied(sentence: Sentence) -> bool:
    """Whether the sentence says what must not be done, or wonders about it, so that no change may follow from it."""
    meant = sentence.meant
    typed = " ".join(word.typed for word in sentence.words)
    asks = typed.endswith("?") and next((w.concept for w in sentence.words if w.concept != "FILLER"), "") not in ACTIONS
    wonders = _WONDERING.match(meant) or asks or _FIRST_EVER.match(meant)
    return bool(wonders or (NEGATIONS.search(typed) and not _MOST.search(meant)))


def unclear(tool: Tool, text: str, meant: str) -> bool:
    """Whether a change is named with two values where it takes one, or in money that is not ours."""
    if tool.name in {"put_cap", "delete_cap"}:
        odd = re.search(r"\b(?:week|weekly|year|hour|hourly|per model)\b", meant)
        return bool(odd or _FOREIGN_MONEY.search(text)) or len(periods(meant)) > 1 or len(amounts(meant)) > 1
    runs = {word.typed for word in look_up(text).words if word.concept == "RUN_ID"}
    return tool.name == "cancel_fanout" and len(runs) > 1


def pronouns(tool: Tool, arguments: JsonView) -> tuple[str, str]:
    """Return what `it` and `its` mean after this call."""
    if "run_id" in arguments:
        return arguments["run_id"], arguments["run_id"]
    if "name" in arguments:
        named = f"{_KINDS.get(tool.method.service.rpartition('.')[2], 'endpoint')} {arguments['name']}"
        return named, named
    thing = tool.name.split("_")[-1].removesuffix("s")
    return (f"the {thing}", f"the {thing}") if thing in _POINTED else ("", "")


def lacks_its_thing(part: str) -> bool:
    """Whether a next step begins with what belongs to a thing that it does not name: `by model`."""
    return _BY.match(part) is not None


def leads(tool: Tool, part: str) -> Sequence[str]:
    """Return what a next step may have left out because this one has said it: the verb, or verb and thing."""
    verb, *things = tool.name.split("_")
    verb = {"put": "set", "get": "show"}.get(verb, verb)
    return [" ".join([verb, *things])] if lacks_its_thing(part) else [verb, " ".join([verb, *things])]


@cache
def _split(forms: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(form.strip().split("+")) for form in forms.split("|"))


def _forms(name: str, tool: Tool) -> Sequence[frozenset[str]]:
    """Return the tool's forms; one that has none here is meant by its name, with the verb of its own examples."""
    if name in _FORMS:
        return _split(_FORMS[name])
    said = [look_up(example).concepts - _WEAK - {""} for example in tool.examples]
    return [concepts for concepts in said if len(concepts) > 1]


def _left(concepts: frozenset[str]) -> frozenset[str]:
    """Return what a form has left out and must not: any order, and any thing."""
    return concepts - _WEAK - {"PERIOD", "MOST", "ASKS", "GROUPED", "RUNNING", "NAME"}
