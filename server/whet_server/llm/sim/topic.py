"""What a question is about, in its own words, so that a sentence can be built around it."""

import re
from typing import Final

from whet_server.values import Value

_MOST_WORDS: Final = 9
"""A topic longer than this reads badly inside another sentence."""
_MOST_READ: Final = 2_000
"""Characters of the question that are looked at: a question stands at the beginning, whatever is pasted after it."""

_POLITE: Final = re.compile(
    r"(?:hi|hello|hey|please|kindly|briefly|now|so|and|can you|could you|would you|will you|tell me|show me|help me"
    r"|i want to know|i wonder)[,:]?\s+(?:about\s+)?",
    re.IGNORECASE,
)
_ORDER: Final = re.compile(
    r"(?:explain|describe|discuss|compare|summari[sz]e|define|write|list|name|give|draft|translate|outline|review)\s+"
    r"(?:(?:to |for )?(?:me|us)\s+)?(?:(?:two|three|four|five|six|seven|eight|nine|ten|some|\d+)\s+)?",
    re.IGNORECASE,
)
_WHAT: Final = re.compile(r"(?:what|who)(?:['’]s| is| are| was| were| does| do| did| can| should)?\s+", re.IGNORECASE)
_CLAUSE: Final = re.compile(r"(?P<word>why|how|when|where|which|whether)(?:['’]s)?\s+(?P<rest>.+)", re.IGNORECASE)
_YES_OR_NO: Final = re.compile(r"(?:is|are|was|were|do|does|did|should|can|could|will|would)\s", re.IGNORECASE)
_SOMEBODY: Final = re.compile(
    r"(?:do|does|did|should|can|could|would|shall)\s+(?:i|we|you|one)\s+(?P<rest>.+)", re.IGNORECASE
)
_HELPER: Final = re.compile(r"(?:do|does|did)\s+(?P<rest>.+)", re.IGNORECASE)
_MOVED: Final = re.compile(
    r"(?P<verb>is|are|was|were|should|can|could|will|would)\s+(?P<noun>(?:(?:the|a|an|my|your|this|that)\s+)?\S+)"
    r"\s+(?P<rest>.+)",
    re.IGNORECASE,
)
_END: Final = re.compile(
    r"[.?!;:\n]|,\s|\s+(?:in (?:one|two|three|a few|simple|plain|short)\b|in detail|briefly|for me\b|to me\b|please\b"
    r"|mean$|means$|mean\?|work\?)",
    re.IGNORECASE,
)
_LOOSE_ENDS: Final = frozenset(
    {"a", "an", "the", "of", "to", "in", "for", "with", "on", "as", "from", "by", "and", "or"}
)
_TURNED: Final = {"i": "you", "my": "your", "me": "you", "mine": "yours", "we": "you", "our": "your", "us": "you"}


class Topic(Value):
    """`phrase` follows after "as for", `noun` stands where a noun does, `words` are further words of the question."""

    phrase: str
    noun: str
    words: tuple[str, ...]


def topic(question: str) -> Topic:
    """Return what `question` is about: a noun phrase, or a clause such as `why cats purr`."""
    question = question.strip()[:_MOST_READ]
    rest = question
    while (polite := _POLITE.match(rest)) is not None:
        rest = rest[polite.end() :]
    if (order := _ORDER.match(rest)) is not None:
        rest = rest[order.end() :]
    clause = _clause(rest)
    if clause is None and (what := _WHAT.match(rest)) is not None:
        rest = rest[what.end() :]
    phrase = _shortened(clause or rest) or "this question"
    noun = phrase if clause is None else "this question"
    used = phrase.lower()
    words = tuple(dict.fromkeys(w for w in re.findall(r"[a-z]{5,}", question.lower()) if w not in used))
    return Topic(phrase=phrase, noun=noun, words=words[:12])


def _clause(text: str) -> str | None:
    """Turn a question into a clause: `why do cats purr` into `why cats purr`; None where it asks for a thing."""
    if (found := _CLAUSE.match(text)) is not None:
        word, rest = found["word"].lower(), found["rest"]
    elif _YES_OR_NO.match(text) is not None:
        word, rest = "whether", text
    else:
        return None
    if (somebody := _SOMEBODY.match(rest)) is not None:
        return f"{word} to {somebody['rest']}"
    if (helper := _HELPER.match(rest)) is not None:
        return f"{word} {helper['rest']}"
    if (moved := _MOVED.match(rest)) is not None:
        return f"{word} {moved['noun']} {moved['verb'].lower()} {moved['rest']}"
    return f"{word} {rest}"


def _shortened(text: str) -> str:
    words = [_TURNED.get(word.lower(), word) for word in _END.split(text, maxsplit=1)[0].split()[:_MOST_WORDS]]
    while words and words[-1].lower() in _LOOSE_ENDS:
        words.pop()
    return " ".join(words).strip("\"'`*,")
