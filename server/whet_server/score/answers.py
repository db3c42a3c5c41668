"""Numeric and choice: find the answer in a text and compare it."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Final

from whet_server.judging import Item
from whet_server.score.finding import DoesNotApply, Finding, at_most, candidate_of, reference_of, yes_or_no
from whet_server.score.matching import occurs
from whet_server.score.normal import normal
from whet_server.score.spec import ChoiceScorer, Normalisation, NumericScorer

MAX_CHARACTERS: Final = 200_000
"""Of a text in which an answer is looked for."""
LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SEPARATORS: Final = ",_'\u2019\u00a0\u2009\u202f"
"""What stands between thousands: a plain blank does not, since two numbers may stand side by side."""
_NUMBER: Final = re.compile(
    rf"((?<![\w)])[-+\u2212])?(?<![\w.])(\d{{1,3}}(?:[{_SEPARATORS}]\d{{3}})+(?!\d)|\d+|(?=\.\d))"
    r"(\.\d+)?([eE][-+]?\d{1,4}(?!\d))?(\s?%)?"
)
_BARE: Final = Normalisation(ignore_punctuation=True)
_SAID: Final = re.compile(
    r"(?:answer|choice|option|choose|select|pick)(?:\s+(?:is|are|was|should\s+be|must\s+be))?\s*:?\s*"
    r"[(\[*\"'\u201c]{0,4}([A-Za-z])(?![\w'\u2019])",
    re.IGNORECASE,
)
_LABEL: Final = re.compile(r"\s*[(\[*\"'\u201c]{0,4}([A-Za-z])(?:[)\].:*\"'\u201d]{1,4}|\s*$)")
_ALONE: Final = re.compile(r"\(([A-Za-z])\)|(?<![\w'\u2019-])([B-HJ-Z])(?![\w'\u2019-])")
"""A letter that is no word of English: A and I count in brackets only."""


def numeric(item: Item, scorer: NumericScorer) -> Finding:
    """1 when the candidate's last number is near the reference's last. The value is the absolute difference."""
    candidate, reference = candidate_of(item), reference_of(item)
    at_most(MAX_CHARACTERS, "characters", len(candidate), len(reference))
    right, ours = last_number(reference), last_number(candidate)
    if right is None:
        raise DoesNotApply("The reference has no number.")
    if ours is None:
        return Finding(score=0.0, rationale="the candidate has no number")
    apart = abs(ours - right)
    if not math.isfinite(apart):
        return Finding(score=0.0, rationale=f"{ours:g} instead of {right:g}")
    # A share of the reference is rounded like the difference, so that 1.1 is within 0.1 of 1.
    slack = max(scorer.tolerance, scorer.relative * abs(right)) + 4 * math.ulp(max(abs(ours), abs(right)))
    return Finding(score=float(apart <= slack), value=apart, rationale=f"{ours:g} against {right:g}")


def last_number(text: str) -> float | None:
    """Return the last number that a computer can hold. A comma stands between thousands, `5%` is 0.05."""
    found = None
    for match in _NUMBER.finditer(text):
        sign, whole, fraction, exponent, percent = match.groups(default="")
        digits = "".join(char for char in whole if char not in _SEPARATORS)
        number = float(f"{digits or '0'}{fraction}{exponent}") * (0.01 if percent else 1.0)
        if math.isfinite(number):
            found = number if sign in {"", "+"} else -number
    return found


def choice(item: Item, scorer: ChoiceScorer) -> Finding:
    """1 when the candidate names the choice that the reference names."""
    candidate, reference = candidate_of(item), reference_of(item)
    at_most(MAX_CHARACTERS, "characters", len(candidate), len(reference))
    right, ours = (named_choice(text, scorer.choices) for text in (reference, candidate))
    if right is None:
        raise DoesNotApply("The reference names none of the choices, or several.")
    if ours is None:
        return yes_or_no(False, "the candidate names no choice, or several")
    names = scorer.choices or LETTERS
    return yes_or_no(ours == right, f"{names[ours]} against {names[right]}")


def named_choice(text: str, choices: Sequence[str]) -> int | None:
    """Return the index of the choice that a text names, by its words or by its letter; None for none or several."""
    words = [normal(choice, _BARE) for choice in choices]
    bare = normal(text, _BARE)
    if bare and bare in words:
        return words.index(bare)
    for letter in _letters(text):
        if (index := LETTERS.index(letter)) < (len(choices) or len(LETTERS)):
            return index
    there = [index for index, word in enumerate(words) if occurs(bare, word)]
    longest = [one for one in there if not any(one != two and occurs(words[two], words[one]) for two in there)]
    return longest[0] if len(longest) == 1 else None


def _letters(text: str) -> Iterator[str]:
    """Yield the letters that a text may name its choice by, the surest first."""
    if said := _SAID.findall(text):
        yield said[-1].upper()
    if label := _LABEL.match(text):
        yield label[1].upper()
    alone = {(bracketed or plain).upper() for bracketed, plain in _ALONE.findall(text)}
    if len(alone) == 1:
        yield alone.pop()
