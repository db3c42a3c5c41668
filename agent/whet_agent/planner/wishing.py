"""Sentences that want something better, cheaper or faster: what a sweep is to look for.

A wish that names its data set and is an order becomes a proposed sweep. One without a data set, one that is only
wondered about, or denied, is asked about: a sweep spends.
"""

import re
from dataclasses import replace
from typing import Any, Final

from whet_agent.planner.commands import PROPOSE
from whet_agent.planner.extract import NUMBERS, number_of
from whet_agent.planner.named import Named, names_in
from whet_agent.planner.plan import Plan, Propose, Say, Situation
from whet_agent.planner.words import NEGATIONS
from whet_agent.proposing import Goal, Part, Wish, parts_of

NIGHT_SECONDS: Final = 8 * 3600.0

_COUNT: Final = rf"(?:\d+|{'|'.join(NUMBERS)})"
_PLEASE: Final = re.compile(
    r"^(?:(?:please|pls|can you|could you|would you|i want (?:you )?to|i'd like (?:you )?to|let's|now|ok)[, ]+)+",
    re.IGNORECASE,
)
_PRICE: Final = re.compile(
    r"^(?:(?:what|how much) (?:would|will|does) it cost (?:me |us )?(?:to|if (?:i|we)) "
    r"|how expensive (?:is|would) it (?:be )?to "
    r"|(?:plan|estimate|price)(?: the cost of)? (?=(?:a |the |another )?(?:sweep|search|optimi[sz]ation)\b))",
    re.IGNORECASE,
)
_SUBJECT: Final = (
    r"(?:prompts?|templates?|wordings?|instructions?|settings?|configurations?|configs?|parameters?|temperatures?"
    r"|(?:\w+ )?models?|examples?|few-shots?)"
)
_ORDER: Final = re.compile(
    rf"(?:(?:find|look for|search for|get|give|suggest|propose|recommend)(?: me| us)? (?:out )?(?:an? |the |some )?"
    rf"(?:better|best|cheaper|cheapest|faster|fastest|quicker|other|optimal) {_SUBJECT}\b"
    rf"|(?:optimi[sz]e|improve|tune|vary|explore|sweep|try)\b"
    rf"|(?:start|run|launch|begin|kick off|make|do|propose)? ?(?:an?|another|the) (?:new )?(?:prompt |parameter )?"
    rf"(?:sweep|optimi[sz]ation)\b"
    rf"|(?:is it worth|would it pay|does it pay)\b.*\b(?:bigger|larger|better|dearer|other) models?\b)",
    re.IGNORECASE,
)
_SURE_ORDER: Final = re.compile(
    rf"(?:find|look for|search for)(?: me| us)? (?:an? |the )?(?:better|best|cheaper|cheapest|faster)"
    rf" {_SUBJECT}(?: (?:for|on) (?:(?:the|my|our) )?[\w-]+(?: (?!that)[\w-]+)?)?"
    r"(?: that is (?:no worse|just as good|as good))?\W*$"
    r"|(?:start|run|launch) (?:an?|another) sweep\b",
    re.IGNORECASE,
)
"""Without a data set these alone are ours; other wishes may be questions for models."""
_SWEEPING: Final = re.compile(rf"\bsweep(?:ing)? (?:over )?(?:the )?{_SUBJECT}\b", re.IGNORECASE)
"""Nobody else sweeps temperatures, whether it is ordered or wondered about."""
_OURS: Final = re.compile(rf"\b(?:sweep|better {_SUBJECT}|cheaper {_SUBJECT}|optimi[sz]e|tune)\b", re.IGNORECASE)
_FINE_NEGATIONS: Final = re.compile(
    r"\b(?:no|not|never) (?:any )?(?:worse|more than)\b|\bwithout (?:losing|loss|getting|being)\b[^,.]*"
    r"|\b(?:do not|don'?t) wait\b|\bwithout waiting\b|\bcannot tell\b",
    re.IGNORECASE,
)
BEHIND: Final = re.compile(
    r"\b(?:in the background|overnight|over night|(?:do not|don'?t) wait|without waiting)\b", re.IGNORECASE
)
_GOALS: Final[tuple[tuple[Goal, str], ...]] = (
    ("cheaper", r"\bcheap(?:er|est)?\b|\bsave money\b|\bless expensive\b|\bcosts? less\b"),
    ("faster", r"\b(?:faster|fastest|quicker|lower latency|less latency)\b"),
)
_PARTS: Final[tuple[tuple[Part, str], ...]] = (
    ("prompt", r"\b(?:prompts?|templates?|wordings?|instructions?)\b"),
    ("examples", r"\b(?:examples?|few-?shots?|shots)\b"),
    ("temperature", r"\btemperatures?\b"),
    ("model", r"\bmodels?\b"),
)
_SAMPLERS: Final = {
    "grid": r"\bgrid\b|\bevery combination\b|\ball combinations\b",
    "random": r"\brandom(?:ly)?\b|\bat random\b",
    "tpe": r"\btpe\b",
    "gaussian_process": r"\bgaussian\b|\bbayes(?:ian)?\b",
    "cma_es": r"\bcma(?:-es)?\b",
    "nsga_ii": r"\bnsga\b|\bgenetic\b",
    "guided_top_k": r"\bguided\b|\btop-k\b",
    "reflection": r"\breflect(?:ion|ing)?\b|\bgepa\b|\brewrit(?:e|ing)\b",
}
_TRIALS: Final = re.compile(rf"\b({_COUNT}) trials\b", re.IGNORECASE)
_FINAL: Final = re.compile(r"\bfinal (?:figure|number|score)\b|\bhold-?out\b", re.IGNORECASE)
_WITHIN: Final = re.compile(
    rf"\b(?:in|for|within|at most|up to) (?P<n>{_COUNT}|an?) (?P<unit>second|minute|hour)s?\b", re.IGNORECASE
)
_UNITS: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0}


