"""Sentences that want something better, cheaper or faster: what a sweep is to look for.

A wish that names its data set and is an order becomes a proposed sweep. One without a data set, one that is only
wondered about, or denied, is asked about: a sweep spends.
"""

import re
from typing import Final

from whet_agent.planner.commands import PROPOSE
from whet_agent.planner.extract import NUMBERS, number_of
from whet_agent.planner.named import Named, names_in
from whet_agent.planner.plan import Plan, Propose, Say, Situation
from whet_agent.planner.words import NEGATIONS
from whet_agent.proposing import Goal, Part, Wish

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
    rf"(?:find|look for|search for)(?: me| us)? (?:an? |the )?(?:better|best|cheaper|cheapest|faster) {_SUBJECT}"
    rf"(?: for the \w+)?(?: that is (?:no worse|just as good|as good))?\W*$"
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
_BEHIND: Final = re.compile(
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
_UNITS: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0}


def read(text: str, situation: Situation) -> Plan | None:
    """Return what a wish asks for; None for a sentence that is none."""
    bare = _PLEASE.sub("", text.strip())
    price = _PRICE.match(bare)
    bare = bare[price.end() :] if price else bare
    named = names_in(bare, known=situation.names)
    denied = NEGATIONS.search(_FINE_NEGATIONS.sub(" ", bare)) is not None
    ordered = _ORDER.match(bare) is not None and not denied
    if "dataset" not in named.found:
        if (ordered and _SURE_ORDER.match(bare)) or _SWEEPING.search(bare):
            return Say(
                text="Over which data set? Name it in the same sentence, or type `/datasets` to see which there are."
            )
        return None
    if ordered:
        return Propose(wish=wish_of(bare, named), only_plan=price is not None, behind=_BEHIND.search(bare) is not None)
    if _OURS.search(bare) and not re.match(r"(?:how|why|what|explain)\b", bare, re.IGNORECASE):
        return Say(
            text="What do you mean? This? Answer yes, or say it otherwise.\n\n"
            f"1. `/{PROPOSE} a better prompt for the data set {named.found['dataset']}` – propose a sweep"
        )
    return None


def read_command(rest: str, situation: Situation) -> Plan:
    """Read what follows the command that proposes a sweep."""
    named = names_in(rest, known=situation.names)
    if "dataset" not in named.found:
        return Say(text=f"`/{PROPOSE}`: over which data set? `/{PROPOSE} a cheaper model for the data set NAME`")
    return Propose(wish=wish_of(rest, named), behind=_BEHIND.search(rest) is not None)


def wish_of(bare: str, named: Named) -> Wish:
    """Return what the words of a wish say."""
    found, rest = named.found, named.rest
    goal: Goal = next((goal for goal, pattern in _GOALS if re.search(pattern, rest, re.IGNORECASE)), "better")
    bigger = re.search(r"\b(?:bigger|larger|dearer) models?\b", rest, re.IGNORECASE) is not None
    trials = re.search(rf"\b({_COUNT}) trials\b", bare, re.IGNORECASE)
    return Wish(
        dataset=found["dataset"],
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
        final=re.search(r"\bfinal (?:figure|number|score)\b|\bhold-?out\b", bare, re.IGNORECASE) is not None,
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
    found = re.search(
        rf"\b(?:in|for|within|at most|up to) (?P<n>{_COUNT}|an?) (?P<unit>second|minute|hour)s?\b", bare, re.IGNORECASE
    )
    if found is None:
        return NIGHT_SECONDS if re.search(r"\bover ?night\b", bare, re.IGNORECASE) else 0.0
    count = 1.0 if found["n"].lower() in {"a", "an"} else number_of(found["n"])
    return count * _UNITS[found["unit"].lower()]
