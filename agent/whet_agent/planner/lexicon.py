"""The words of a subject: what each stands for, and which of them together mean which tool."""

import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Final

from whet_agent.catalogue import Tool
from whet_agent.planner.plan import Say
from whet_agent.planner.words import FILLERS, distance, meant_by

_SHORTEST_SLIP: Final = 5
"""Letters below which a word that is not ours is foreign: `just` is no slip of `judge`."""
_MOST_ASKED: Final = 3
"""Tools that are named where it is not clear which is meant."""


class Lexicon:
    """`concepts`: concept to its words; `fillers`: words that mean nothing here; `forms`: tool to its forms, each a row
    of concepts, those with a question mark may be missing. All are apart by spaces, forms by `|`.
    """

    def __init__(self, concepts: Mapping[str, str], fillers: str, forms: Mapping[str, str]) -> None:
        self._concepts = {word: concept for concept, words in concepts.items() for word in words.split()}
        self._fillers = FILLERS | frozenset(fillers.split())
        self._forms = {name: tuple(_form(words.split()) for words in said.split("|")) for name, said in forms.items()}
        self.concept = cache(self._concept)

    def fits(self, tool: str, concepts: Collection[str]) -> bool:
        """Whether the concepts are those of a form of the tool."""
        said = frozenset(concepts)
        return any(needed <= said <= allowed for needed, allowed in self._forms[tool])

    def nearest(self, concepts: frozenset[str]) -> list[str]:
        """Return the tools whose forms share most with the concepts."""
        shared = {
            name: max(2 * len(needed & concepts) - len(needed - concepts) for needed, _ in forms)
            for name, forms in self._forms.items()
        }
        best = max(shared.values())
        return [name for name, share in shared.items() if share == best and share > 0]

    def _concept(self, word: str) -> str:
        """Return what a word stands for: a concept, FILLER or MARK; empty for a word that is not ours."""
        low = word.lower().replace("’", "'")
        if not re.match(r"\w", low):
            return "MARK"
        for each in (low, meant_by(low)):
            if each in self._concepts:
                return self._concepts[each]
            if each in self._fillers:
                return "FILLER"
        near = {to for known, to in self._concepts.items() if known[0] == low[0] and distance(low, known) == 1}
        return near.pop() if len(low) >= _SHORTEST_SLIP and len(near) == 1 else ""


def ask_back(names: Sequence[str], tools: Mapping[str, Tool], given: str = "") -> Say:
    """Name what may be meant, numbered, so that the answer can be a number. `given` are the arguments of the first."""
    named = enumerate(names[:_MOST_ASKED], start=1)
    lines = [f"{number}. `/{name}{given}` – {tools[name].summary}" for number, name in named]
    which = "One of these? Answer with its number." if len(lines) > 1 else "This? Answer yes, or say it otherwise."
    return Say(text="\n".join([f"What do you mean? {which}", "", *lines]))


def _form(words: Sequence[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return a form as what must be there and what may."""
    needed = frozenset(word for word in words if not word.endswith("?"))
    return needed, frozenset(word.rstrip("?") for word in words)
