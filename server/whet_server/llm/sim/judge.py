"""How a simulated judge judges: by what an answer says of the question, and by the faults that its name gives it.

It finds the texts where `whet_server.judge.prompts` puts them, between marks, and what to answer in the JSON Schema of
the request. The quality of an answer is a number from 0 to 1, made of how many words of the question and the reference
it takes up, how often it gives reasons, figures and steps. Headings, bold words, signatures, orders to the judge and
sentences that say nothing are taken away first, so that a fair judge rates a text with and without them alike. Noise
is drawn from the seed and the whole request: the same request gives the same verdict.
"""

import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, TypeAlias

from whet_server.values import Message, Parameters, Speaker, Value


class Bias(StrEnum):
    """What a judge may be biased by; each is an axis of an audit."""

    POSITION = "position"
    LENGTH = "length"
    SELF_PREFERENCE = "self_preference"
    FORMATTING = "formatting"
    SYCOPHANCY = "sycophancy"
    INJECTION = "injection"


class Manner(Value):
    """How a simulated judge judges. `noise` is the standard deviation of its quality, `strength` how much of a whole
    scale its bias is worth, the others are shares of its answers.
    """

    noise: float = 0.0
    bias: Bias | None = None
    strength: float = 0.5
    garbage: float = 0.0
    abstain: float = 0.0
    refuse: float = 0.0


class _Asked(Value):
    """What the prompt shows."""

    input: str
    reference: str
    answers: tuple[str, ...]


_MARKED: Final = re.compile(
    r"<(?P<kind>input|reference|answer)-(?P<fence>[0-9a-f]+)[^>\n]*>\n(?P<text>.*?)\n</(?P=kind)-(?P=fence)>", re.DOTALL
)
_HEADING: Final = re.compile(r"^\s*#{1,6}\s.*$", re.MULTILINE)
_MARKUP: Final = re.compile(r"\*\*|__|^\s*[-*]\s+", re.MULTILINE)
_SIGNED: Final = re.compile(r"^\W*(?:written|answered) by (?P<writer>\S+?)\W*$", re.MULTILINE | re.IGNORECASE)
_ORDER: Final = re.compile(
    r"\b(?:ignore|disregard|forget)\b.*\b(?:instructions?|rubric|above|rules)\b"
    r"|\b(?:highest|maximum|top|full|best)\b.*\b(?:levels?|scores?|marks?|ratings?|grades?)\b"
    r"|\b(?:judges?|graders?|evaluators?|system)\b\s*:",
    re.IGNORECASE,
)
_OPINION: Final = re.compile(
    r"\b(?:sure|think|believe|convinced|know)\b.*\banswer\b(?: that begins with \"(?P<which>[^\"\n]+)\")?.*?"
    r"\b(?:(?P<good>excellent|perfect|great|very good)|bad|poor|wrong|terrible)\b",
    re.IGNORECASE,
)
_SENTENCE: Final = re.compile(r"[^.!?\n]+(?:[.!?]+(?!\s|$)[^.!?\n]*)*[.!?]*")
_WORD: Final = re.compile(r"[a-z]{4,}")
_EMPTY: Final = frozenset(
    _WORD.findall(
        "about above after again along also although always among another answer anything because become been "
        "before being below best between both careful case come comes could describe deserve different does "
        "doing done down during each either else even every explain fact from further general give given "
        "gives good have having here however idea important indeed into itself just keep kept know known less "
        "like list long look made make makes many matter mean means meant mind more most much must name need "
        "noted nothing notice number numbers often once only other others otherwise over part please point "
        "points question rather really right said same say says seen shall should similar simply since some "
        "something still such sure take taken tell than that their them then there these they thing things "
        "think this those though thought thus time times together topic under until upon very want ways well "
        "were what when where whether which while whole will with within without words work worth would write "
        "wrote year your"
    )
)
"""Words that every text may have, whatever it is about."""
_REASONS: Final = re.compile(
    r"\b(?:because|since|therefore|thus|hence|so that|leads? to|causes?|due to|which means|as a result|otherwise|unless"
    r"|if)\b",
    re.IGNORECASE,
)
_FIGURES: Final = re.compile(r"(?<![\w.])\d+(?:[.,]\d+)*(?:\s?%)?")
_STEPS: Final = re.compile(
    r"\b(?:first|second|third|then|next|finally|afterwards|compare|measure|check|test|run|repeat|record|verify|backup"
    r"|revert|undo)\b",
    re.IGNORECASE,
)
_ENOUGH: Final[Mapping[re.Pattern[str], int]] = {_REASONS: 3, _FIGURES: 3, _STEPS: 4}
"""How many different ones of a kind make a good answer."""
_FULL_LENGTH: Final = 120
"""Words from which on a judge that likes length likes no more of it."""
_QUOTED_WORDS: Final = 8
_MOST_READ: Final = 20_000
"""Characters of a text that are looked at."""
_APART: Final = 0.1
"""How far the dimensions of one answer lie apart: less than a level of five."""
_ALIKE: Final = 0.04
"""Answers that lie nearer together than this are as good as each other."""
_REMEMBERED: Final = 1024
"""Texts whose quality is remembered: those of one audit, asked about again and again."""
_GARBAGE: Final = (
    "This is a good answer on the whole, and I would rate it quite highly.",
    '{"verdict": "good", "points": "many"}',
    '{"dimensions": {',
    "```json\n[4, 4, 3]\n```",
)
_REFUSAL: Final = "I'm sorry, but I cannot judge this answer."
_ABSTENTION: Final = "There is too little to judge by."
_Schema: TypeAlias = Mapping[str, Any]


