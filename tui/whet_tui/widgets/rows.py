"""A list of rows with a cursor that stays on its row whatever happens to the others. Only rows in view are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from whet_tui.widgets.ink import Ink, ink_of

_POINTER: Final = "› "
_NO_POINTER: Final = "  "
_HEAD: Final = 1


class Painter(Protocol):
    """Draws rows by their place. The strips may be shorter than the width."""

    def head(self, width: int, ink: Ink) -> Strip: ...

    def row(self, place: int, width: int, ink: Ink) -> Strip: ...


class Rows(ScrollView, can_focus=True):
    """Tells which row the cursor is on, and which one is picked with Enter or a click on the cursor."""

    DEFAULT_CSS = "Rows { height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False, id="rows.up"),
        Binding("down,j", "move(1)", "Down", show=False, id="rows.down"),
        Binding("pageup", "page(-1)", "A page up", show=False, id="rows.page_up"),
        Binding("pagedown", "page(1)", "A page down", show=False, id="rows.page_down"),
        Binding("home", "end(-1)", "First", show=False, id="rows.first"),
        Binding("end", "end(1)", "Last", show=False, id="rows.last"),
        Binding("enter", "pick", "Open", show=False, id="rows.pick"),
    ]

    @dataclass
    class Moved(Message):
        """The cursor is on another row; `key` is empty when there is none."""

        rows: "Rows"
        key: str

        @property
        def control(self) -> "Rows":
            return self.rows

    @dataclass
    class Picked(Message):
        """Enter was pressed on a row."""

        rows: "Rows"
        key: str

        @property
        def control(self) -> "Rows":
            return self.rows

    def __init__(self, *, id: str) -> None:  # noqa: A002 -- Textual's own name
        super().__init__(id=id)
        self._keys: Sequence[str] = ()
        self._painter: Painter | None = None
        self._cursor = 0
        self._ink: Ink | None = None

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self._repaint())

    @property
    def key(self) -> str:
        """The key of the row under the cursor, empty when there is none."""
        return self._keys[self._cursor] if self._keys else ""

    @property
    def keys(self) -> Sequence[str]:
        return self._keys

    def show(self, keys: Sequence[str], painter: Painter) -> None:
        """Show these rows. The cursor stays on its key; if that is gone, at its place. The same again costs nothing."""
        if painter == self._painter and keys == self._keys:
            return
        before = self.key
        self._keys, self._painter = keys, painter
        if before in keys:
            self._cursor = keys.index(before)
        self._cursor = max(0, min(self._cursor, len(keys) - 1))
        self._measure()
        self.refresh()
        if self.key != before:
            self.post_message(self.Moved(self, self.key))

    def go_to(self, key: str) -> None:
        """Put the cursor on a row, if it is there."""
        if key in self._keys:
            self._go(self._keys.index(key))

    def on_resize(self, event: events.Resize) -> None:
        self._measure()

    def on_click(self, event: events.Click) -> None:
        place = event.y - _HEAD + self.scroll_offset.y
        if event.y < _HEAD or not 0 <= place < len(self._keys):
            return
        if place == self._cursor:
            self.action_pick()
        else:
            self._go(place)

    def action_move(self, step: int) -> None:
        self._go(self._cursor + step)

    def action_page(self, direction: int) -> None:
        self._go(self._cursor + direction * max(1, self.size.height - _HEAD - 1))

    def action_end(self, direction: int) -> None:
        self._go(len(self._keys) if direction > 0 else 0)

    def action_pick(self) -> None:
        if self._keys:
            self.post_message(self.Picked(self, self.key))

    def _go(self, place: int) -> None:
        place = max(0, min(place, len(self._keys) - 1))
        if self._keys and place != self._cursor:
            self._cursor = place
            self.refresh()
            self._reveal()
            self.post_message(self.Moved(self, self.key))

    def _measure(self) -> None:
        size = Size(self.scrollable_content_region.width, len(self._keys) + _HEAD)
        if self.show_vertical_scrollbar and size.height > self.size.height:
            self._grow(size)
        else:
            self.virtual_size = size
        self._reveal()

    def _grow(self, size: Size) -> None:
        """Take another number of rows without laying the screen out anew: all stay where they are, but for the bar."""
        self.set_reactive(Rows.virtual_size, size)
        self.vertical_scrollbar.window_virtual_size = size.height
        self.vertical_scrollbar.refresh()
        self.scroll_y = self.validate_scroll_y(self.scroll_y)

    def _reveal(self) -> None:
        """Scroll so that the cursor's row is in view below the heading."""
        room = self.size.height - _HEAD
        top = self.scroll_offset.y
        if room > 0 and not top <= self._cursor < top + room:
            self.scroll_to(y=min(self._cursor, max(top, self._cursor - room + 1)), animate=False, force=True)

    def _repaint(self) -> None:
        self._ink = None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        ink = self._ink = self._ink or ink_of(self.app.current_theme)
        width = self.scrollable_content_region.width
        place = y - _HEAD + self.scroll_offset.y
        if self._painter is None or place >= len(self._keys):
            return Strip.blank(self.size.width, ink.base)
        room = max(1, width - len(_POINTER))
        if y < _HEAD:
            return self._finished(_NO_POINTER, self._painter.head(room, ink), ink.base, ink)
        here = place == self._cursor
        ground = Style(bgcolor=ink.code_ground, bold=self.has_focus or None) if here else Style.null()
        return self._finished(_POINTER if here else _NO_POINTER, self._painter.row(place, room, ink), ground, ink)

    def _finished(self, before: str, strip: Strip, ground: Style, ink: Ink) -> Strip:
        line = Strip([Segment(before, ink.accent), *strip]).adjust_cell_length(self.size.width, ink.base)
        return line.apply_style(ink.base + ground) if ground is ink.base else _on(line, ground, ink.base)

    def watch_has_focus(self, value: bool) -> None:  # noqa: FBT001 -- called by Textual
        super().watch_has_focus(value)
        self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.refresh(Region(0, 0, *self.size))


def _on(line: Strip, ground: Style, base: Style) -> Strip:
    """Put a line on the ground of the cursor, whatever its words' own colours are."""
    return Strip([Segment(text, base + (style or Style.null()) + ground) for text, style, _ in line])