def read(text: str, situation: Situation) -> Plan | None:
    """Return what a wish asks for; None for a sentence that is none."""
    bare = _PLEASE.sub("", text.strip())
    bare = _PRICE.sub("", bare)
    named = names_in(bare, known=situation.names)
    denied = NEGATIONS.search(_FINE_NEGATIONS.sub(" ", bare)) is not None
    ordered = _ORDER.match(bare) is not None and not denied
    if "dataset" not in named.found:
        if ordered and (_SURE_ORDER.match(bare) or _SWEEPING.search(bare)):
            return Propose(wish=wish_of(bare, named), said=bare)
        return _unsure("a better setting") if _SWEEPING.search(bare) else None
    if ordered:
        return Propose(wish=wish_of(bare, named))
    if _OURS.search(bare) and not re.match(r"(?:how|why|what|explain)\b", bare, re.IGNORECASE):
        return _unsure(f"a better prompt for the data set {named.found['dataset']}")
    return None


def _unsure(wish: str) -> Say:
    return Say(
        text=f"What do you mean? This? Answer yes, or say it otherwise.\n\n1. `/{PROPOSE} {wish}` – propose a sweep"
    )


def read_command(rest: str, situation: Situation) -> Propose:
    """Read what follows the command that proposes a sweep."""
    named = names_in(rest, known=situation.names)
    return Propose(wish=wish_of(rest, named), said=rest)


def wish_of(bare: str, named: Named) -> Wish:
    """Return what the words of a wish say."""
    found, rest = named.found, named.rest
    goal: Goal = next((goal for goal, pattern in _GOALS if re.search(pattern, rest, re.IGNORECASE)), "better")
    bigger = re.search(r"\b(?:bigger|larger|dearer) models?\b", rest, re.IGNORECASE) is not None
    trials = _TRIALS.search(bare)
    return Wish(
        dataset=found.get("dataset", ""),
        version=found.get("version", 0),
        limit=found.get("limit", 0),
        goal=goal,
        parts=_parts(rest, goal, several=len(found.get("model", ())) > 1),
        bigger=bigger,
        prompt=next(iter(found.get("quote", ())), ""),
        models=tuple(found.get("model", ())),
        scorers=tuple(found.get("scorer", ())),
        rubric=found.get("rubric", ""),
        money=found.get("cap", ""),
        trials=int(number_of(trials[1])) if trials else 0,
        seconds=_seconds(bare),
        sampler=next((kind for kind, pattern in _SAMPLERS.items() if re.search(pattern, rest, re.IGNORECASE)), ""),
        final=_FINAL.search(bare) is not None,
    )


