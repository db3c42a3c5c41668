"""Sentences about sweeps, their trials and webhooks.

A sentence means a tool when, its names taken out, every word that is left is one of ours and their concepts are exactly
those of one form. What changes something must be an order: it begins with its verb, and nothing in it is denied. What
is ours and not that clear is asked about.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from whet_agent.catalogue import Tool
from whet_agent.json_object import JsonObject
from whet_agent.planner import wishing
from whet_agent.planner.commands import usage_of
from whet_agent.planner.extract import NUMBERS, amounts, number_of
from whet_agent.planner.lexicon import Lexicon, ask_back
from whet_agent.planner.named import Named
from whet_agent.planner.plan import Call, Follow, GiveMore, Plan, Say, Situation
from whet_agent.planner.words import NEGATIONS

_CONCEPTS: Final[Mapping[str, str]] = {
    "ADD": "add create register make put",
    "CALL": "call notify tell",
    "CANCEL": "cancel abort kill",
    "CASES": "case cases",
    "COMPARE": "compare",
    "DELIVERIES": "delivery deliveries delivered arrive arrived sent",
    "DIFFER": "differ differs differing worse regressed disagree",
    "ENDS": "ends ended finishes",
    "EXPORT": "export download save",
    "FOUND": "find found finds verdict result results outcome better going doing progress progressing far left"
    " come comes came happened",
    "FRONT": "pareto front",
    "GIVE": "give let allow grant",
    "HOOK": "webhook hook",
    "HOOKS": "webhooks hooks",
    "LATELY": "deliveries",
    "MONEY": "budget money dollar dollars cents",
    "NARROW": "narrow",
    "PAUSE": "pause suspend hold",
    "RAISE": "raise increase lower reduce set change",
    "REMOVE": "remove delete drop",
    "REPORT": "report",
    "RESUME": "resume continue unpause",
    "RUN": "run",
    "SHOW": "show list see display view get look print",
    "STOP": "stop halt end finish",
    "SWAP": "swap",
    "SWEEP": "sweep experiment search",
    "SWEEPS": "sweeps experiments",
    "TEST": "test check work works working ping",
    "TRIALS": "trial trials leaderboard",
    "WATCH": "watch follow following tail",
    "WIDEN": "widen",
    "WINNER": "winner best baseline configuration config",
    "WRITE": "write",
}
_MORE_FILLERS: Final = (
    "enough so yet until how's far at once other what's many better happen still actually side cases? when before"
)
_WEAK: Final = frozenset({"SHOW", "FILLER", "MARK"})

_FORMS: Final[Mapping[str, str]] = {
    "get_sweep": "SWEEP? FOUND MONEY? WINNER? TRIALS? | SWEEP? MONEY FOUND? | SWEEP | WINNER SWEEP | SWEEP STOP",
    "watch_sweep": "WATCH SWEEP? ENDS?",
    "list_sweeps": "SWEEPS RUN? | SWEEPS FOUND",
    "control_sweep": "PAUSE SWEEP? | RESUME SWEEP? | STOP SWEEP? FOUND? | CANCEL SWEEP? "
    "| GIVE SWEEP? MONEY? RUN? TRIALS? | RAISE MONEY? SWEEP? TRIALS? CASES? | GIVE? RUN SWEEP? TRIALS? CASES?",
    "follow_up": "NARROW SWEEP? | WIDEN SWEEP? | SWAP SWEEP?",
    "export_sweep": "EXPORT WINNER? SWEEP? TRIALS? | WINNER | GIVE WINNER SWEEP?",
    "report_sweep": "REPORT SWEEP? WRITE?",
    "list_trials": "TRIALS SWEEP? WINNER? | FRONT SWEEP? TRIALS?",
    "list_cases": "WINNER? DIFFER SWEEP? CASES? | COMPARE TRIALS SWEEP? CASES? | CASES TRIALS? DIFFER SWEEP? "
    "| CASES SWEEP?",
    "put_hook": "ADD HOOK SWEEP? ENDS? SWEEPS? | CALL HOOK? SWEEP? ENDS",
    "list_hooks": "HOOKS",
    "delete_hook": "REMOVE HOOK",
    "test_hook": "TEST HOOK | HOOK TEST",
    "list_deliveries": "DELIVERIES HOOK? HOOKS? | LATELY HOOK? HOOKS? | HOOK DELIVERIES",
}
"""Which concepts together mean which tool; those with a question mark may be there."""

_WORDS: Final = Lexicon(_CONCEPTS, _MORE_FILLERS, _FORMS)
TOOLS: Final = frozenset(_FORMS.keys() - {"follow_up"}) | {"plan_sweep", "sweep"}
_OURS: Final = frozenset({"SWEEP", "SWEEPS", "HOOK", "HOOKS", "TRIALS", "FRONT", "LATELY"})
"""Concepts of which one makes a sentence ours; without them only a sweep that was just spoken of does."""
_CHANGES: Final = frozenset({"control_sweep", "follow_up", "put_hook", "delete_hook", "test_hook"})
_ORDERS: Final = frozenset(
    {
        "ADD",
        "CALL",
        "CANCEL",
        "GIVE",
        "NARROW",
        "PAUSE",
        "RAISE",
        "REMOVE",
        "RESUME",
        "RUN",
        "STOP",
        "SWAP",
        "TEST",
        "WIDEN",
    }
)
_ACTIONS: Final = {"PAUSE": "pause", "RESUME": "resume", "STOP": "stop", "CANCEL": "cancel"}
_STEPS: Final = {"NARROW": "narrow", "WIDEN": "widen", "SWAP": "swap"}
_POLITE: Final = re.compile(
    r"^(?:(?:please|pls|can you|could you|would you|i want (?:you )?to|i'd like to|let's|now|and|ok)[, ]+)+",
    re.IGNORECASE,
)
_OF_THE_WORLD: Final = re.compile(
    r"what (?:is|are|does|do) an? |how (?:do|does|should|would) (?:i|you|we|one|people|an?)\b"
    r"|(?:why|who|explain|define)\b",
    re.IGNORECASE,
)
_WHY: Final = re.compile(
    r"(?:and |but )?why(?: (?:is|was) (?:that|this|it)(?: so| the best| best| better)?)?\W*", re.IGNORECASE
)
"""After a sweep: what its verdict stands on."""
_WONDERED: Final = re.compile(r"(?:when|should|may|might|if|why|how|would|do)\b", re.IGNORECASE)
_RUN: Final = r"(?:\bsweep )?\b(?P<it>swp_[0-9a-z]*\d[0-9a-z]*)\b"
_NAME: Final = r"(?P<it>[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)"
_NOT_NAMES: Final = (
    "a an the my our this that arrive arrived work works when called named at for to in is there which with and please "
    "now did does all again deliveries delivered ends as"
)
"""Words that stand beside `webhook` and name none."""
_COUNT: Final = rf"(?:\d+|{'|'.join(NUMBERS)})"
_WORD: Final = re.compile(r"[\w'’-]+|[^\w\s]")
_ALIKE: Final = (
    (re.compile(r"\bgo(?:ing)? on(?: with)?\b|\bcarry on(?: with)?\b", re.IGNORECASE), "resume"),
    (re.compile(r"\bweb[- ]hook(s?)\b", re.IGNORECASE), r"webhook\1"),
    (
        re.compile(r"\bcase by case\b|\bat once\b(?!.*\bat once\b)", re.IGNORECASE),
        lambda m: "cases" if m[0][0] in "cC" else "",
    ),
)


def read(text: str, situation: Situation, tools: Mapping[str, Tool]) -> Plan | None:
    """Return what a sentence about sweeps asks for; None for one that is not about them, or not surely."""
    bare = _POLITE.sub("", text.strip())
    wished = wishing.read(bare, situation)
    if wished is not None:
        return wished
    pointed = situation.last_run.startswith("swp_")
    if pointed and _WHY.fullmatch(bare):
        return Call(tool="get_sweep", arguments={"run_id": situation.last_run})
    named = _names_in(bare)
    said = [_WORDS.concept(word) for word in _WORD.findall(named.rest)]
    said += ["SWEEP"] if "run" in named.found else []
    concepts = frozenset(concept for concept in said if concept) - _WEAK
    ours = bool(concepts & _OURS) or "run" in named.found
    if not (ours or pointed) or _OF_THE_WORLD.match(bare):
        return None
    if said.count(""):
        sure = "run" in named.found or bool(concepts & {"HOOK", "HOOKS", "SWEEPS"})
        return _ask_back(_WORDS.nearest(concepts), tools) if sure and said.count("") <= 2 else None
    return _meant(named, said, concepts, situation, bare, tools) if ours or concepts else None


def _meant(
    named: Named,
    said: Sequence[str],
    concepts: frozenset[str],
    situation: Situation,
    bare: str,
    tools: Mapping[str, Tool],
) -> Plan | None:
    """Return the call of a sentence in which no word is foreign, or ask which is meant."""
    fitting = [name for name in _FORMS if _WORDS.fits(name, concepts)]
    fitting = _chosen(fitting, named, concepts)
    if len(fitting) != 1:
        ours = bool(concepts & _OURS) or "run" in named.found
        return _ask_back(fitting or _WORDS.nearest(concepts), tools) if ours else None
    if fitting[0] in _CHANGES and not _is_ordered(said, bare):
        return _ask_back([fitting[0]], tools)
    return _planned(fitting[0], named, concepts, situation, bare, tools)


def _names_in(text: str) -> Named:
    """Take runs, webhooks, trials, sums, filters and formats out of a sentence."""
    for pattern, alike in _ALIKE:
        text = pattern.sub(alike, text)
    named = Named(rest=text.strip().rstrip(".!?"))
    named.take("run", _RUN, lambda m: m["it"].lower())
    named.take(
        "format",
        r"\b(?:as|in|to)? ?(?:an? )?(?P<it>json|yaml|env|html|markdown)(?: files?)?\b",
        lambda m: m["it"].lower(),
    )
    named.take("url", r"\b(?:at |to )?(?P<it>https?://[^\s,;]+)", lambda m: m["it"])
    named.take("name", rf"(?P<keep>\bhook |\bwebhook )(?:called |named )?{_NAME}\b", _name)
    named.take("name", rf"\b(?:as|called|named) {_NAME}(?=\W*$| (?:at|for|to)\b)", _name)
    named.take("trials", r"\b(?P<keep>trials? )(?P<it>\d+(?:(?:,| and|, and) \d+)*)\b", _numbers)
    named.take("count", rf"\b(?P<it>{_COUNT})(?: more)?(?P<keep> trials)\b", lambda m: int(number_of(m["it"])))
    named.take("concurrency", rf"\b(?:with )?(?P<it>{_COUNT})(?P<keep> cases)\b", lambda m: int(number_of(m["it"])))
    if money := amounts(re.sub(r"\bmore (?=dollars?|cents?)", "", named.rest)):
        amount = rf"(?:\$ ?[\d.]+|{_COUNT}(?:\.\d+)?(?: more)? (?:dollars?|cents?))"
        named.take("more", rf"{amount}(?= more)|(?<!\w)(?=\S+ more){amount}", lambda _: money[0])
        named.take("money", rf"\b(?:to |at most |up to )*{amount}|{amount}", lambda _: money[0])
    named.take(
        "order", r"\b(?:the )?(?P<it>cheapest|fastest)\b", lambda m: {"c": "cost", "f": "latency"}[m["it"][0].lower()]
    )
    states = r"running|pruned|complete|failed|cancelled|succeeded|partial|delivered|waiting"
    named.take("state", rf"\b(?:that |which )?(?:are |were |have |was )?(?P<it>{states})\b", lambda m: m["it"].lower())
    return named


def _name(match: "re.Match[str]") -> str | None:
    name = match["it"].lower()
    return None if name in _NOT_NAMES.split() else name


def _numbers(match: "re.Match[str]") -> list[int]:
    return [int(number) for number in re.findall(r"\d+", match["it"])]


def _chosen(fitting: Sequence[str], named: Named, concepts: frozenset[str]) -> list[str]:
    """Return the tools that are left when the names have decided."""
    left, found = list(fitting), named.found.keys()
    for one, other, first in (
        ("export_sweep", "get_sweep", "format" in found),
        ("export_sweep", "list_trials", "format" in found),
        ("list_cases", "list_trials", "CASES" in concepts or "DIFFER" in concepts),
        ("control_sweep", "list_cases", bool(found & {"concurrency", "money", "more", "count"})),
        ("control_sweep", "get_sweep", "STOP" in concepts),
        ("control_sweep", "list_trials", "count" in found),
    ):
        if one in left and other in left:
            left.remove(other if first else one)
    return left


def _is_ordered(said: Sequence[str], bare: str) -> bool:
    """Whether a change is plainly asked for: not denied, not wondered about."""
    if NEGATIONS.search(bare):
        return False
    if bare.rstrip().endswith("?"):
        return _asks_to_test(bare)
    first = next((concept for concept in said if concept not in {"FILLER", "MARK"}), "")
    return first in _ORDERS and not _WONDERED.match(bare)


def _asks_to_test(bare: str) -> bool:
    """Whether it is asked whether something works: trying it is the answer."""
    return re.match(r"(?:does|is)\b.*\bwork", bare, re.IGNORECASE) is not None


def _planned(
    tool: str, named: Named, concepts: frozenset[str], situation: Situation, bare: str, tools: Mapping[str, Tool]
) -> Plan:
    found: dict[str, Any] = named.found
    run_id = _run(found, concepts, situation)
    if tool in _OF_A_SWEEP and not run_id:
        return _lacking("control_sweep" if tool == "follow_up" else tool, "which sweep", tools)
    if tool == "follow_up":
        return Follow(run_id=run_id, step=next(_STEPS[concept] for concept in concepts if concept in _STEPS))
    if tool == "control_sweep" and "more" in found:
        return GiveMore(run_id=run_id, money=found["more"])
    arguments, lacking = _FILLED[tool](found, concepts, bare)
    if lacking:
        return _lacking(tool, lacking, tools)
    return Call(tool=tool, arguments=({"run_id": run_id} if tool in _OF_A_SWEEP else {}) | arguments)


def _run(found: Mapping[str, Any], concepts: frozenset[str], situation: Situation) -> str:
    """Return the sweep that is meant: the one that is named, the last one of the conversation where a word says so, or
    the last run where it is a sweep.
    """
    if "run" in found:
        return str(found["run"])
    if concepts & _OURS:
        return situation.last("swp_")
    return situation.last_run if situation.last_run.startswith("swp_") else ""


def _lacking(tool: str, what: str, tools: Mapping[str, Tool]) -> Say:
    return Say(
        text=f"I understand `{tool}`, but not {what}? Say it in the same sentence, or type {usage_of(tools[tool])}"
    )


def _ask_back(names: Sequence[str], tools: Mapping[str, Tool]) -> Say:
    return ask_back([name for name in names if name in tools] or ["list_sweeps"], tools)


_Found = Mapping[str, Any]
_Filled = tuple[JsonObject, str]
"""The arguments, and what is lacking in words."""


def _nothing(_: _Found, __: frozenset[str], ___: str) -> _Filled:
    return {}, ""


def _only(*fields: str) -> Callable[[_Found, frozenset[str], str], _Filled]:
    """Return what fills a call with some of the names as they are."""

    def fill(found: _Found, _: frozenset[str], __: str) -> _Filled:
        return {field: found[field] for field in fields if field in found}, ""

    return fill


def _control(found: _Found, concepts: frozenset[str], _: str) -> _Filled:
    if action := next((_ACTIONS[concept] for concept in concepts if concept in _ACTIONS), ""):
        return {"action": action}, ""
    budget = {"money": found["money"]} if "money" in found else {}
    budget |= {"trials": found["count"]} if "count" in found else {}
    retune: JsonObject = {"budget": budget} if budget else {}
    retune |= {"concurrency": found["concurrency"]} if "concurrency" in found else {}
    return (
        ({"action": "retune", "retune": retune}, "")
        if retune
        else ({}, "what to change: money, trials or cases at once")
    )


def _export(found: _Found, _: frozenset[str], __: str) -> _Filled:
    arguments: JsonObject = {"trial": found["trials"][0]} if "trials" in found else {}
    return arguments | ({"format": found["format"]} if "format" in found else {}), ""


def _leaderboard(found: _Found, concepts: frozenset[str], _: str) -> _Filled:
    arguments: JsonObject = {"front": True} if "FRONT" in concepts else {}
    return arguments | {field: found[field] for field in ("order", "state") if field in found}, ""


def _compared(found: _Found, concepts: frozenset[str], _: str) -> _Filled:
    arguments: JsonObject = {"trials": found["trials"]} if "trials" in found else {}
    return arguments | ({"differing": True} if "DIFFER" in concepts else {}), ""


def _put_hook(found: _Found, _: frozenset[str], __: str) -> _Filled:
    if "name" not in found or "url" not in found:
        return {}, "which name and which address"
    return {"name": found["name"], "url": found["url"]}, ""


def _hook(found: _Found, _: frozenset[str], __: str) -> _Filled:
    return ({"name": found["name"]}, "") if "name" in found else ({}, "which webhook")


def _deliveries(found: _Found, _: frozenset[str], __: str) -> _Filled:
    arguments = {"hook": found["name"]} if "name" in found else {}
    return arguments | ({"state": found["state"]} if "state" in found else {}), ""


_OF_A_SWEEP: Final = frozenset(
    {
        "get_sweep",
        "watch_sweep",
        "control_sweep",
        "follow_up",
        "export_sweep",
        "report_sweep",
        "list_trials",
        "list_cases",
    }
)
_FILLED: Final[Mapping[str, Callable[[_Found, frozenset[str], str], _Filled]]] = {
    "get_sweep": _nothing,
    "watch_sweep": _nothing,
    "list_sweeps": _only("state"),
    "control_sweep": _control,
    "export_sweep": _export,
    "report_sweep": _only("format"),
    "list_trials": _leaderboard,
    "list_cases": _compared,
    "put_hook": _put_hook,
    "list_hooks": _nothing,
    "delete_hook": _hook,
    "test_hook": _hook,
    "list_deliveries": _deliveries,
}
