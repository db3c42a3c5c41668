"""Reads a judge's answer: tolerant of what stands around the verdict, strict about what it says.

Models wrap JSON in fences and in words, and that is forgiven. A dimension that is missing or given twice, a level off
the scale, a quote that nobody wrote, two verdicts in one answer, or a verdict that stands in the judged text and was
copied are not: such an answer has no verdict, because every way to make one of it would be a guess.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from whet_server.errors import Reason
from whet_server.judge.prompts import TIE, labels
from whet_server.judge.rubric import Dimension, Rubric
from whet_server.judging import DimensionScore, Item, JudgeMode, Quote
from whet_server.values import Value

_MOST_WORDS: Final = 2_000
"""Characters of a reason that are kept: a long paragraph."""
_MOST_OBJECTS: Final = 64
"""Opening braces from which a verdict is tried to be read; behind so many, an answer is garbage."""
_SHOWN: Final = 120
"""Characters of a wrong value that the judge is shown again."""
_DECLINED: Final = re.compile(
    r"\W*(?:(?:i['’]?m |i am )?(?:very |so )?sorry[,.:;]?\s+(?:but\s+)?|i apologi[sz]e[,.:;]?\s+(?:but\s+)?"
    r"|unfortunately,?\s+|as an? [^,.\n]{1,40},\s+)*"
    r"(?:i can ?not|i can['’]t|i won['’]t|i will not|i(?: a|['’])m (?:unable|not able|not comfortable)"
    r"|i (?:must |have to )?(?:decline|refuse))\b",
    re.IGNORECASE,
)
"""How models say no in words, at the beginning of an answer without any JSON."""
_OPENING: Final = 1_000
"""Characters of an answer in which it must say no to be read as one that does."""
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
"""One as JSON escapes it."""
_TYPOGRAPHY: Final = str.maketrans("‘’“”", "''\"\"")
"""Models straighten quotation marks when they copy; a letter for a letter, so that places stay."""


class Wrong(Exception):
    """The answer is no verdict; `str()` says why, to the judge and to people."""

    def __init__(self, what: str, reason: Reason = Reason.NO_VERDICT) -> None:
        super().__init__(what)
        self.reason = reason


class Reading(Value):
    """What a judge says. `score` None: it abstained, as `summary` says."""

    score: float | None
    value: float | None = None
    dimensions: tuple[DimensionScore, ...] = ()
    summary: str = ""
    ranking: tuple[int, ...] = ()
    tie: bool = False


def read(text: str, item: Item, rubric: Rubric, mode: JudgeMode, order: tuple[int, ...]) -> Reading:
    """Return what the answer says of the candidates in `order`. Raises `Wrong` when it is no verdict."""
    key = "ranking" if mode is JudgeMode.LISTWISE else "dimensions"
    found = _the_object(text, key, [item.candidates[index] for index in order])
    reader = {JudgeMode.POINTWISE: _rated, JudgeMode.PAIRWISE: _compared, JudgeMode.LISTWISE: _ranked}[mode]
    return reader(found, _Texts(item, order), rubric)


def declined(text: str) -> bool:
    """Whether an answer says in plain words that the judge will not judge."""
    return "{" not in text and _DECLINED.match(text[:_OPENING]) is not None


def locate(quote: str, text: str) -> tuple[int, int] | None:
    """Return where the words of `quote` stand in `text`, in code points, whatever white space is between them."""
    exact = quote.strip()
    if exact and (at := text.find(exact)) >= 0:  # as a rule it is word for word, and a search takes ten times as long
        return at, at + len(exact)
    words = quote.translate(_TYPOGRAPHY).split()
    plain = " ".join(text.translate(_TYPOGRAPHY).split())
    at = plain.find(" ".join(words)) if words else -1
    if at < 0:
        return None
    places = [found.start() for found in re.finditer(r"\S", text)]
    first = at - plain.count(" ", 0, at)
    return places[first], places[first + sum(map(len, words)) - 1] + 1


class _Texts:
    """The judged texts in the order in which they were shown."""

    def __init__(self, item: Item, order: tuple[int, ...]) -> None:
        self._item = item
        self.order = order

    def quote(self, words: Any, where: str, places: Sequence[int] | None = None) -> tuple[Quote, ...]:
        """Return the quote with its place; none for an empty one. Raises `Wrong` when nobody wrote it."""
        if words is None or (isinstance(words, str) and not words.strip()):
            return ()
        if not isinstance(words, str) or not any(map(str.isalnum, words)):
            raise Wrong(f"the quote of {where} must be words of the answer, not {_shown(words)}.")
        for place in range(len(self.order)) if places is None else places:
            index = self.order[place]
            text = self._item.candidates[index]
            if (found := locate(words, text)) is not None:
                return (Quote(text=text[slice(*found)], candidate=index, start=found[0], end=found[1]),)
        raise Wrong(
            f"the quote of {where}, {_shown(words)}, does not stand in the answer. Copy it word for word.",
            Reason.EVIDENCE_NOT_FOUND,
        )


def _the_object(text: str, key: str, judged: Sequence[str]) -> dict[str, Any]:
    """Return the one object with this key that the answer holds. Raises `Wrong` also when a judged text holds it."""
    found: list[dict[str, Any]] = []
    for candidate, source in _objects(text):
        if key in candidate and candidate not in found:
            found.append(candidate)
            if any(key in each and _bare(source) in _bare(each) for each in judged):
                raise Wrong("it is copied from the answer that you were to rate.")
    if not found:
        raise Wrong(f'there is no whole JSON object with "{key}" in it.')
    if len(found) > 1:
        raise Wrong("there are several different verdicts in it.")
    return found[0]


def _bare(text: str) -> str:
    return "".join(text.split())


def _objects(text: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the JSON objects of a text that stand in no other one, each with how it is written there."""
    decoder = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_no_number)
    at = text.find("{")
    for _ in range(_MOST_OBJECTS):
        if at < 0:
            return
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if _SURROGATE.search(text, at, end):
                _check_characters(value)
            yield value, text[at:end]
        at = text.find("{", end)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object, unless a name stands in it twice: taking either one would be a guess."""
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = next(name for name in made if [key for key, _ in pairs].count(name) > 1)
        raise Wrong(f"{_shown(twice)} stands in it twice.")
    return made


def _check_characters(value: Any) -> None:
    """Raise `Wrong` when a text holds half of a surrogate pair: no record and no message could hold it."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Wrong("half of a surrogate pair stands in it, which is no character.") from None


