"""Keys and commands, as they are now."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import ClassVar, Final

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from whet_tui.safe import safe_line
from whet_tui.widgets.ink import ink_of

_FIXED: Final = (
    ("Enter", "send; while a turn runs, the message waits its turn"),
    ("Ctrl+J", "new line (Shift+Enter and Alt+Enter where the terminal tells them apart)"),
    ("Up, Down", "earlier and later messages, at the edge of the text"),
    ("¹ ²·³ ⁰", "behind a sentence: the branches that say it; ⁰ means that none does"),
)
"""What no binding says."""
_COLUMN: Final = 21


class HelpScreen(ModalScreen[None]):
    """Shows what can be pressed and typed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,f1,enter,question_mark,ctrl+c,ctrl+d", "dismiss", "Close", id="help.close")
    ]

    def __init__(self, commands: Mapping[str, str]) -> None:
        super().__init__()
        self._commands = commands

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help"):
            yield Static(self._table())

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self._write())

    def _write(self) -> None:
        self.query_one("#help Static", Static).update(self._table())

    def _here(self) -> set[str]:
        """Whose keys can be pressed on the screen below: they come first."""
        below = self.app.screen_stack[-2].active_bindings.values()
        return {active.binding.id.partition(".")[0] for active in below if active.binding.id} - {"app"}

    def _table(self) -> Table:
        from whet_tui.keymap import changed_in, effective, spelled  # the first frame does not wait for it

        ink = ink_of(self.app.current_theme)
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(width=_COLUMN)
        table.add_column(ratio=1)

        here = self._here()
        found = sorted(effective(changed_in(self.app)).values(), key=lambda each: each.place not in here)
        keys: list[tuple[str, Sequence[tuple[str, str]]]] = [
            (place.replace("_", " ").capitalize(), [(", ".join(map(spelled, each.keys)), each.about) for each in bound])
            for place, bound in groupby(found, key=lambda each: each.place)
        ]
        groups = [("Writing", _FIXED), *keys] if "composer" in here else [*keys, ("Writing", _FIXED)]
        groups.append(("Commands", [(f"/{name}", safe_line(summary)) for name, summary in self._commands.items()]))
        for number, (title, rows) in enumerate(groups):
            table.add_row(Text("\n" * (number > 0) + title, ink.you))
            for left, right in rows:
                table.add_row(Text(left, ink.accent), Text(right))
        table.add_row(
            Text("\nEsc", ink.accent), Text("\ncloses this. Other keys: [keys] in config.toml, or the settings (Alt+6)")
        )
        return table