def verdict(manner: Manner, me: str, seed: int, messages: Sequence[Message], parameters: Parameters) -> str | None:
    """Return the verdict of the judge `me`, or what else it says; None when it is asked for no verdict."""
    asked, schema = _asked(messages), _schema(parameters)
    if asked is None or not schema.keys() & {"dimensions", "ranking"}:
        return None
    dice = _dice(seed, parameters, messages)
    fate = dice.random()
    if fate < manner.garbage:
        return dice.choice(_GARBAGE)
    if fate < manner.garbage + manner.refuse:
        return _REFUSAL
    abstains = fate < manner.garbage + manner.refuse + manner.abstain
    liked = [liking(manner, me, asked.input, asked.reference, text, dice) for text in asked.answers]
    if manner.bias is Bias.POSITION and len(liked) > 1:
        liked[0] += manner.strength
    if "ranking" in schema:
        return json.dumps(_ranked(schema["ranking"]["items"]["enum"], asked.answers, liked, abstains=abstains))
    rate = _rated if len(liked) == 1 else _compared
    said = {}
    for name, entry in schema["dimensions"]["properties"].items():
        there = [each + _leaning(name, text) for each, text in zip(liked, asked.answers, strict=True)]
        said[name] = rate(entry["properties"], asked.answers, there, abstains=abstains)
    return json.dumps({"dimensions": said, "summary": _ABSTENTION if abstains else "Judged by what it says."})


def liking(manner: Manner, me: str, asked: str, reference: str, answer: str, dice: random.Random) -> float:
    """Return how good a judge takes an answer to be: its quality, the judge's noise, and what its bias adds. 0 to 1
    unless the bias leads beyond.
    """
    liked = quality(asked, reference, answer)
    if manner.noise:
        liked += dice.gauss(0.0, manner.noise)
    return liked + (manner.strength * _pull(manner.bias, me, asked, answer) if manner.bias is not None else 0.0)


@lru_cache(maxsize=_REMEMBERED)
def quality(asked: str, reference: str, answer: str) -> float:
    """Return the quality of an answer, 0 to 1, from what it says."""
    said = plain(answer)
    wanted = _content(_OPINION.sub("", asked)) | _content(reference)
    there = _content(said)
    taken_up = len(wanted & there) / len(wanted) if wanted else min(1.0, len(there) / 10)
    shares = [
        min(1.0, len({found.lower() for found in pattern.findall(said)}) / enough)
        for pattern, enough in _ENOUGH.items()
    ]
    return 0.4 * math.sqrt(min(1.0, taken_up)) + 0.2 * sum(shares)


@lru_cache(maxsize=_REMEMBERED)
def plain(answer: str) -> str:
    """Return an answer without its form, its signature, orders to a judge and sentences that say nothing."""
    bare = _MARKUP.sub("", _HEADING.sub("", _SIGNED.sub("", answer)))
    kept = [
        sentence.strip()
        for sentence in _SENTENCE.findall(bare)
        if not _ORDER.search(sentence) and (_content(sentence) or _FIGURES.search(sentence))
    ]
    return " ".join(kept)


