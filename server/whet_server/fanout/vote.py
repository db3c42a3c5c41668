"""Counting votes: answers that say the same in other dress count together.

An answer is reduced to what it settles on: a boxed result, the last `answer: ...` or `the answer is ...`, a leading
verdict (yes, no, true, false), a lone option letter, else the whole text. Case, Markdown, marks around it, articles
and the way numbers are written do not count.
"""

import re
from collections.abc import Sequence
from typing import Final

from whet_server.fanout.words import fold, number_of, phrase
from whet_server.log.events import BranchFinished, VoteCount
from whet_server.values import BranchId

_BOXED: Final = re.compile(r"\\boxed\{([^{}]*)\}")
_STATED: Final = re.compile(r"\banswer(?:\s+is\b[\s:]*|\s*[:=]\s*)(\S[^\n]*)")
_VERDICT: Final = re.compile(r"(yes|no|true|false)(?:[.,:;!\s]*$|[.,:;!]\s)")
_OPTION: Final = re.compile(r"(?:(?:option|choice)\s+)?\(?([a-z])(?:\)|[.):]*$|[.:]\s)")
_ARTICLES: Final = re.compile(r"\b(?:a|an|the)\b")
_EMPHASIS: Final = re.compile(r"[*_`~#]+")
_EDGES: Final = " \t\n.,;:!?\"'()[]{}<>«»“”‘。，！？$"
ALONE_WORDS: Final = 3
"""An answer of so few words is a name, a number or a date: with more it begins to be a sentence."""
_FIRST_SENTENCE: Final = re.compile(r"(.+?[.!?])\s+\S", re.DOTALL)


def normalise(text: str) -> str:
    """Return what the answer settles on, in the spelling in which votes are counted."""
    return choice(text) or number_of(_bare(_EMPHASIS.sub("", fold(text))))


def choice(text: str) -> str:
    """Return the short answer that the text settles on (a verdict, an option, a stated result, a few words alone), or
    nothing when it is a text of its own.
    """
    boxed = _BOXED.findall(text)
    plain = _EMPHASIS.sub("", fold(boxed[-1] if boxed else text)).strip()
    stated = _STATED.findall(plain)
    if stated:
        first = _FIRST_SENTENCE.match(stated[-1])
        plain = first[1] if first else stated[-1]
    for short in (_VERDICT, _OPTION):
        found = short.match(plain)
        if found:
            return found[1]
    bare = _bare(plain)
    alone = max(len(bare.split()), len(phrase(bare).words)) <= ALONE_WORDS and not plain.endswith(("!", "?", ":"))
    return number_of(bare) if boxed or stated or alone else ""


def _bare(plain: str) -> str:
    return " ".join(_ARTICLES.sub(" ", plain).split()).strip(_EDGES)


def count(answers: Sequence[BranchFinished]) -> tuple[VoteCount, ...]:
    """Return the votes, most first; of equal ones the one whose first voter comes first."""
    voters: dict[str, list[BranchId]] = {}
    for answer in answers:
        voters.setdefault(normalise(answer.text), []).append(answer.branch_id)
    counted = [
        VoteCount(answer=said, votes=len(branches), branch_ids=tuple(branches)) for said, branches in voters.items()
    ]
    return tuple(sorted(counted, key=lambda vote: -vote.votes))
