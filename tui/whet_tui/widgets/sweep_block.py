"""A sweep in the chat: how far it is, the best so far, a bar; at the end the verdict. Everything else has its place."""

from typing import Final

from rich.segment import Segment
from textual.strip import Strip

from whet_tui.entries import Sweeping
from whet_tui.safe import safe, safe_line
from whet_tui.swept import best_words, opening_words, share, verdict_words
from whet_tui.widgets.ink import Ink
from whet_tui.widgets.prose import plain_lines

_BAR: Final = 40
"""Cells of the bar: on a wide screen a longer one tells no more."""


def sweep_lines(sweep: Sweeping, width: int, ink: Ink) -> list[Strip]:
    """Return the lines below the headline, which tells how far it is."""
    lines = plain_lines(safe_line(opening_words(sweep)), width, ink.muted) if sweep.planned else []
    if not sweep.ended and sweep.planned:
        lines.append(_bar(sweep, width, ink))
    if best := best_words(sweep):
        lines += plain_lines(safe_line(best), width, ink.accent)
    if sweep.controlled and not sweep.ended:
        lines += plain_lines(safe_line(f"last: {sweep.controlled}"), width, ink.muted)
    if verdict := verdict_words(sweep):
        lines += plain_lines(safe(verdict), width, ink.good if sweep.verdict == "better" else ink.accent)
    if sweep.failure:
        lines += plain_lines(safe(sweep.failure), width, ink.bad)
    if sweep.left:
        told = f"It goes on by itself. /get_sweep {sweep.run_id} tells how it stands, /watch_sweep follows it again."
        lines += plain_lines(safe_line(told), width, ink.muted)
    return lines


def _bar(sweep: Sweeping, width: int, ink: Ink) -> Strip:
    cells = min(_BAR, width)
    done = round(cells * share(sweep))
    return Strip([Segment("━" * done, ink.accent), Segment("─" * (cells - done), ink.muted)])
