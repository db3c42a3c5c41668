"""What a sentence about judging names: data sets, rubrics, models, scorers, runs, shares, files.

Each finder takes what it finds out of the sentence, so that the words left over are those of the order itself. Names
that only the person knows are found by their place (`the data set X`, `X rubric`), or because the conversation has had
them.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from whet_agent.planner.extract import NUMBERS, amounts, number_of

SCORERS: Final[Mapping[str, str]] = {
    "exact match": "exact",
    "exact": "exact",
    "rouge-1": "overlap:rouge_1",
    "rouge-2": "overlap:rouge_2",
    "rouge-l": "overlap:rouge_l",
    "rouge": "overlap:rouge_l",
    "token f1": "overlap:token_f1",
    "f1": "overlap:token_f1",
    "bleu": "overlap:bleu",
    "chrf": "overlap:chrf",
    "ter": "overlap:ter",
    "levenshtein": "overlap:levenshtein",
    "jaro-winkler": "overlap:jaro_winkler",
    "embeddings": "embedding",
    "embedding": "embedding",
    "cosine": "embedding",
    "numeric": "numeric",
    "choice": "choice",
    "json": "json",
}
"""What people call scorers that need no setting, and the names that the contract knows them by."""
AXES: Final[Mapping[str, str]] = {
    "position": "position",
    "order": "position",
    "length": "length",
    "verbosity": "length",
    "self-preference": "self_preference",
    "formatting": "formatting",
    "sycophancy": "sycophancy",
    "injections": "injection",
    "injection": "injection",
}
"""What people call the axes of an audit."""

_ALIKE: Final = (
    (re.compile(r"\bdata[- ]set(s?)\b", re.IGNORECASE), r"dataset\1"),
    (re.compile(r"\bhold[- ]out\b", re.IGNORECASE), "holdout"),
    (re.compile(r"\bself preference\b", re.IGNORECASE), "self-preference"),
    (re.compile(r"\brouge (?=[12l]\b)", re.IGNORECASE), "rouge-"),
    (re.compile(r"\bfan[- ]out\b", re.IGNORECASE), "fanout"),
)
_BUILT_IN: Final = "problem-solving|answer-quality"
"""Rubrics that are always there and whose names are no other words."""
_MODEL: Final = r"(?=[^/\s]*[a-z])[a-z0-9-]+/[^\s,;:?!]+(?:\?\w+=[^\s,;?!]*[^\s,;:?!.])?"
"""A model, with the settings of a simulated one: without them it would be another judge."""
_SET: Final = (
    r"(?:contains|keywords|regex|markdown|length|numeric|choice|embedding|latency|cost|overlap|remote):\S*[^\s,.;]"
)
"""A scorer with its argument."""
_NAME: Final = r"(?P<name>[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)"
_BESIDE: Final = (
    "a an the my our this that these those which what is are be as at by for from in into of on to with and or has "
    "have i we you it there all any last first version split splits row rows column columns judge judges rubric "
    "rubrics dataset datasets please now then do does did can could may will would train dev holdout seal sealed tag "
    "file named called against using so say says good instead again better works using when like if but "
    "everything them me us myself one some more"
)
"""Words that stand beside `data set` or `rubric` and name nothing."""
_BY: Final = r"(?:\b(?:with|by|against|using) )?(?:\bthe )?"
_MODEL: Final = r"[a-z0-9-]+/[^\s,;:?!]+(?:\?\w+=[^\s,;:?!]+)?"
"""`sim/judge`, also with what a simulated model is told: `sim/judge?noise=0.05`."""
_FRACTIONS: Final = {"half": 0.5, "third": 1 / 3, "quarter": 0.25, "fifth": 0.2, "tenth": 0.1}
_TRAIN_OF_REST: Final = 0.75
"""Of what is not held out, as much is for training as where nobody says otherwise: three parts of four."""
_COUNT: Final = rf"(?:\d+|{'|'.join(NUMBERS)})"

_Value = Callable[["re.Match[str]"], Any]


@dataclass(slots=True, kw_only=True)
class Named:
    """A sentence whose names have been taken out. `rest` are the words that are left."""

    rest: str
    found: dict[str, Any] = field(default_factory=dict)

    def take(self, kind: str, pattern: str, value: _Value) -> None:
        """Take the first match with a value out of the sentence, but for its group `keep`."""
        if kind not in self.found and (got := self._cut(pattern, value)) is not None:
            self.found[kind] = got

    def take_all(self, kind: str, pattern: str, value: _Value) -> None:
        """Take every match with a value, as a list."""
        while (got := self._cut(pattern, value)) is not None:
            self.found.setdefault(kind, []).append(got)

    def _cut(self, pattern: str, value: _Value) -> Any:
        for match in re.finditer(pattern, self.rest, re.IGNORECASE | re.DOTALL):
            if (got := value(match)) is not None:
                kept = match.groupdict().get("keep") or ""
                self.rest = f"{self.rest[: match.start()]} {kept} {self.rest[match.end() :]}"
                return got
        return None


def names_in(text: str, *, known: Collection[str] = ()) -> Named:
    """Take the names out of a sentence. `known` are names that the conversation has had."""
    for pattern, alike in _ALIKE:
        text = pattern.sub(alike, text)
    named = Named(rest=text.strip().rstrip(".!"))
    named.take("text", r"(?P<keep>rubric[^:=]*):\s*(?P<it>\w.*=.*)", _it)
    named.take_all("quote", r"[\"“](?P<it>[^\"”]+)[\"”](?=$|[\s,.:])", _it)
    named.take("reason", r"\b(?:because|since|reason:|for the reason that)\s+(?P<it>\S.*)$", _it)
    named.take("file", r"(?:\bthe file )?(?P<it>[~.]{0,2}[\w/.-]*[\w-]\.(?:jsonl|ndjson|csv|parquet))\b", _it)
    for kind, prefix in (("judgement", "jud"), ("audit", "aud"), ("fanout", "fan")):
        named.take(kind, rf"\b(?P<it>{prefix}_[0-9a-z]*\d[0-9a-z]*)\b", _it)
    named.take("tag", rf"\b(?P<keep>tag .*?)\b(?:as|with) {_NAME}(?=\W*$)", _name)
    named.take("tag", rf"\b(?P<keep>tag ){_NAME}(?= (?:from|to|of|off)\b)", _name)
    named.take("version", r"\b(?:in )?(?:version |v)(?P<n>\d+)\b|(?<=\w)@(?P<m>\d+)\b", lambda m: int(m["n"] or m["m"]))
    _take_numbers(named)
    _take_names(named, {name.lower() for name in known})
    _take_settings(named)
    return named


def _take_numbers(named: Named) -> None:
    number = r"\d+(?:\.\d+)?"
    between = r"(?:[\s/,:%-]|percent|and)+"
    named.take("shares", rf"(?:into )?\b({number}){between}({number}){between}({number})\b ?%?", _shares)
    part = rf"\b(?:(?:an?|one) (?P<f>{'|'.join(_FRACTIONS)})|(?P<n>\d+) ?(?:%|percent))"
    named.take(
        "shares",
        rf"{part}(?=.*\bholdout\b)|(?P<keep>\bholdout) {part.replace('<f', '<f2').replace('<n', '<n2')}",
        _part,
    )
    if money := amounts(named.rest):
        amount = r"(?:\$\s*[\d.]+|[\d.]+ (?:dollars?|cents?))"
        named.take("cap", rf"\b(?:for |and )?(?:spend )?(?:at most|up to|no more than)? *{amount}", lambda _: money[0])
    bar = r"\b(?:at|above|over|of at least|at least|(?:the|a) bar of|bar|with) +(?P<it>[01]?\.\d+|[01]|\d+ ?%)(?![\w.])"
    named.take("bar", bar, lambda m: _share(m["it"]))
    named.take("limit", rf"\b(?:the )?(?:first|top) (?P<it>{_COUNT})\b", lambda m: int(number_of(m["it"])))
    named.take("limit", rf"\b(?P<it>{_COUNT})(?P<keep> (?:rows|lines|examples))\b", lambda m: int(number_of(m["it"])))


def _take_names(named: Named, known: Collection[str]) -> None:
    named.take_all("model", rf"(?:\b(?:with|by|using|and) )?\b(?P<it>{_MODEL})", _it)
    named.take("rubric", rf"{_BY}\b(?P<keep>rubric )(?:called |named )?{_NAME}\b", _name)
    named.take("rubric", rf"{_BY}\b{_NAME}(?P<keep> rubric)\b(?!s)", _name)
    named.take("rubric", rf"{_BY}\b(?P<name>{_BUILT_IN})\b", _name)
    named.take("dataset", rf"\b(?P<keep>dataset )(?:called |named )?{_NAME}\b", _name)
    named.take("dataset", rf"\b{_NAME}(?P<keep> dataset)\b(?!s)", _name)
    named.take("format", r"\b(?:as|to|in|into) (?:an? )?(?P<it>csv|jsonl|parquet)(?: file)?\b", _it)
    named.take("as", rf"\b(?:as|called|named) {_NAME}(?=\W*$)", _name)
    if known:
        named.take("dataset", rf"\b(?P<name>{'|'.join(re.escape(name) for name in known)})\b", _name)
    things = r"rows?|columns?|seal|holdout|splits?|unseal|divide|split|tag|export"
    named.take("dataset", rf"\b(?P<keep>(?:{things}) +)(?:(?:of|in|from|on) )?(?:the )?{_NAME}\b", _name)
    if named.found.keys() & {"model", "rubric"}:
        named.take("dataset", rf"\b(?P<keep>(?:on|over|judge|judging|evaluate|score) )(?:the )?{_NAME}(?=\W|$)", _name)


def _take_settings(named: Named) -> None:
    if re.search(r"\b(?:audit|bias|biased|biases)\b", named.rest, re.IGNORECASE):
        axis = rf"(?:\b(?:for|and|of|by) )?\b(?P<it>{'|'.join(AXES)})\b(?: bias)?"
        named.take_all("axis", axis, lambda m: AXES[m["it"].lower()])
    said = "|".join(re.escape(name) for name in sorted(SCORERS, key=len, reverse=True))
    scorer = rf"(?:\b(?:with|by|using|and)|,) *(?:the )?(?P<it>{_SET}|(?:{said})\b)"
    named.take_all("scorer", scorer, _scorer)
    named.take_all("scorer", rf"\b(?P<it>{said}) (?=scores?\b)", _scorer)
    named.take_all("split", r"\b(?P<it>train|dev|holdout)\b(?: (?:split|part)\b)?", _it)


def _it(match: "re.Match[str]") -> str:
    return match["it"].strip()


def _name(match: "re.Match[str]") -> str | None:
    name = match["name"].lower()
    return None if name in _BESIDE.split() else name


def _scorer(match: "re.Match[str]") -> str:
    return SCORERS.get(match["it"].lower(), match["it"])


def _share(word: str) -> float | None:
    value = float(word.rstrip("% ")) / (100 if word.endswith("%") else 1)
    return value if 0 <= value <= 1 else None


def _shares(match: "re.Match[str]") -> dict[str, float]:
    return dict(zip(("train", "dev", "holdout"), (float(part) for part in match.groups()), strict=True))


def _part(match: "re.Match[str]") -> dict[str, float]:
    """Return the shares when only the hold-out's is said."""
    fraction, percent = match["f"] or match["f2"], match["n"] or match["n2"]
    part = _FRACTIONS[fraction.lower()] if fraction else min(100, int(percent)) / 100
    train = (1 - part) * _TRAIN_OF_REST
    return {"train": round(train, 4), "dev": round(1 - part - train, 4), "holdout": round(part, 4)}
