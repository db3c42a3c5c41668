"""The words that commands are made of, what each of them stands for, and what a misspelt one was meant to be.

A sentence is a command when nothing in it is foreign: a question for models nearly always brings a word of its own.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from whet_agent.planner.extract import NUMBERS, RUN_ID

ACTIONS: Final[Mapping[str, str]] = {
    "ADD": "add connect register create configure",
    "ASK": "ask asks asking asked query poll",
    "CANCEL": "cancel stop abort kill end halt terminate",
    "CLEAR": "clear empty flush purge wipe reset forget",
    "GRANT": "approve grant reject deny allow decide",
    "REMOVE": "remove delete drop rm lift disconnect throw rid take uncap away",
    "RUNS": "start launch kick repeat rerun",
    "SET": "set put raise lower change increase decrease make reduce restrict update",
}
"""What a sentence orders. An order that no form takes up is asked about."""

_THINGS: Final[Mapping[str, str]] = {
    "APPROVALS": "approval approvals",
    "BEHIND": "background bg",
    "CACHE": "cache cached",
    "CAP": "cap caps limit limits budget budgets",
    "COST": "cost costs price prices pricing expensive",
    "ENDPOINT": "endpoint endpoints provider providers server servers",
    "ENTRIES": "entry entries reservation reservations ledger payment payments",
    "EVENTS": "event events happened happens happening",
    "EXPORT": "export download save jsonl",
    "FANOUT": "fan-out fan-outs fanout fanouts question questions",
    "HEALTH": "health healthy reachable",
    "KEY": "key keys",
    "LEFT": "left remaining remains",
    "MODEL": "model models",
    "NEEDED": "waiting pending undecided",
    "PANEL": "panel",
    "PRICED": "estimate plan",
    "RATE": "request requests calls tokens minute",
    "RESULT": "result results answers answered",
    "RUN": "run runs",
    "SHOW": "show list see display view print give get open read tell look details detail",
    "SPENT": "spend spending spent usage used paid pay bill",
    "TEST": "test check ping reach connection work works working",
    "TRACE": "trace traces record records recorded recording",
    "UNKNOWN": "unknown",
    "UNTOUCHED": "verify prove proof tampered hash hashes altered changed untouched",
    "WATCH": "watch follow tail stream attach live progresses progress",
}
_FILLERS: Final = (
    "a an the my our your me i i'd i'll i'm we us you it its it's this that these those them they their there "
    "here one ones all any anything ever every everything each some single own full whole exact exactly of to for in "
    "on at as with from by into about per and or then next first afterwards also is are was were be been do does "
    "did doing have has had can could would will shall should may might must need needs want like let please pls "
    "now just right currently what what's which who how where when whether if much many most more than no not "
    "longer so up out off over under only day days daily month months monthly today yesterday week weekly year "
    "last latest previous recent recently newest state status stats size big rate hit hits often down running "
    "active failed cancelled succeeded rejected granted settled reserved dollar dollars usd bucks cent cents "
    "money named called response responses force set while during once ok "
    "okay yes yep nope hm hmm thanks thank sorry whatever hey well good great sure cool fine ago said again "
    "everybody everyone somebody nobody body after before possible never don't dont won't can't cannot back go "
    "ahead still going came come use using name configured keep outcome time way form later know json lines file"
)
FILLERS: Final = frozenset(_FILLERS.split())
NEGATIONS: Final = re.compile(r"\b(?:not|don'?t|never|won'?t|can'?t|cannot|without|nobody|almost)\b", re.IGNORECASE)
_PROVIDERS: Final = (
    "openai openrouter groq ollama mistral anthropic together deepseek fireworks cerebras xai azure gemini cohere "
    "perplexity vllm lmstudio local sim"
)
"""Names that people give to endpoints. Those of the panel are known too."""

_TOKEN: Final = re.compile(r"https?://[^\s,;]+|\$\s?\d+(?:\.\d+)?|[\w'’-]+(?:[/.:][\w-]+)*|[^\w\s]", re.IGNORECASE)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]*")
_SECRET_LETTERS: Final = 8
_SHORTEST: Final = 3
"""Letters below which any word is near to some other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word of a sentence: as it was typed, as it was meant, and what it stands for. Foreign words stand for ""."""

    typed: str
    meant: str
    concept: str
    begin: int = 0
    """Where it begins in the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A sentence whose words have been looked up."""

    words: tuple[Word, ...]

    @property
    def concepts(self) -> frozenset[str]:
        return frozenset(word.concept for word in self.words)

    @property
    def meant(self) -> str:
        """The sentence as it was meant."""
        return " ".join(word.meant for word in self.words)

    @property
    def name(self) -> str:
        """The endpoint that is named; empty when none is, or several are."""
        names = {word.meant for word in self.words if word.concept == "NAME"}
        return names.pop() if len(names) == 1 else ""

    @property
    def slips(self) -> bool:
        """Whether a word was misspelt."""
        return any(word.typed.lower() != word.meant.lower() for word in self.words)

    @property
    def foreign(self) -> Sequence[str]:
        """Words that no command has."""
        return [word.typed for word in self.words if not word.concept]


def look_up(text: str, names: Sequence[str] = ()) -> Sentence:
    """Look up every word. `names` are endpoints that there are."""
    words: list[Word] = []
    for found in _TOKEN.finditer(text.replace("’", "'")):
        before = words[-1] if words else Word(typed="", meant="", concept="")
        words.append(replace(_word(found[0], before, {*_PROVIDERS.split(), *names}), begin=found.start()))
    return Sentence(words=tuple(words))


def _word(typed: str, before: Word, names: set[str]) -> Word:
    low = typed.lower()
    shape = next((concept for concept, pattern in _SHAPES.items() if pattern.fullmatch(low)), "")
    if shape or (before.concept == "KEY" and len(typed) >= _SECRET_LETTERS):
        return Word(typed=typed, meant=typed, concept=shape or "SECRET")
    concept = "NAME" if low in names else _known(low)
    near = "" if concept or before.concept == "NAMED" or before.meant == "as" else meant_by(low)
    if not (concept or near) and (before.concept in {"ENDPOINT", "NAMED"} or before.meant == "as"):
        concept = "NAME" if _NAME.fullmatch(low) else ""
    return Word(typed=typed, meant=near or (low if concept else typed), concept=concept or _lexicon().get(near, ""))


_SHAPES: Final = {
    "MARK": re.compile(r"[^\w$]"),
    "URL": re.compile(r"https?://\S+"),
    "MODEL_NAME": re.compile(r"[a-z0-9-]+/\S+"),
    "RUN_ID": RUN_ID,
    "APPROVAL_ID": re.compile(r"apr_[0-9a-z]+"),
    "NUMBER": re.compile(rf"\$?\s?\d+(?:\.\d+)?|{'|'.join(NUMBERS)}"),
}


def _known(word: str) -> str:
    """Return what a word stands for, in whatever form of it. Who has deleted, or is deleting, orders nothing: TOLD."""
    lexicon = _lexicon()
    for ending in ("", "ing", "ed", "s", "'s"):
        for stem in (word.removesuffix(ending), word.removesuffix(ending) + "e"):
            if word.endswith(ending) and stem in lexicon and (ending or stem == word):
                told = lexicon[stem] in ACTIONS and lexicon[stem] != "ASK" and ending in {"ing", "ed"}
                return "TOLD" if told else lexicon[stem]
    return ""


@cache
def _lexicon() -> Mapping[str, str]:
    found = dict.fromkeys(_FILLERS.split(), "FILLER")
    for table in (ACTIONS, _THINGS):
        for concept, words in table.items():
            found.update((word, concept) for word in words.split())
    return found | {"named": "NAMED", "called": "NAMED"}


@cache
def meant_by(word: str) -> str:
    """Return the word that a foreign one is a slip of; empty when none is near, or two that mean different things."""
    if len(word) < _SHORTEST:
        return ""
    near: dict[int, list[str]] = {}
    for known in _lexicon():
        if (slips := _slips(word, known)) is not None:
            near.setdefault(slips, []).append(known)
    if not near:
        return ""
    nearest = near[min(near)]
    return nearest[0] if len({_lexicon()[known] for known in nearest}) == 1 else ""


def _slips(word: str, known: str) -> int | None:
    """Return how many slips lie between the two, or None for more than such a word allows: a swap of neighbours in
    three letters, one slip in four or five, two in more when the first letter is right.
    """
    if abs(len(word) - len(known)) > 2 or len(known) < _SHORTEST:
        return None
    if len(word) == _SHORTEST:
        swapped = sorted(word) == sorted(known)
        dropped = len(known) == len(word) + 1 and word[0] == known[0] and word[-1] == known[-1]
        return 1 if (swapped or dropped) and distance(word, known) == 1 else None
    slips = distance(word, known)
    return slips if slips <= (2 if len(word) >= 6 and word[0] == known[0] else 1) else None


def distance(left: str, right: str) -> int:
    """Return the least number of letters to drop, add, change or swap with a neighbour (optimal string alignment)."""
    rows = [list(range(len(right) + 1))]
    for i, a in enumerate(left, start=1):
        row = [i]
        for j, b in enumerate(right, start=1):
            best = min(rows[-1][j] + 1, row[j - 1] + 1, rows[-1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and b == left[i - 2]:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]
