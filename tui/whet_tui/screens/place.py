"""What all places but the chat have in common: the way to the others, a look that is taken again and again while the
place is in view, what went wrong, the keys.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from rich.style import Style
from rich.text import Text
from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Static

from whet_tui.desk import DeskError
from whet_tui.keymap import spelled
from whet_tui.places import CHAT, PLACES, Place
from whet_tui.safe import safe_line
from whet_tui.screens.help import HelpScreen
from whet_tui.shelf import ShelfError
from whet_tui.widgets.ink import Ink, ink_of

if TYPE_CHECKING:
    from textual.theme import Theme
    from textual.worker import Worker

    from whet_tui.around import Around

_LOADING: Final = "Looking …"
_HERE: Final = Style(reverse=True)
_NARROW: Final = 120
"""Columns from which there is room for two panes side by side."""


class PlaceScreen(Screen[None]):
    """One place. What it shows is fetched when it comes into view and every `EVERY` seconds until it leaves it."""

    DEFAULT_CSS = """
    PlaceScreen #place-bar { height: 1; }
    PlaceScreen #place-keys { height: auto; max-height: 2; padding: 0 1; }
    PlaceScreen #place-note { height: auto; max-height: 4; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", id="place.back"),
        Binding("f1", "help", "Help", id="place.help"),
        Binding("ctrl+c", "copy", "Copy what is selected", show=False, id="place.copy"),
        Binding("ctrl+d", "app.leave", "Quit", show=False, id="place.quit"),
    ]
    EVERY: ClassVar[float] = 4.0
    """Seconds between two looks; 0 looks once."""

    def __init__(self, place: Place, around: "Around") -> None:
        super().__init__()
        self.place = place
        self.around = around
        self._looking: Worker[None] | None = None
        self._hint = Text()
        self._noted = Text()
        self._written: dict[str, Text] = {}
        self._mixed: tuple[Theme, Ink] | None = None

    @property
    def picks(self) -> str:
        """What Enter does in the list; empty when it does nothing."""
        return ""

    @property
    def unsaved(self) -> str:
        """What would be lost with the program, in words; empty when nothing would."""
        return ""

    def body(self) -> ComposeResult:
        """The widgets between the bar and the keys."""
        raise NotImplementedError

    async def look(self) -> None:
        """Fetch what is shown and show it. May raise `DeskError` and `ShelfError`."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        yield Static(id="place-bar")
        yield from self.body()
        yield Static(Text(_LOADING), id="place-note")
        yield Static(id="place-keys")

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self.draw_anew())
        self.bindings_updated_signal.subscribe(self, lambda _: self._keys())

    @property
    def ink(self) -> Ink:
        """The colours, mixed once for a theme."""
        theme = self.app.current_theme
        if self._mixed is None or self._mixed[0] is not theme:
            self._mixed = (theme, ink_of(theme))
        return self._mixed[1]

    @property
    def wide(self) -> bool:
        return self.app.size.width >= _NARROW

    def on_screen_resume(self) -> None:
        self._frame()
        self.look_again()

    def draw_anew(self) -> None:
        """Draw in the colours of another theme; what nobody sees now is drawn at the next look."""
        self._written.clear()
        self._frame()
        if self.EVERY and self.is_current:
            self.look_again()

    def on_screen_suspend(self) -> None:
        """Nothing is fetched for a place that nobody sees."""
        self._hint = Text()
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def look_again(self) -> None:
        """Look now, and go on looking while the place is in view."""
        self._looking = self._look()

    @work(exclusive=True, group="look")
    async def _look(self) -> None:
        while True:
            try:
                await self.look()
            except (DeskError, ShelfError) as error:
                self.tell(f"{error} Trying again.", bad=True)
            else:
                self._show_note(self._hint)
            if not self.EVERY:
                return
            await asyncio.sleep(self.EVERY)

    def tell(self, text: str, *, bad: bool = False) -> None:
        """Say something above the keys: a fault until the next look that succeeds, a hint until the next hint."""
        words = Text(safe_line(text, 400), self.ink.bad if bad else self.ink.accent)
        if not bad:
            self._hint = words
        self._show_note(words)

    def clear_hint(self) -> None:
        """Take back a hint that has been overtaken."""
        if self._hint:
            self.tell("")

    def write(self, selector: str, text: Text, *, layout: bool = True) -> None:
        """Put a text into a widget, if it is another one than before: laying out costs more than looking. Without
        `layout` the widget is as high as before.
        """
        if self._written.get(selector) != text:
            self._written[selector] = text
            self.query_one(selector, Static).update(text, layout=layout)

    def on_waiting(self) -> None:
        """Tell at once that the chat waits for the person, or that it does not any more."""
        self._show_note(self._noted)

    def _show_note(self, words: Text) -> None:
        self._noted = words
        waiting = self.around.conversation.waits
        note = Text("\n").join(
            [part for part in (words, Text(f"Chat {waiting} (Alt+1)" if waiting else "", self.ink.warning)) if part]
        )
        widget = self.query_one("#place-note", Static)
        widget.display = bool(note)
        self.write("#place-note", note)

    def _frame(self) -> None:
        """Draw the bar with all places and the line of keys."""
        ink = self.ink
        titles = [
            (f" {place.key[-1]} {place.title} ", ink.you + _HERE if place is self.place else ink.muted)
            for place in PLACES
        ]
        bar = Text.assemble(" ", *titles)
        if bar.cell_len > self.size.width:
            shown = _shortened([title.strip() for title, _ in titles], PLACES.index(self.place), self.size.width)
            bar = Text(" ").join(Text(title, style) for title, (_, style) in zip(shown, titles, strict=True))
        self.write("#place-bar", bar)
        self._keys()

    def _keys(self) -> None:
        ink, room = self.ink, max(1, self.size.width - 2)
        lines = [Text()]
        for key, description in self.keys_shown():
            told = Text.assemble((f"{key} ", ink.accent), (f"{description}  ", ink.muted))
            if lines[-1].cell_len + told.cell_len - 2 > room:
                lines.append(Text())
            lines[-1].append(told)
        self.write("#place-keys", Text("\n", no_wrap=True).join(lines))

    def keys_shown(self) -> list[tuple[str, str]]:
        """What can be pressed here and what it does, in the order of the bindings."""
        told: dict[str, Binding] = {}
        for each in self.active_bindings.values():
            if each.node is self and each.binding.show:
                told.setdefault(each.binding.action, each.binding)
        ordered = sorted(told.values(), key=lambda binding: (binding.id or "").startswith("place."))
        shown = [(spelled(binding.key), binding.description) for binding in ordered]
        return [("Enter", self.picks), *shown] if self.picks else shown

    async def action_back(self) -> None:
        await self.run_action(f"app.open_place('{CHAT.place_id}')")

    def action_help(self) -> None:
        commands = {place.command: place.summary for place in PLACES}
        self.app.push_screen(HelpScreen(commands))

    def action_copy(self) -> None:
        selected = self.get_selected_text()
        if selected:
            self.app.copy_to_clipboard(selected)
            self.clear_selection()
        self.tell("copied" if selected else "Nothing is selected. Ctrl+D quits, Alt+1 goes back to the chat.")

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(self.wide, "wide")
        self._frame()


def _shortened(titles: Sequence[str], here: int, width: int) -> Sequence[str]:
    """Titles that fit side by side: the longest are cut first, the one of the place itself last."""
    for most in range(max(map(len, titles)), 1, -1):
        cut = [
            title if place == here or len(title) <= most else f"{title[: most - 1]}…"
            for place, title in enumerate(titles)
        ]
        if len(" ".join(cut)) <= width:
            return cut
    return [title[0] for title in titles]