def _parts(rest: str, goal: Goal, *, several: bool) -> frozenset[Part]:
    """Return what may change, as far as it is said. `a cheaper model` says it; `a better prompt` leaves it to the
    proposal, which also tries what is free to try with it.
    """
    said = {part for part, pattern in _PARTS if re.search(pattern, rest, re.IGNORECASE)}
    said |= {"model"} if several else set()
    if said == {"prompt"} and goal == "better" and not re.match(r"(?:sweep|vary)\b", rest, re.IGNORECASE):
        return frozenset()
    return frozenset(said)


def _seconds(bare: str) -> float:
    found = _WITHIN.search(bare)
    if found is None:
        return NIGHT_SECONDS if re.search(r"\bover ?night\b", bare, re.IGNORECASE) else 0.0
    count = 1.0 if found["n"].lower() in {"a", "an"} else number_of(found["n"])
    return count * _UNITS[found["unit"].lower()]


_WITHOUT: Final = re.compile(r"\b(?:without|no|not|never|don'?t|leave|keep|drop|fix)\b", re.IGNORECASE)
_ONLY: Final = re.compile(r"\b(?:only|just|alone)\b", re.IGNORECASE)
_CASES: Final = re.compile(rf"\b({_COUNT}) (?:cases|rows)\b", re.IGNORECASE)
_CHANGE_WORDS: Final = (
    "a add allow also alone an and as at be but by change closed cost do don't dont drop fewer few first fix fixed for "
    "give go have in instead it just keep leave less let limit make may me more most no not of ok on only open opened "
    "or out over please run same sampler sampling search set should so spend start that the then to try up use using "
    "vary want with within without yes"
)
"""Words that a change may have beside what it names; any other makes it something else."""


def changed(wish: Wish, text: str) -> Wish | None:
    """Return a wish with a change that was asked for; None when not all of its words are understood, or nothing would
    change.
    """
    named = names_in(text.strip().rstrip("."))
    rest, found = named.rest, named.found
    said = wish_of(text, Named(rest=rest, found=found))
    without, only = _WITHOUT.search(rest) is not None, _ONLY.search(rest) is not None
    cases = _CASES.search(text)
    changes: dict[str, Any] = {
        name: getattr(said, name)
        for name in (
            "version",
            "dataset",
            "prompt",
            "models",
            "scorers",
            "rubric",
            "money",
            "trials",
            "seconds",
            "sampler",
        )
        if getattr(said, name)
    }
    changes |= {"limit": said.limit or int(number_of(cases[1])) if cases else said.limit} if cases or said.limit else {}
    changes |= {"final": not without} if said.final else {}
    parts = frozenset(part for part, pattern in _PARTS if re.search(pattern, rest, re.IGNORECASE))
    if parts:
        now = parts_of(wish)
        changes["parts"] = now - parts if without else parts if only else now | parts
    elif said.models:
        now = parts_of(wish)
        changes["parts"] = now | {"model"} if len(said.models) > 1 else now - {"model"}
    for pattern in (BEHIND, _TRIALS, _WITHIN, _CASES, _FINAL, *(re.compile(each, re.IGNORECASE) for _, each in _PARTS)):
        rest = pattern.sub(" ", rest)
    for each in _SAMPLERS.values():
        rest = re.sub(each, " ", rest, flags=re.IGNORECASE)
    foreign = set(re.findall(r"[\w']+", rest.lower())) - set(_CHANGE_WORDS.split())
    after = replace(wish, **changes)
    return None if foreign or after == wish else after
