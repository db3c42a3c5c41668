"""The Textual application: themes, screens, and the way in and out."""

import base64
import gc
import time
from collections.abc import Callable
from typing import ClassVar, Final

from textual import events
from textual.app import App
from textual.binding import Binding, BindingType

from whet_tui.alt_digits import read_alt_digits
from whet_tui.bridge import Opener
from whet_tui.desk import DeskOpener
from whet_tui.places import BY_ID, CHAT, PLACES
from whet_tui.screens.chat import ChatScreen
from whet_tui.shelf import Shelf

_THEMES: Final = {"dark": "textual-dark", "light": "textual-light"}


class ChatApp(App[str]):
    """The chat. Exits with the id of another session when the person wants to take one up."""

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
        *,
        theme: str = "dark",
        tmux: bool = False,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`tmux`: the terminal is one of tmux, which passes nothing on that is not wrapped for it."""
        super().__init__()
        read_alt_digits()
        self._tmux = tmux
        self._opener = opener
        self._desk = desk
        self._shelf = shelf
        self._now_ns = now_ns
        self._chat: ChatScreen | None = None
        self._early: list[events.Event] | None = []
        self.animation_level = "none"  # an animation keeps the process awake and tells nothing
        name = _THEMES.get(theme, theme)
        self.theme = name if name in self.available_themes else _THEMES["dark"]

    @property
    def session_id(self) -> str:
        """The session's id, empty when none was opened."""
        return self._chat.session_id if self._chat is not None else ""

    def copy_to_clipboard(self, text: str) -> None:
        """Copy; in tmux also to the terminal outside, which hears only what is wrapped."""
        super().copy_to_clipboard(text)
        if self._tmux and self._driver is not None:
            self._driver.write(passed_through(clipboard(text)))

    def get_default_screen(self) -> ChatScreen:
        self._chat = ChatScreen(self._opener)
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

    def action_leave(self) -> None:
        """Quit, from wherever one is."""
        if self._chat is not None:
            self._chat.action_leave()

    async def on_event(self, event: events.Event) -> None:
        """Keep keys until there is a composer that can take them: fingers are faster than imports."""
        if self._early is not None and isinstance(event, (events.Key, events.Paste)):
            self._early.append(event)
        else:
            await super().on_event(event)

    def on_ready(self) -> None:
        """The first frame is there. What was imported for it stays: the collector need not look at it."""
        gc.freeze()
        gc.enable()
        early, self._early = self._early, None
        for event in early or ():
            self.post_message(event)


def clipboard(text: str) -> str:
    """The sequence (OSC 52) that puts text on a terminal's clipboard."""
    return f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\a"


def passed_through(sequence: str) -> str:
    """The sequence in the wrapping that tmux takes off and passes on."""
    return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
