"""Source marks: which branches a sentence of the final text stands on, written at the sentence's end."""

from collections.abc import Sequence
from typing import Final

from whet_tui.entries import Fanout, Sentence

_RAISED: Final = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

_SHOWN: Final = 4
"""Sources named at one sentence; more would be longer than the words they support."""

NOBODY: Final = "⁰"
"""The mark of a sentence that no branch says."""


def mark(numbers: Sequence[int]) -> str:
    """Return the mark for these branches, best first: `¹·³`."""
    if not numbers:
        return NOBODY
    return "·".join(str(number).translate(_RAISED) for number in numbers[:_SHOWN]) + (
        "⁺" if len(numbers) > _SHOWN else ""
    )


def marked_text(fanout: Fanout) -> str:
    """The final text with a mark after each sentence. Nothing is written into fenced code, where a mark would be read
    as code.
    """
    synthesis = fanout.synthesis
    if synthesis is None:
        return ""
    text, pieces, place, fenced = synthesis.text, [], 0, False
    for sentence in synthesis.sentences:
        end = _end(text, sentence)
        if end < place:
            continue
        fenced ^= text.count("```", place, end) % 2 == 1
        pieces.append(text[place:end])
        if not fenced and end > 0:
            pieces.append(mark(_numbers(fanout, sentence)))
        place = end
    return "".join(pieces) + text[place:]


def _numbers(fanout: Fanout, sentence: Sentence) -> list[int]:
    """The numbers of the branches that support the sentence, each once, best first."""
    numbers = (fanout.number(source.branch_id) for source in sentence.sources)
    return list(dict.fromkeys(number for number in numbers if number))


def _end(text: str, sentence: Sentence) -> int:
    """Where the mark goes: after the last letter; in a row of a table before the bar that ends it."""
    end = min(sentence.end, len(text))
    while end > sentence.start and text[end - 1] in " \t\n|":
        end -= 1
    return end
