"""The conversation: one widget that draws lines, however many messages there are.

Entries are data. A block is laid out when it comes near the viewport and kept until it changes; below and above there
are estimates. What arrives marks blocks as changed, and a tick lays them out again: at least `_SHORTEST` after the
last, and long enough that laying out takes a tenth of the time. Nothing ticks when nothing arrives.
"""

import time
from collections.abc import Callable, Container, Iterable
from typing import TYPE_CHECKING, ClassVar, Final

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.timer import Timer

from whet_tui.entries import Entry, Said
from whet_tui.widgets.heights import Heights
from whet_tui.widgets.ink import Ink, ink_of
from whet_tui.widgets.search import Search

if TYPE_CHECKING:
    from whet_tui.widgets.block import Block

_SHORTEST: Final = 0.05
"""Seconds between two layouts: twenty a second look like flowing."""
_LONGEST: Final = 0.5
"""However long a layout takes, words must not stand still for longer than this."""
_SOONEST: Final = 0.001
"""A timer of no time at all is an error to Textual."""
_KEPT: Final = 200
"""Blocks whose lines are kept: a few screens in each direction, and memory that does not grow with the conversation."""
_SHARE: Final = 10
"""The time between two layouts as a multiple of the last one's: a tenth of a core at most."""


class Transcript(ScrollView, can_focus=True):
    """Draws entries, follows the end unless the person scrolled up, unfolds blocks, gives out what is selected."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "unfold", "Unfold or fold", show=False, id="transcript.unfold")
    ]

    def __init__(self, now_ns: Callable[[], int] = time.time_ns) -> None:
        super().__init__()
        self._now_ns = now_ns
        self._blocks: list[Block] = []
        self._places: dict[str, int] = {}
        self._heights = Heights()
        self._changed: set[int] = set()
        self._ink: Ink | None = None
        self._width = 0
        self._following = True
        self._moving = False
        self._tick: Timer | None = None
        self._next_tick = 0.0
        self._kept: dict[int, None] = {}
        """The blocks that hold lines, the one drawn last at the end."""
        self._search = Search()

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self._lay_out_anew())

    def on_resize(self, event: events.Resize) -> None:
        width = self.scrollable_content_region.width
        if width != self._width:
            self._width = width
            self._lay_out_anew()
        else:
            self._settle()

    @property
    def following(self) -> bool:
        """Whether the end is kept in view."""
        return self._following

    def hear(self, entries: Iterable[Entry]) -> None:
        """Take up entries that are new or have changed; they are drawn at the next tick."""
        for entry in entries:
            place = self._places.get(entry.key)
            if place is None:
                place = self._places[entry.key] = len(self._blocks)
                self._blocks.append(self._block_of(entry))
                self._heights.append(self._blocks[place].estimate(self._width))
            self._changed.add(place)
        self._schedule()

    def _block_of(self, entry: Entry) -> "Block":
        from whet_tui.widgets.block import Block  # Markdown and its colours load after the first frame

        return Block(entry)

    def cut(self, keys: Container[str]) -> None:
        """Take out every block but those of the entries with these keys: the person went back."""
        self._forget_all()
        kept = [(block, self._heights[place]) for place, block in enumerate(self._blocks) if block.entry.key in keys]
        self._blocks = [block for block, _ in kept]
        self._places = {block.entry.key: place for place, block in enumerate(self._blocks)}
        self._heights = Heights()
        for _, height in kept:
            self._heights.append(height)
        self._changed.clear()
        self._lay_out_anew()

    def find(self, words: str, step: int) -> tuple[int, int]:
        """Look for words in every block, folded or not, and show the next place (the latest at first). Return which of
        how many it is.
        """
        self._search.look(words, self._blocks)
        place = self._search.move(step)
        if place is not None:
            self._following = False
            self._reveal(place)
        self.refresh()
        return self._search.number, self._search.count

    def _reveal(self, place: int) -> None:
        """Bring a block's words into view; what is folded away is unfolded for it."""
        block = self._blocks[place]
        self._draw(place)
        if not self._search.rows(block) and block.foldable and not block.unfolded:
            block.unfolded = True
            self._draw(place)
        rows = self._search.rows(block)
        row = rows[min(self._search.nth, len(rows) - 1)] if rows else 0
        for _ in range(2):  # what is laid out above the line can move it once
            self._measure()
            self._move_to(max(0, self._heights.start(place) + row - self.size.height // 2))
            self._settle()

    def hear_clock(self) -> None:
        """Draw again what shows a running time."""
        self._changed.update(place for place in self._in_view() if self._blocks[place].open)
        self._schedule()

    def follow(self) -> None:
        """Go to the end and stay there."""
        self._following = True
        self._settle()

    def action_unfold(self) -> None:
        """Fold or unfold the last block in view that can be."""
        shown = self._in_view()
        foldable = [place for place in shown if self._blocks[place].foldable]
        if foldable:
            self._toggle(foldable[-1])

    def on_click(self, event: events.Click) -> None:
        line = event.y + self.scroll_offset.y
        place = self._heights.at(line)
        headline = place < len(self._blocks) and line == self._heights.start(place)
        if headline and self._blocks[place].foldable and self.text_selection is None:
            self._toggle(place)

    def _toggle(self, place: int) -> None:
        block = self._blocks[place]
        block.unfolded = not block.unfolded
        self._draw(place)
        top = self._heights.start(place)
        if block.unfolded:
            self._following = False
        self._settle()
        if block.unfolded and (top < self.scroll_offset.y or self._heights[place] >= self.size.height):
            self._move_to(top)
            self._settle()

    def _schedule(self) -> None:
        if self._changed and self._tick is None and self._width:
            self._tick = self.set_timer(max(_SOONEST, self._next_tick - time.monotonic()), self._on_tick)

    def _on_tick(self) -> None:
        self._tick = None
        started = time.monotonic()
        near = self._near()
        for place in self._changed:
            if place in near:
                self._draw(place)
            else:
                self._drop(place)
        self._changed.clear()
        self._settle()
        cost = time.monotonic() - started
        self._next_tick = started + min(_LONGEST, max(_SHORTEST, _SHARE * cost))

    def _near(self) -> range:
        """The blocks that will be in view: those that are, or while the end is followed those at the end."""
        if not self._following:
            return self._in_view()
        top = max(0, self._heights.total - self.size.height)
        return range(self._heights.at(top), len(self._blocks))

    def _in_view(self) -> range:
        top = self.scroll_offset.y
        last = min(self._heights.at(top + max(0, self.size.height - 1)), len(self._blocks) - 1)
        return range(self._heights.at(top), last + 1)

    def _draw(self, place: int) -> int:
        """Lay a block out; return by how many lines it grew."""
        if self._ink is None:
            self._ink = ink_of(self.app.current_theme)
        lines = self._blocks[place].draw(self._width, self._ink, self._now_ns())
        self._kept.pop(place, None)
        self._kept[place] = None
        return self._heights.set(place, len(lines))

    def _drop(self, place: int) -> None:
        self._blocks[place].forget()
        self._kept.pop(place, None)

    def _let_go(self) -> None:
        """Drop the lines of what was drawn longest ago."""
        if len(self._kept) > _KEPT:
            shown = self._in_view()
            for place in [place for place in self._kept if place not in shown][: len(self._kept) - _KEPT]:
                self._drop(place)

    def _lay_out_anew(self) -> None:
        """Forget all lines; those in view are laid out at once, the others when they come into view."""
        self._ink = None
        self._forget_all()
        self._settle()

    def _forget_all(self) -> None:
        for place in list(self._kept):
            self._drop(place)

    def _settle(self) -> None:
        """Lay out what is in view, put the end or the top line where it belongs, and paint."""
        if not self._width:
            return
        if self._following:
            self._fill_upwards()
        else:
            self._fill_downwards()
        self._measure()
        if self._following:
            self._move_to(self._heights.total)
        self._let_go()
        self.refresh()

    def _fill_upwards(self) -> None:
        room = self.size.height
        for place in range(len(self._blocks) - 1, -1, -1):
            if room <= 0:
                return
            if self._blocks[place].lines is None:
                self._draw(place)
            room -= self._heights[place]

    def _fill_downwards(self) -> None:
        top = self.scroll_offset.y
        first = self._heights.at(top)
        if first < len(self._blocks) and self._blocks[first].lines is None:
            begun_above = self._heights.start(first) < top
            grown = self._draw(first)
            if begun_above and grown:  # what stood below the block's visible end stays where it was
                self._measure()
                self._move_to(top + grown)
                top = self.scroll_offset.y
        for place in range(self._heights.at(top), len(self._blocks)):
            if self._heights.start(place) >= top + self.size.height:
                return
            if self._blocks[place].lines is None:
                self._draw(place)

    def _measure(self) -> None:
        size = Size(self._width, self._heights.total)
        if size != self.virtual_size:
            self._moving = True
            self.virtual_size = size
            self._moving = False

    def _move_to(self, line: int) -> None:
        self._moving = True
        self.scroll_to(y=line, animate=False, force=True)
        self._moving = False

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if not self._moving and round(old_value) != round(new_value):
            self._following = round(new_value) >= self.max_scroll_y
            if any(self._blocks[place].lines is None for place in self._in_view()):
                self._settle()

    def render_line(self, y: int) -> Strip:
        line = y + self.scroll_offset.y
        base = self._ink.base if self._ink is not None else self.rich_style
        place = self._heights.at(line)
        lines = self._blocks[place].lines if place < len(self._blocks) else None
        offset = line - self._heights.start(place) if lines is not None else 0
        if lines is None or offset >= len(lines):
            return Strip.blank(self.size.width, base)
        strip = lines[offset].crop_extend(0, self.size.width, base)
        strip = self._search.marked(strip, current=place == self._search.place)
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(line)) is not None:
            strip = _selected(strip, span, self.screen.get_component_rich_style("screen--selection"))
        return strip.apply_offsets(0, line)

    def source(self) -> str:
        """The whole conversation as Markdown, each thing that the person said as a quotation."""
        pieces = []
        for block in self._blocks:
            text = block.source()
            if isinstance(block.entry, Said):
                text = "\n".join(f"> {line}" for line in text.splitlines())
            pieces.append(text)
        return "\n\n".join(piece for piece in pieces if piece) + "\n"

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """What is copied: the Markdown source of blocks that are selected whole, the visible words of others."""
        first = selection.start.y if selection.start is not None else 0
        last = selection.end.y if selection.end is not None else self._heights.total - 1
        chosen = range(self._heights.at(first), min(self._heights.at(last), len(self._blocks) - 1) + 1)
        pieces = [self._copied(place, selection, first, last) for place in chosen]
        return "\n\n".join(piece for piece in pieces if piece), "\n"

    def _copied(self, place: int, selection: Selection, first: int, last: int) -> str:
        block, start = self._blocks[place], self._heights.start(place)
        if block.lines is None:
            return block.source()
        end = start + len(block.lines) - 1  # the block's last line is the blank below it
        whole_first = first < start or (first == start and (selection.start is None or selection.start.x <= 2))
        whole_last = last >= end or selection.end is None
        if whole_first and whole_last:
            return block.source()
        words = []
        for line in range(max(first, start), min(last, end) + 1):
            span = selection.get_span(line)
            if span is not None:
                strip = block.lines[line - start]
                words.append(strip.crop(span[0], None if span[1] == -1 else span[1]).text.rstrip())
        return "\n".join(words)

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()


def _selected(strip: Strip, span: tuple[int, int], style: Style) -> Strip:
    start, end = span
    end = strip.cell_length if end == -1 else min(end, strip.cell_length)
    if start >= end:
        return strip
    return Strip.join([strip.crop(0, start), strip.crop(start, end).apply_style(style), strip.crop(end)])
