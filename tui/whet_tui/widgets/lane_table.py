"""The branches of a fan-out as rows: state, model, tokens, time, money, first words."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from whet_tui.entries import Fanout, Lane, LaneState, dollars
from whet_tui.safe import safe, safe_line
from whet_tui.widgets.ink import Ink
from whet_tui.widgets.prose import plain_lines

GLYPHS: Final = {
    LaneState.PLANNED: "·",
    LaneState.WAITING: "◦",
    LaneState.LOADING: "↓",
    LaneState.ASKED: "○",
    LaneState.STREAMING: "▸",
    LaneState.DONE: "✓",
    LaneState.PARTIAL: "◐",
    LaneState.FAILED: "✗",
    LaneState.CANCELLED: "–",
}

_STATE: Final = 12
"""A glyph, a blank, the longest word of a state, a blank."""
_TOKENS: Final = 6
_TIME: Final = 7
_COST: Final = 9
_FEWEST_WORDS: Final = 16
"""Columns of first words below which the money's column is given up for them, and then the words themselves."""
_LETTERS_A_TOKEN: Final = 4
"""For the estimate that is shown, with a tilde, until the provider reports."""
_MOST_ROWS: Final = 12
"""Branches up to which each has its row while the block is folded: more would push the draft out of a small terminal.
"""
_FEW_ROWS: Final = 8
_WORTH: Final = [
    LaneState.STREAMING,
    LaneState.FAILED,
    LaneState.PARTIAL,
    LaneState.LOADING,
    LaneState.ASKED,
    LaneState.WAITING,
    LaneState.DONE,
    LaneState.CANCELLED,
    LaneState.PLANNED,
]
"""Whose rows are shown first: who talks, then who failed, then who is waited for."""
_TAILED: Final = 4
"""Branches up to which each shows its latest words while it talks: they fit a terminal of 24 lines with a draft below.
"""
_TAIL_LINES: Final = 2
_TAIL_INDENT: Final = 4
_TAIL_STEP: Final = 1000
"""Characters after which the wrapping of the latest words begins anew; until then only the last line changes."""
_SIMULATED: Final = " simulated"


@dataclass(frozen=True, slots=True)
class LaneColumns:
    """The widths of the columns; 0 for one that there is no room for."""

    number: int
    model: int
    cost: int
    words: int


def lane_rows(fanout: Fanout, width: int, ink: Ink, now_ns: int, *, tails: bool = False) -> list[Strip]:
    """One row a branch; with `tails` a small panel also shows the latest words of who is talking."""
    columns = lane_columns(fanout.lanes.values(), width)
    tails &= len(fanout.lanes) <= _TAILED and not fanout.ended and not fanout.left
    lines: list[Strip] = []
    for lane in fanout.lanes.values():
        lines.append(lane_row(fanout, lane, columns, ink, now_ns))
        if tails and lane.state is LaneState.STREAMING:
            lines += _tail(lane, width, ink)
    return lines


def few_rows(fanout: Fanout, width: int, ink: Ink, now_ns: int) -> list[Strip]:
    """A large panel in few lines: how many branches are in which state, and those that are worth a look."""
    lanes = list(fanout.lanes.values())
    if len(lanes) <= _MOST_ROWS:
        return lane_rows(fanout, width, ink, now_ns, tails=True)
    counts = Counter(lane.state for lane in lanes)
    told = " · ".join(f"{GLYPHS[state]} {counts[state]} {state}" for state in LaneState if counts[state])
    columns = lane_columns(lanes, width)
    shown = sorted(lanes, key=lambda lane: _WORTH.index(lane.state))[:_FEW_ROWS]
    rows = [lane_row(fanout, lane, columns, ink, now_ns) for lane in sorted(shown, key=lambda lane: lane.number)]
    rest = f"{told} · {len(shown)} of {len(lanes)} shown, all: Ctrl+O"
    return [*rows, *plain_lines(safe(rest), width, ink.muted)]


