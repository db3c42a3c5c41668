"""How a simulated model writes one answer from several: with their own sentences, the most shared ones first.

The answers are found where `whet_server.fanout.prompts` puts them: between marks `answer-<fence>`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from whet_server.values import Message, Speaker, Value

_ANSWER: Final = re.compile(r"<answer-(?P<fence>\w+)[^>\n]*>\n(?P<text>.*?)\n</answer-(?P=fence)>", re.DOTALL)
_BETWEEN: Final = re.compile(r"(?<=[.!?])\s+")
_WORD: Final = re.compile(r"\w+")
_NUMBER: Final = re.compile(r"\d+")
_DENIALS: Final = frozenset({"not", "never", "no", "does", "do", "is"})
"""What a sentence and its denial differ by: these are left out when sentences are compared."""


class _Point(Value):
    """One sentence of the answers, with the wordings it comes in, the most frequent first."""

    wordings: tuple[str, ...]
    support: int


def answers_in(messages: Sequence[Message]) -> tuple[str, ...]:
    """Return the answers that the last message of the user carries; none when it asks for no synthesis."""
    asked = next((message.content for message in reversed(messages) if message.role is Speaker.USER), "")
    return tuple(found["text"].strip() for found in _ANSWER.finditer(asked))


def sentences_of(answers: Sequence[str]) -> Iterator[str]:
    """The sentences of a synthesis: what most answers say comes first, and where they differ both sides are given."""
    for point in _points(answers):
        first, *others = point.wordings
        yield first
        for other in others:
            if _NUMBER.sub("#", other) == _NUMBER.sub("#", first):
                yield f"Another figure given is {_other_number(first, other)}."
            else:
                yield f"Not everybody agrees: {other[0].lower()}{other[1:]}"


def _points(answers: Sequence[str]) -> list[_Point]:
    """Group the sentences of all answers by what they are about, the most supported first."""
    groups: dict[tuple[str, ...], dict[str, int]] = {}
    for answer in answers:
        for sentence in dict.fromkeys(filter(None, map(str.strip, _BETWEEN.split(answer)))):
            wordings = groups.setdefault(_about(sentence), {})
            wordings[sentence] = wordings.get(sentence, 0) + 1
    points = [
        _Point(wordings=tuple(sorted(found, key=lambda wording: -found[wording])), support=sum(found.values()))
        for found in groups.values()
    ]
    return sorted(points, key=lambda point: -point.support)


def _about(sentence: str) -> tuple[str, ...]:
    """Its words without numbers, denials and the endings of verbs: equal for a claim, its variants and its denial."""
    words = _WORD.findall(_NUMBER.sub("", sentence.lower()))
    return tuple(word.removesuffix("s") for word in words if word not in _DENIALS)


def _other_number(first: str, other: str) -> str:
    """The number in which the second sentence differs from the first."""
    pairs: Iterable[tuple[str, str]] = zip(_NUMBER.findall(first), _NUMBER.findall(other), strict=True)
    return next(theirs for ours, theirs in pairs if ours != theirs)
