"""Settings: what is set, where it came from, what it does; changed here and written to `config.toml`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from whet_tui.config_file import ConfigFile, NotWritten
from whet_tui.keymap import changed_in, checked, effective, known, spelled
from whet_tui.safe import safe_line
from whet_tui.schema import KEYS, SETTINGS, Setting, Value
from whet_tui.screens.place import PlaceScreen
from whet_tui.settings import DEFAULT, FILE, Settings, SettingsError
from whet_tui.widgets.in_order import Line
from whet_tui.widgets.ink import ink_of

if TYPE_CHECKING:
    from whet_tui.around import Around
    from whet_tui.places import Place

_NAME: Final = 24
_VALUE: Final = 30
_THEME: Final = "chat.theme"


class KeyScreen(ModalScreen[str]):
    """Dismissed with the next key that is pressed, or with nothing for Esc."""

    def __init__(self, about: str) -> None:
        super().__init__()
        self._about = about

    def compose(self) -> ComposeResult:
        yield Static(Text(f"{self._about}\n\nPress the new key. Esc keeps the old one."), id="press")

    def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        self.dismiss("" if event.key == "escape" else event.key)


class SettingsScreen(PlaceScreen):
    """A list of settings and keys; what is chosen is explained below it and changed there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "write", "Write it", id="settings.write"),
        Binding("d", "reset", "Default", id="settings.default"),
        Binding("r", "read", "Read again", id="settings.read"),
    ]

    EVERY: ClassVar[float] = 0
    """The file is read when somebody comes, and when they ask for it."""

    def __init__(self, place: "Place", around: "Around") -> None:
        super().__init__(place, around)
        self._settings = Settings(data=Path())
        self._file: ConfigFile | None = None
        self._editing: Setting | None = None
        self._pressing = False

    @property
    def picks(self) -> str:
        return "Change"

    def body(self) -> ComposeResult:
        yield OptionList(id="settings")
        yield Static(id="setting")
        yield Line(id="value", compact=True)
        yield Static(id="note")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(Input).display = False
        self.query_one(OptionList).focus()

    def draw_anew(self) -> None:
        super().draw_anew()
        self._show()

    async def look(self) -> None:
        from whet_tui.application import ChatApp  # which opens this screen

        if self._pressing:
            return  # back from the question for a key: nobody has been elsewhere
        if isinstance(self.app, ChatApp):
            self._settings = self.app.settings
        self._read()

    @property
    def _chosen(self) -> str:
        """The key of the setting under the cursor: `chat.theme`, or `keys.chat.help`."""
        options = self.query_one(OptionList)
        return (options.get_option_at_index(options.highlighted).id or "") if options.highlighted is not None else ""

    def _read(self) -> None:
        """Take the file as it is now."""
        try:
            if self._settings.again is not None and self._settings.file is not None:
                self._file = ConfigFile(self._settings.file)
                self._settings = self._settings.again()
                self.take(self._settings)
        except (NotWritten, SettingsError) as error:
            self._note(str(error), bad=True)
        self._show()

    def take(self, settings: Settings) -> None:
        """Let what can be felt at once be felt."""
        from whet_tui.application import ChatApp  # which opens this screen

        if isinstance(self.app, ChatApp):
            complaints = [*settings.complaints, *self.app.take(settings)]
            self._note("\n".join(complaints), bad=True)

    def _show(self) -> None:
        options = self.query_one(OptionList)
        place = options.highlighted
        options.clear_options()
        options.add_options(self._rows())
        options.highlighted = place if place is not None else 1

    def _rows(self) -> Iterator[Option]:
        table = ""
        for key, setting in SETTINGS.items():
            if setting.table != table:
                table = setting.table
                yield self._head(table)
            found = self._settings.found.get(key)
            value, origin = (found.value, found.origin) if found is not None else (setting.default, DEFAULT)
            yield Option(self._row(setting.name, _told(value), origin), id=key)
        yield self._head(KEYS)
        changed = changed_in(self.app)
        for name, bound in effective(changed).items():
            origin = FILE if name in changed else DEFAULT
            yield Option(self._row(name, ", ".join(map(spelled, bound.keys)), origin), id=f"{KEYS}.{name}")

    def _head(self, name: str) -> Option:
        return Option(Text(f"[{name}]", ink_of(self.app.current_theme).you), disabled=True)

    def _row(self, name: str, value: str, origin: str) -> Text:
        """A row without colours of its own: it must be read on the ground of the cursor too."""
        told = f"{safe_line(value, _VALUE) or '-':<{_VALUE}} "
        return Text.assemble(
            f"  {name:<{_NAME}}", (told, "" if origin == DEFAULT else "bold"), safe_line(origin), no_wrap=True
        )

    @on(OptionList.OptionHighlighted)
    def _explain(self) -> None:
        self.query_one("#setting", Static).update(Text("\n".join(self._explained(self._chosen))))

    def _explained(self, key: str) -> Iterator[str]:
        if (setting := SETTINGS.get(key)) is not None:
            yield f"{setting.about}."
            yield f"{setting.expected}; default: {_told(setting.default) or 'none'}"
            when = "applies at once" if setting.at_once else "applies at the next start"
            yield f"Read by {setting.reader}; {when}."
        elif (bound := known().get(key.removeprefix(f"{KEYS}."))) is not None:
            yield f"{bound.about}."
            yield f"By itself: {', '.join(map(spelled, bound.keys))}. Enter, then press the new key; applies at once."

    @on(OptionList.OptionSelected)
    def _change(self) -> None:
        """The quick way: turn over, take the next choice, press a key; what has no next value is written."""
        setting = SETTINGS.get(self._chosen)
        if setting is None:
            self._press()
            return
        value = self._settings.found[setting.key].value if setting.key in self._settings.found else setting.default
        choices = (True, False) if isinstance(setting.default, bool) else setting.choices or setting.suggestions
        if choices:
            self._write(
                setting.key, choices[(choices.index(value) + 1) % len(choices)] if value in choices else choices[0]
            )
        else:
            self.action_write()

    def _press(self) -> None:
        key = self._chosen
        name = key.removeprefix(f"{KEYS}.")

        def pressed(new: str | None) -> None:
            self.call_after_refresh(setattr, self, "_pressing", False)
            if not new:
                return
            _, complaints = checked({**changed_in(self.app), name: new})
            if complaints:
                self._note(complaints[0], bad=True)
            else:
                self._write(key, new)

        self._pressing = True
        self.app.push_screen(KeyScreen(known()[name].about), pressed)

    def action_write(self) -> None:
        """Write the value under the cursor by hand."""
        self._editing = SETTINGS.get(self._chosen)
        if self._editing is None:
            self._press()
            return
        found = self._settings.found.get(self._editing.key)
        line = self.query_one(Input)
        line.display = True
        line.value = _told(found.value if found is not None else self._editing.default)
        line.focus()

    @on(Input.Changed)
    def _try(self, event: Input.Changed) -> None:
        """Say whether it fits while it is typed; a theme is seen at once."""
        if self._editing is None:
            return
        if self._editing.key == _THEME:
            fits = self._preview(event.value)
            expected = "the name of a theme"
        else:
            fits, expected = self._editing.parsed(event.value) is not None, self._editing.expected
        self._note("" if fits else f"Expected: {expected}.", bad=True)

    def _preview(self, name: str) -> bool:
        from whet_tui.application import ChatApp  # which opens this screen

        return isinstance(self.app, ChatApp) and self.app.use_theme(name.strip())

    @on(Input.Submitted)
    def _submit(self, event: Input.Submitted) -> None:
        setting, value = self._editing, self._editing.parsed(event.value) if self._editing is not None else None
        if setting is None or value is None or (setting.key == _THEME and not self._preview(event.value)):
            return  # what is wrong with it is said already
        self._done()
        self._write(setting.key, value)

    def _done(self) -> None:
        self._editing = None
        self.query_one(Input).display = False
        self.query_one(OptionList).focus()

    async def action_back(self) -> None:
        if self._editing is None:
            await super().action_back()
            return
        self._done()
        self._note("")
        self.take(self._settings)  # a theme that was only tried

    def action_reset(self) -> None:
        self._write(self._chosen, None)

    def action_read(self) -> None:
        self._note("")
        self._read()

    def _write(self, key: str, value: Value | None) -> None:
        if self._file is None or self._settings.again is None:
            self._note("These settings were not read from a file; nothing can be written.", bad=True)
            return
        self._note("")
        try:
            self._file.set(key, value)
            self._settings = self._settings.again()
        except (NotWritten, SettingsError) as error:
            self._note(str(error), bad=True)
            return
        self.take(self._settings)
        self._show()
        found = self._settings.found.get(key)
        if found is not None and value is not None and found.origin != FILE:
            self._note(f"Written, but {found.origin} stands above the file.", bad=True)

    def _note(self, text: str, *, bad: bool = False) -> None:
        ink = ink_of(self.app.current_theme)
        note = self.query_one("#note", Static)
        note.display = bool(text)
        note.update(Text("\n".join(safe_line(line) for line in text.splitlines()), ink.warning if bad else ink.muted))


def _told(value: Value) -> str:
    """A value as it is written in the file, without quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)