def _tail(lane: Lane, width: int, ink: Ink) -> list[Strip]:
    """The last lines of what a branch says, broken from a place that seldom moves, so that words stand still."""
    begin = max(0, len(lane.text) // _TAIL_STEP - 1) * _TAIL_STEP
    words = safe(" ".join(lane.text[begin:].split()))
    lines = plain_lines(words, max(1, width - _TAIL_INDENT), ink.muted)
    return [Strip([Segment(" " * _TAIL_INDENT), *line]) for line in lines[-_TAIL_LINES:]]


def lane_name(lane: Lane) -> str:
    """The model, and what tells this branch from others of the same model."""
    parts = [lane.model, voice_of(lane), f"#{lane.sample}" if lane.sample > 1 else ""]
    return safe_line(" ".join(part for part in parts if part), 80)


def voice_of(lane: Lane) -> str:
    """The branch's label, or the first words of its persona in quotes."""
    return f"“{lane.persona}”" if " " in lane.persona else lane.persona


def seconds(nanos: int) -> str:
    """A duration as people say it."""
    value = nanos / 1e9
    if value < 60:
        return f"{value:.1f} s"
    return f"{int(value) // 60}m{int(value) % 60:02d}s"


def lane_columns(lanes: Iterable[Lane], width: int, *, names_first: bool = False) -> LaneColumns:
    """How wide each column is for these lanes. A name takes half of what is left at most, unless names come first:
    where the words stand below anyway.
    """
    lanes = list(lanes)
    number = len(str(len(lanes))) + 1
    longest = max((cell_len(lane_name(lane)) + len(_SIMULATED) * lane.simulated for lane in lanes), default=0)
    fixed = number + _STATE + _TOKENS + _TIME
    room = width - fixed - _COST - 1 if names_first else (width - fixed) // 2
    model = max(12, min(longest, room)) + 1
    cost = _COST if width - fixed - model - _COST >= (0 if names_first else _FEWEST_WORDS) else 0
    words = width - fixed - model - cost
    return LaneColumns(number, model, cost, words if words >= _FEWEST_WORDS // 2 else 0)


def lane_head(columns: LaneColumns, ink: Ink) -> Strip:
    """The heading over the rows."""
    cells = [
        ("# ", columns.number, True),
        ("state", _STATE, False),
        ("model", columns.model, False),
        ("tokens", _TOKENS, True),
        ("time", _TIME, True),
        ("cost", columns.cost, True),
        (" first words", columns.words, False),
    ]
    return Strip([_cell(title, width, ink.muted, right=right) for title, width, right in cells if width])


def lane_row(fanout: Fanout, lane: Lane, columns: LaneColumns, ink: Ink, now_ns: int) -> Strip:
    """One branch."""
    style = ink.lane(lane.state)
    segments = [
        _cell(f"{lane.number} ", columns.number, ink.accent, right=True),
        _cell(f"{GLYPHS[lane.state]} {lane.state}", _STATE, style),
        *_model(lane, columns.model, ink),
        _cell(_tokens(lane), _TOKENS, ink.muted, right=True),
        _cell(_time(fanout, lane, now_ns), _TIME, ink.muted, right=True),
        *([_cell(_cost(lane), columns.cost, ink.muted, right=True)] if columns.cost else []),
    ]
    if columns.words:
        words, words_style = _words(lane, ink)
        segments += [Segment(" "), _cell(words, columns.words - 1, words_style)]
    return Strip(segments)


def _model(lane: Lane, width: int, ink: Ink) -> list[Segment]:
    """The name gives way to the word `simulated`, never the other way round."""
    if not lane.simulated:
        return [_cell(lane_name(lane), width, Style.null())]
    name = _shortened(lane_name(lane), width - len(_SIMULATED) - 1)
    return [Segment(name), _cell(_SIMULATED, width - cell_len(name), ink.simulated)]


def _tokens(lane: Lane) -> str:
    if lane.output_tokens:
        return f"{'~' * lane.estimated}{_short(lane.output_tokens)}t"
    return f"~{_short(max(1, len(lane.text) // _LETTERS_A_TOKEN))}t" if lane.text else ""


def _short(number: int) -> str:
    return str(number) if number < 10_000 else f"{number // 1000}k"


def _time(fanout: Fanout, lane: Lane, now_ns: int) -> str:
    if lane.latency_ns:
        return seconds(lane.latency_ns)
    running = not (lane.state.ended or fanout.ended or fanout.left) and fanout.opened_ns
    return seconds(max(0, now_ns - fanout.opened_ns)) if running else ""


def _cost(lane: Lane) -> str:
    if lane.cached:
        return "cached"
    if lane.money.unknown:
        return f"{dollars(lane.money.settled + lane.money.unknown)}?"
    if lane.money.unpriced:
        return "price?"
    return dollars(lane.money.settled) if lane.state.ended else ""


def _words(lane: Lane, ink: Ink) -> tuple[str, Style]:
    """What there is to say about the branch: its failure, what it waits for, or its first words."""
    if lane.failure:
        return safe_line(lane.failure), ink.bad
    if lane.state is LaneState.LOADING and lane.fraction:
        return f"{lane.detail or 'loading the model'} {lane.fraction:.0%}", ink.muted
    if lane.detail and not lane.text:
        return safe_line(lane.detail), ink.muted
    return safe_line(lane.text), Style.null()


def _cell(text: str, width: int, style: Style, *, right: bool = False) -> Segment:
    text = _shortened(text, width)
    padding = " " * (width - cell_len(text))
    return Segment(padding + text if right else text + padding, style)


def _shortened(text: str, width: int) -> str:
    if width <= 0:
        return ""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"
