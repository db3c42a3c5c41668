"""A mind that says what it was told to say, for tests and demonstrations."""

from collections.abc import Callable, Sequence

from whet_agent.model.base import MindError, Moment, Saying, Thought

Line = Thought | Callable[[Moment], Thought]
"""What to say next, or how to decide it."""


class ScriptedMind:
    """Says its lines in order and fails loudly when it is asked for more. `heard` keeps every moment it was asked
    about.
    """

    name = "scripted"

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = list(lines)
        self.heard: list[Moment] = []

    async def think(self, moment: Moment, saying: Saying) -> Thought:
        self.heard.append(moment)
        if not self._lines:
            raise MindError(
                f"The script has ended and the mind was asked once more, at turn {moment.turn}, step {moment.step}."
            )
        line = self._lines.pop(0)
        thought = line(moment) if callable(line) else line
        for offset, word in _words(thought.text):
            saying(1, offset, word)
        return thought

    async def close(self) -> None:
        """Nothing to give up."""


def _words(text: str) -> list[tuple[int, str]]:
    pieces, offset = [], 0
    for word in text.split(" "):
        piece = word if not offset else f" {word}"
        pieces.append((offset, piece))
        offset += len(piece)
    return [piece for piece in pieces if piece[1]]
