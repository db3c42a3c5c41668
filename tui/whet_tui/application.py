"""The Textual application: themes, screens, and the way in and out."""

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import App
from textual.binding import Binding, BindingType

from whet_tui import memory, themes
from whet_tui.alt_digits import read_alt_digits
from whet_tui.bridge import ChatSession, Opener, Progress
from whet_tui.desk import DeskOpener
from whet_tui.places import BY_ID, CHAT, PLACES
from whet_tui.schema import nearest
from whet_tui.screens.chat import ChatScreen
from whet_tui.settings import Settings
from whet_tui.shelf import Shelf
from whet_tui.surroundings import Surroundings, copied


class ChatApp(App[str]):
    """The chat. Exits with the id of another session when the person wants to take one up, with `NEW` for a new one."""

    CSS_PATH = "app.tcss"
    TITLE = "Whet"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            place.key,
            f"open_place('{place.place_id}')",
            place.title,
            id=f"app.{place.place_id}",
            show=False,
            priority=True,
        )
        for place in PLACES
    ]

    def __init__(
        self,
        opener: Opener,
        desk: DeskOpener,
        shelf: Shelf,
        settings: Settings | None = None,
        *,
        around: Surroundings | None = None,
        theme: str = "",
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Without settings all have their defaults. `theme` stands above them."""
        self.settings = settings or Settings(data=Path())
        # Colours are kept from the terminal by a filter that Textual chooses here; its other one makes them grey.
        super().__init__(ansi_color=True if self.settings.no_color else None)
        read_alt_digits()
        self._opener = opener
        self._desk = desk
        self._shelf = shelf
        self._now_ns = now_ns
        self._around = around or Surroundings()
        self._chat: ChatScreen | None = None
        self._early: list[events.Event] | None = []
        self._complaints = list(self.settings.complaints)
        self.keys: Mapping[str, str] = {}
        """The keys that were changed and can be had, by the id of their binding."""
        self.animation_level = "none"  # an animation keeps the process awake and tells nothing
        for own in themes.OWN:
            self.register_theme(own)
        self.use_theme(themes.DARK.name)
        if not self.use_theme(theme or self.settings.chat.theme):
            self._complaints.append(self._no_theme())

    def _no_theme(self) -> str:
        meant = nearest(self.settings.chat.theme, ["dark", "light", "ansi", *self.available_themes])
        return f"There is no theme {self.settings.chat.theme!r}. {meant}"

    def use_theme(self, name: str) -> bool:
        """Draw in the colours of a theme, at once; without colours if the terminal shall have none. Return whether
        there is a theme of that name.
        """
        found = themes.named(name, self.available_themes)
        if found:
            self.theme = themes.ANSI.name if self.settings.no_color else found
        return bool(found)

    def take(self, settings: Settings) -> Sequence[str]:
        """Let settings that have changed be felt, as far as that goes; return what cannot be had."""
        self.settings = settings
        if self._chat is not None:
            self._chat.calm = settings.chat.reduced_motion
        complaints = [] if self.use_theme(settings.chat.theme) else [self._no_theme()]
        return [*complaints, *self.use_keys(settings.keys)]

    def use_keys(self, changed: Mapping[str, str]) -> Sequence[str]:
        """Give actions other keys, at once; return what cannot be had. Loads every screen."""
        from whet_tui.keymap import checked  # after the first frame

        self.keys, complaints = checked(changed)
        self.set_keymap(dict(self.keys))
        if self._chat is not None:
            self._chat.take_keys(self.keys)
        return complaints

    @property
    def session_id(self) -> str:
        """The session's id, empty when none was opened."""
        return self._chat.session_id if self._chat is not None else ""

    def copy_to_clipboard(self, text: str) -> None:
        """Copy through the terminal; in tmux also through the one outside, which hears only what is wrapped; and with
        the machine's own command if there is one, because not every terminal listens.
        """
        super().copy_to_clipboard(text)
        if self._around.copier:
            self.run_worker(partial(copied, self._around.copier, text), thread=True, group="copy", exclusive=True)
        if self.settings.tmux and self._driver is not None:
            self._driver.write(passed_through(clipboard(text)))

    def get_default_screen(self) -> ChatScreen:
        self._chat = ChatScreen(self._open, self._around, self._now_ns)
        self._chat.calm = self.settings.chat.reduced_motion
        return self._chat

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What lies over a place is answered or closed before one goes elsewhere."""
        if action == "open_place":
            return not self.screen.is_modal
        return super().check_action(action, parameters)

    def action_open_place(self, place_id: str) -> None:
        """Go to a place. The chat stays open underneath the others, and each other one is kept as it was left."""
        while len(self.screen_stack) > 1:
            self.pop_screen()
        if place_id == CHAT.place_id or self._chat is None:
            return
        if not self.is_screen_installed(place_id):
            from whet_tui.around import Around  # places are loaded after the first frame

            around = Around(
                desk=self._desk,
                shelf=self._shelf,
                conversation=self._chat,
                open_run=self.open_run,
                now_ns=self._now_ns,
                pictures=not self.settings.chat.reduced_motion,
                rater=self.settings.rater,
            )
            place = BY_ID[place_id]
            self.install_screen(place.load()(place, around), place_id)
        self.push_screen(place_id)

    def open_run(self, run_id: str) -> None:
        """Go to one fan-out."""
        from whet_tui.screens.fanout import FanoutScreen  # loaded when somebody goes there

        self.action_open_place("fanout")
        if isinstance(self.screen, FanoutScreen):
            self.screen.go_to(run_id)

    @property
    def unsaved(self) -> str:
        """What would be lost if the program ended now, in words."""
        places = [self.get_screen(place_id) for place_id in BY_ID if self.is_screen_installed(place_id)]
        return ", ".join(words for place in places if (words := getattr(place, "unsaved", "")))

    def action_leave(self) -> None:
        """Quit, from wherever one is."""
        if self._chat is not None:
            self._chat.action_leave()

    async def _open(self, progress: Progress) -> ChatSession:
        """Open the session, which loads most of the program."""
        session = await self._opener(progress)
        memory.settle()
        return session

    async def on_event(self, event: events.Event) -> None:
        """Keep keys until there is a composer that can take them: fingers are faster than imports."""
        if self._early is not None and isinstance(event, (events.Key, events.Paste)):
            self._early.append(event)
        else:
            if self._chat is not None and isinstance(event, events.Key) and not event.is_forwarded:
                self._chat.key_came(event.time)
            await super().on_event(event)

    async def on_unmount(self) -> None:
        """The end may come from Ctrl+Q or a page that was closed, which ask nobody."""
        if self._chat is not None:
            await self._chat.close_session()

    def on_ready(self) -> None:
        """The first frame is there."""
        memory.collect_again()
        if self.settings.keys:
            self._complaints += self.use_keys(self.settings.keys)
        if self._chat is not None and self._complaints:
            self._chat.complain(self._complaints)
        early, self._early = self._early, None
        for event in early or ():
            self.post_message(event)


def clipboard(text: str) -> str:
    """The sequence (OSC 52) that puts text on a terminal's clipboard."""
    return f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\a"


def passed_through(sequence: str) -> str:
    """The sequence in the wrapping that tmux takes off and passes on."""
    return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
