"""The items of a judgement as rows. A row is made when it is drawn, however many there are."""

from collections.abc import Callable, Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from whet_tui.judging_values import JudgedItem, Outcome
from whet_tui.safe import safe_line
from whet_tui.widgets.ink import Ink

KEPT: Final = "✓"
"""The person has rated it."""
SENDING: Final = "…"
"""The person has just rated it."""
UNKEPT: Final = "!"
"""The person has rated it, and the server did not take that yet."""
OTHERS: Final = "∘"
"""Only others have rated it."""
UNRATED: Final = "·"
_NUMBER: Final = 6
_SHORTEST_ID: Final = 4
_LONGEST_ID: Final = 20
_MEASURED: Final = 100
"""Items by which the width of the ids is chosen: they look alike."""
_FEWEST_WORDS: Final = 16
"""Columns of first words below which there are none."""


class ItemRows:
    """Paints items: who has rated them, score, disagreement, what was not scored, first words."""

    def __init__(self, items: Sequence[JudgedItem], mark: Callable[[JudgedItem], str], *, blind: bool) -> None:
        self._items = items
        self._mark = mark
        self._blind = blind
        self._id = min(_LONGEST_ID, max([_SHORTEST_ID, *(cell_len(each.item.item_id) for each in items[:_MEASURED])]))

    def head(self, width: int, ink: Ink) -> Strip:
        style = ink.muted
        cells = [Segment("  "), _cell("item", self._id, style), _right("score", style), _right("differ", style)]
        return Strip([*cells, Segment("  first words", style)])

    def row(self, place: int, width: int, ink: Ink) -> Strip:
        judged = self._items[place]
        mark = self._mark(judged)
        score, style = self._score(judged, ink)
        cells = [
            Segment(f"{mark} ", {KEPT: ink.good, SENDING: ink.accent, UNKEPT: ink.bad}.get(mark, ink.muted)),
            _cell(safe_line(judged.item.item_id, 60), self._id, ink.accent),
            _right(score, style),
            _right(f"{judged.disagreement:.2f}", ink.muted),
        ]
        room = width - self._id - 2 * _NUMBER - 6
        if room >= _FEWEST_WORDS:
            cells += [Segment("  "), *self._words(place, room, ink)]
        return Strip(cells)

    def _score(self, judged: JudgedItem, ink: Ink) -> tuple[str, Style]:
        if self._blind:
            return "hidden", ink.muted
        return (f"{judged.score:.2f}", Style.null()) if judged.score is not None else ("–", ink.warning)

    def _words(self, place: int, room: int, ink: Ink) -> list[Segment]:
        """What was not scored, then the input's first words; the answer's below another answer to the same."""
        judged = self._items[place]
        outcomes = dict.fromkeys(
            verdict.outcome.words for verdict in judged.verdicts if verdict.outcome is not Outcome.SCORED
        )
        told = ", ".join(outcomes)
        told = f"{told} · " if told and not self._blind else ""
        answer, same = "".join(judged.item.candidates[:1]), place and self._items[place - 1].item.input
        words = safe_line(f"↳ {answer}" if judged.item.input == same else judged.item.input or answer, room)
        return [Segment(told, ink.warning), _cell(words, max(1, room - cell_len(told)), Style.null())]


def _right(text: str, style: Style) -> Segment:
    return Segment(f"  {text:>{_NUMBER}}", style)


def _cell(text: str, width: int, style: Style) -> Segment:
    if cell_len(text) > width:
        text = set_cell_size(text, max(0, width - 1)) + "…"
    return Segment(text + " " * (width - cell_len(text)), style)