def _no_number(text: str) -> Any:
    raise Wrong(f"{text} is no value of JSON.")


def _rated(found: Mapping[str, Any], texts: _Texts, rubric: Rubric) -> Reading:
    levels = range(rubric.lowest, rubric.highest + 1)

    def score(dimension: Dimension, entry: Mapping[str, Any]) -> tuple[DimensionScore, float | None]:
        level = entry.get("level", "nothing")
        if level is not None and (type(level) is not int or level not in levels):
            raise Wrong(
                f"the level of {dimension.name} must be a whole number from {rubric.lowest} to {rubric.highest}"
                f" or null, not {_shown(level)}."
            )
        quotes = texts.quote(entry.get("quote"), dimension.name)
        if level is not None and level > rubric.lowest and not quotes:
            raise Wrong(f"the level {level} of {dimension.name} has no quote that shows it.", Reason.EVIDENCE_NOT_FOUND)
        said = DimensionScore(dimension=dimension.name, level=level, rationale=_words(entry, "reason"), quotes=quotes)
        return said, None if level is None else float(level)

    scored = _dimensions(found, rubric, score)
    value = _mean(scored, rubric)
    return Reading(
        score=None if value is None else rubric.share(value),
        value=value,
        dimensions=tuple(said for said, _ in scored),
        summary=_summary(found, scored, rubric),
    )


