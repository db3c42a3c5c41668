"""Which of a tool's example utterances is a sentence most like: cosine of static word embeddings, all on this
machine.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from whet_agent.catalogue import Tool
from whet_agent.planner.embedding import embed, likeness
from whet_agent.planner.extract import RUN_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """A tool and how like its best example the sentence is, up to 1."""

    tool: Tool
    score: float


class Matcher:
    """The examples of a catalogue, embedded once. Loading takes a tenth of a second: make it in a thread."""

    def __init__(self, tools: Mapping[str, Tool]) -> None:
        self._tools = [tool for tool in tools.values() for _ in tool.examples]
        self._examples = embed([_template(example) for tool in tools.values() for example in tool.examples])

    def rank(self, sentence: str) -> Sequence[Likeness]:
        """Return every tool, the likest first."""
        (wanted,) = embed([_template(sentence)])
        best: dict[str, Likeness] = {}
        for tool, example in zip(self._tools, self._examples, strict=True):
            score = likeness(wanted, example)
            if tool.name not in best or score > best[tool.name].score:
                best[tool.name] = Likeness(tool=tool, score=score)
        return sorted(best.values(), key=lambda likeness: likeness.score, reverse=True)


def _template(sentence: str) -> str:
    """Return the sentence with its particulars taken out: which run and how much say nothing about what is wanted."""
    text = RUN_ID.sub("that run", sentence)
    text = re.sub(r"https?://\S+", "", text)
    return re.sub(r"\$\s*\d+(?:\.\d+)?", "five dollars", text)