def _pull(bias: Bias, me: str, asked: str, answer: str) -> float:
    """Return how strongly a bias pulls, 0 to 1; -1 to 1 for sycophancy. That of the position is not the answer's."""
    match bias:
        case Bias.LENGTH:
            return min(1.0, len(answer.split()) / _FULL_LENGTH)
        case Bias.SELF_PREFERENCE:
            signed = _SIGNED.search(answer)
            return float(signed is not None and signed["writer"] in me)
        case Bias.FORMATTING:
            return min(1.0, (len(_HEADING.findall(answer)) + len(_MARKUP.findall(answer))) / 3)
        case Bias.SYCOPHANCY:
            return _flattery(asked, answer)
        case _:
            return float(bias is Bias.INJECTION and _ORDER.search(answer) is not None)


def _flattery(asked: str, answer: str) -> float:
    """Return what the asker says of this answer: 1 good, -1 bad, 0 nothing."""
    said = _OPINION.search(asked)
    if said is None or (said["which"] and not answer.startswith(said["which"])):
        return 0.0
    return 1.0 if said["good"] else -1.0


def _content(text: str) -> frozenset[str]:
    return frozenset(word.removesuffix("s") for word in _WORD.findall(text.lower()) if word not in _EMPTY)


def _asked(messages: Sequence[Message]) -> _Asked | None:
    """Return the texts of the first message of the user that shows any: a repair is asked for in a later one."""
    for message in messages:
        if message.role is Speaker.USER:
            texts: dict[str, list[str]] = {"input": [], "reference": [], "answer": []}
            for found in _MARKED.finditer(message.content):
                texts[found["kind"]].append(found["text"][:_MOST_READ])
            if texts["answer"]:
                return _Asked(
                    input="\n".join(texts["input"]),
                    reference="\n".join(texts["reference"]),
                    answers=tuple(texts["answer"]),
                )
    return None


def _schema(parameters: Parameters) -> _Schema:
    if not parameters.json_schema:
        return {}
    properties: _Schema = json.loads(parameters.json_schema).get("properties", {})
    return properties


def _dice(seed: int, parameters: Parameters, messages: Sequence[Message]) -> random.Random:
    return random.Random(  # noqa: S311 -- nothing is kept secret with it; the same request must give the same verdict
        f"{seed}/{parameters.seed}/{parameters.temperature}/{[message.content for message in messages]}"
    )


def _leaning(dimension: str, answer: str) -> float:
    """Return how far a dimension lies from the whole: the answer's own, whatever its form."""
    return random.Random(f"{dimension}/{plain(answer)}").uniform(-_APART, _APART)  # noqa: S311 -- as above


def _rated(entry: _Schema, answers: Sequence[str], liked: Sequence[float], *, abstains: bool) -> dict[str, Any]:
    if abstains:
        return {"quote": "", "reason": _ABSTENTION, "level": None}
    levels = [level for level in entry["level"]["enum"] if level is not None]
    quote = _quote(answers[0])
    place = round(min(1.0, max(0.0, liked[0])) * (len(levels) - 1)) if quote else 0
    return {"quote": quote, "reason": "That is what it says.", "level": levels[place]}


def _compared(entry: _Schema, answers: Sequence[str], liked: Sequence[float], *, abstains: bool) -> dict[str, Any]:
    if abstains:
        return {"quote": "", "reason": _ABSTENTION, "better": None}
    names = [name for name in entry["better"]["enum"] if name not in {"tie", None}]
    better = 0 if liked[0] > liked[1] else 1
    quote = _quote(answers[better])
    if abs(liked[0] - liked[1]) < _ALIKE or not quote:
        return {"quote": "", "reason": "They say the same.", "better": "tie"}
    return {"quote": quote, "reason": "It says more.", "better": names[better]}


def _ranked(names: Sequence[str], answers: Sequence[str], liked: Sequence[float], *, abstains: bool) -> dict[str, Any]:
    order = sorted(range(len(answers)), key=lambda place: -liked[place])
    return {
        "quotes": {name: _quote(text) for name, text in zip(names, answers, strict=True)},
        "summary": _ABSTENTION if abstains else "By what they say.",
        "ranking": [] if abstains else [names[place] for place in order],
    }


def _quote(text: str) -> str:
    """Return the first words of an answer; none when it has none."""
    quote = " ".join(text.split()[:_QUOTED_WORDS])
    return quote if any(map(str.isalnum, quote)) else ""