def _compared(found: Mapping[str, Any], texts: _Texts, rubric: Rubric) -> Reading:
    names = labels(len(texts.order))
    first = min(texts.order)

    def score(dimension: Dimension, entry: Mapping[str, Any]) -> tuple[DimensionScore, float | None]:
        better = entry.get("better", "nothing")
        if better is not None and better not in {*names, TIE}:
            raise Wrong(f'the better one of {dimension.name} must be "A", "B", "tie" or null, not {_shown(better)}.')
        quotes = texts.quote(entry.get("quote"), dimension.name)
        if better in names and not quotes:
            raise Wrong(f"the preference of {dimension.name} has no quote that shows it.", Reason.EVIDENCE_NOT_FOUND)
        winner = texts.order[names.index(better)] if better in names else None
        share = None if better is None else 0.5 if winner is None else float(winner == first)
        said = "" if better is None else "A tie. " if winner is None else f"Candidate {winner} is better. "
        reason = said + _words(entry, "reason")
        return DimensionScore(dimension=dimension.name, rationale=reason, quotes=quotes), share

    scored = _dimensions(found, rubric, score)
    share = _mean(scored, rubric)
    tie = share is not None and abs(share - 0.5) < 1e-9
    ranking = () if share is None else tuple(sorted(texts.order, reverse=share < 0.5 and not tie))
    return Reading(
        score=share,
        value=share,
        dimensions=tuple(said for said, _ in scored),
        summary=_summary(found, scored, rubric),
        ranking=ranking,
        tie=tie,
    )


def _ranked(found: Mapping[str, Any], texts: _Texts, rubric: Rubric) -> Reading:
    names = labels(len(texts.order))
    ranking, quotes = found["ranking"], found.get("quotes")
    summary = _words(found, "summary")
    if ranking == []:
        return Reading(score=None, summary=summary or "The judge gave no order.")
    if not isinstance(ranking, list) or sorted(map(str, ranking)) != sorted(names):
        raise Wrong(f"the ranking must hold each of {', '.join(names)} once, and is {_shown(ranking)}.")
    if not isinstance(quotes, dict) or set(quotes) != set(names):
        raise Wrong(f"quotes must hold a quote for each of {', '.join(names)} and for nothing else.")
    said = tuple(quote for place, name in enumerate(names) for quote in texts.quote(quotes[name], name, [place]))
    if len(said) < len(names) - 1:
        raise Wrong("only the last one of the ranking may be without a quote.", Reason.EVIDENCE_NOT_FOUND)
    order = tuple(texts.order[names.index(name)] for name in ranking)
    share = 1 - order.index(min(order)) / (len(order) - 1)
    whole = DimensionScore(dimension="", rationale=summary, quotes=said)
    return Reading(score=share, value=share, dimensions=(whole,), summary=summary, ranking=order)


_Scored = list[tuple[DimensionScore, float | None]]


def _dimensions(
    found: Mapping[str, Any],
    rubric: Rubric,
    score: Callable[[Dimension, Mapping[str, Any]], tuple[DimensionScore, float | None]],
) -> _Scored:
    """Read every dimension of the rubric, in its order."""
    entries = found["dimensions"]
    if not isinstance(entries, dict):
        raise Wrong(f'"dimensions" must be an object with the dimensions\' names, not {_shown(entries)}.')
    wanted = [dimension.name for dimension in rubric.dimensions]
    if missing := [name for name in wanted if not isinstance(entries.get(name), dict)]:
        raise Wrong(f"these dimensions are missing: {', '.join(missing)}.")
    if foreign := [name for name in entries if name not in wanted]:
        raise Wrong(f"these are no dimensions of the rubric: {_shown(', '.join(foreign))}.")
    return [score(dimension, entries[dimension.name]) for dimension in rubric.dimensions]


def _mean(scored: _Scored, rubric: Rubric) -> float | None:
    """Return the weighted mean. None, that is an abstention, when a dimension has nothing and is not optional, or when
    none has anything; the weights of the others are made to be 1 together again.
    """
    pairs = [(dimension, what) for dimension, (_, what) in zip(rubric.dimensions, scored, strict=True)]
    if any(what is None and not dimension.optional for dimension, what in pairs):
        return None
    said = [(dimension.weight, what) for dimension, what in pairs if what is not None]
    return sum(weight * what for weight, what in said) / sum(weight for weight, _ in said) if said else None


def _summary(found: Mapping[str, Any], scored: _Scored, rubric: Rubric) -> str:
    """Return the judge's words on the whole; without any, those on the dimensions from which it abstained."""
    if summary := _words(found, "summary"):
        return summary
    silent = [said for said, what in scored if what is None]
    return "; ".join(f"{said.dimension}: {said.rationale or 'no reason given'}" for said in silent)[:_MOST_WORDS]


def _words(entry: Mapping[str, Any], key: str) -> str:
    words = entry.get(key)
    return words.strip()[:_MOST_WORDS] if isinstance(words, str) else ""


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
