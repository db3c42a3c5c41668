"""Find the arguments of a call in a sentence: money, times, runs, names. Each finder knows one field."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from whet_agent.catalogue import Tool
from whet_agent.json_object import JsonObject, JsonView
from whet_agent.planner.plan import Situation

_WORDS: Final = "zero one two three four five six seven eight nine ten eleven twelve"
NUMBERS: Final = {word: number for number, word in enumerate(_WORDS.split())} | {
    "fifteen": 15,
    "twenty": 20,
    "thirty": 30,
    "fifty": 50,
    "hundred": 100,
}

_COUNT: Final = rf"(?:\d+(?:\.\d+)?|{'|'.join(NUMBERS)})"
_MONEY: Final = re.compile(
    rf"\$\s*(?P<a>\d+(?:\.\d+)?)|\b(?P<b>{_COUNT})\s*(?P<unit>dollars?|usd|bucks?|cents?|\$)", re.IGNORECASE
)
RUN_ID: Final = re.compile(r"\b(?!apr_|ses_|rsv_|put_|get_|list_)[a-z]{2,6}_[0-9a-z]*\d[0-9a-z]*\b", re.IGNORECASE)
_APPROVAL_ID: Final = re.compile(r"\bapr_[0-9a-z]+\b", re.IGNORECASE)
_THAT_RUN: Final = re.compile(
    r"\b(?:last|latest|previous|that|this|same|running|current|the) (?:\w+ )?"
    r"(?:run|fan-?out|trace|question|one|record)\b|\b(?:it|that|this)\b(?=\W*$)|^(?:last|latest)$",
    re.IGNORECASE,
)
_URL: Final = re.compile(r"\bhttps?://[^\s,;]+", re.IGNORECASE)
_KEY: Final = re.compile(r"\bkey(?: is|:|=)?\s+(?P<key>\S{8,})", re.IGNORECASE)
_PER_MINUTE: Final = re.compile(
    rf"\b(?P<n>{_COUNT})\s*(?P<what>requests|calls|tokens)\s*(?:per|a|/)\s*min", re.IGNORECASE
)
_SIZE: Final = re.compile(rf"\b(?:last|latest|newest|first|top)\s+(?P<n>{_COUNT})\b", re.IGNORECASE)


def number_of(word: str) -> float:
    return float(NUMBERS[word.lower()]) if word.lower() in NUMBERS else float(word)


def money(text: str, _: Situation) -> str | None:
    found = amounts(text)
    return found[0] if found else None


def amounts(text: str) -> list[str]:
    """Return every amount that is named, in dollars, each once."""
    return list(dict.fromkeys(_dollars(found) for found in _MONEY.finditer(text)))


def _dollars(found: re.Match[str]) -> str:
    amount = number_of(found["a"] or found["b"])
    if (found["unit"] or "").lower().startswith("cent"):
        amount /= 100
    return f"${amount:.9f}".rstrip("0").rstrip(".")


def period(text: str, _: Situation) -> str | None:
    return next(iter(periods(text)), None)


def periods(text: str) -> list[str]:
    """Return the periods that are named."""
    named = (("day", r"\b(?:days?|daily|today)\b"), ("month", r"\b(?:months?|monthly)\b"))
    return [word for word, pattern in named if re.search(pattern, text, re.IGNORECASE)]


def run_id(text: str, situation: Situation) -> str | None:
    found = RUN_ID.search(text)
    if found is not None:
        return found[0]
    return situation.last_run or None if _THAT_RUN.search(text) else None


def approval_id(text: str, _: Situation) -> str | None:
    found = _APPROVAL_ID.search(text)
    return found[0] if found else None


def url(text: str, _: Situation) -> str | None:
    found = _URL.search(text)
    return found[0] if found else None


def key(text: str, _: Situation) -> str | None:
    found = _KEY.search(text)
    return found["key"] if found else None


def limits(text: str, _: Situation) -> Mapping[str, int] | None:
    found = _PER_MINUTE.search(text)
    if found is None:
        return None
    what = "tokens_per_minute" if found["what"].lower() == "tokens" else "requests_per_minute"
    return {what: int(number_of(found["n"]))}


def group(text: str, _: Situation) -> str | None:
    found = re.search(r"\b(?:by|per|each|every|which) (model|run|day)\b", text, re.IGNORECASE)
    return found[1].lower() if found else None


def start_time(text: str, _: Situation) -> str | None:
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for pattern, start in (
        (r"\btoday\b", midnight),
        (r"\byesterday\b", midnight - timedelta(days=1)),
        (r"\b(?:this|last) week\b", midnight - timedelta(days=7)),
        (r"\bthis month\b", midnight.replace(day=1)),
    ):
        if re.search(pattern, text, re.IGNORECASE):
            return start.strftime("%Y-%m-%dT%H:%M:%SZ")
    return None


def state(text: str, _: Situation) -> str | None:
    words = {
        "running": r"running|under way|active",
        "failed": r"failed|broken",
        "cancelled": r"cancell?ed",
        "pending": r"pending|open|undecided",
        "granted": r"granted|approved",
        "rejected": r"rejected",
        "succeeded": r"succeeded",
    }
    return next(
        (name for name, pattern in words.items() if re.search(rf"\b(?:{pattern})\b", text, re.IGNORECASE)), None
    )


def billing(text: str, _: Situation) -> str | None:
    return next(
        (name for name in ("unknown", "reserved", "settled") if re.search(rf"\b{name}\b", text, re.IGNORECASE)), None
    )


def page(text: str, _: Situation) -> Mapping[str, int] | None:
    found = _SIZE.search(text)
    return {"size": int(number_of(found["n"]))} if found else None


_FINDERS: Final[Mapping[str, Callable[[str, Situation], object]]] = {
    "api_key": key,
    "approval_id": approval_id,
    "base_url": url,
    "billing": billing,
    "cap_id": period,
    "group": group,
    "limit": money,
    "limits": limits,
    "page": page,
    "period": period,
    "run_id": run_id,
    "start_time": start_time,
    "state": state,
}


def arguments(tool: Tool, text: str, situation: Situation, *, name: str = "") -> JsonObject:
    """Return what the sentence says of the tool's fields. `name` is the endpoint that it names."""
    found: JsonObject = {field: name for field in ("name", "endpoint") if name and field in tool.schema["properties"]}
    for field, schema in tool.schema["properties"].items():
        finder = _FINDERS.get(field)
        value = finder(text, situation) if finder else None
        if value is not None and value in schema.get("enum", [value]):
            found[field] = value
    if tool.effect == "reads" and "run_id" in tool.schema.get("required", ()) and situation.last_run:
        found.setdefault("run_id", situation.last_run)  # whoever shows a run without a name means the last one
    return found


def missing(tool: Tool, found: JsonView) -> list[str]:
    """Return the fields that the tool needs and the sentence does not give."""
    needed = list(tool.schema.get("required", ()))
    if tool.name == "put_endpoint" and "limits" not in found:
        needed.append("base_url")  # the contract lets a change leave it out; a new endpoint is nothing without it
    return [name for name in needed if name not in found]
