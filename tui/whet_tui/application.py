"""The Textual application: themes, screens, and the way in and out."""

import base64
import gc
from functools import partial
from typing import ClassVar, Final

from textual import events
from textual.app import App
from textual.binding import BindingType

from whet_tui.bridge import Lister, Opener
from whet_tui.screens.chat import ChatScreen
from whet_tui.surroundings import Surroundings, copied

_THEMES: Final = {"dark": "textual-dark", "light": "textual-light"}


class ChatApp(App[str]):
    """The chat. Exits with the id of another session when the person wants to take one up."""

    CSS_PATH = "app.tcss"
    TITLE = "Whet"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(
        self,
        opener: Opener,
        lister: Lister,
        *,
        around: Surroundings | None = None,
        theme: str = "dark",
        tmux: bool = False,
    ) -> None:
        """`tmux`: the terminal is one of tmux, which passes nothing on that is not wrapped for it."""
        super().__init__()
        self._tmux = tmux
        self._opener = opener
        self._lister = lister
        self._around = around or Surroundings()
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
        """Copy through the terminal; in tmux also through the one outside, which hears only what is wrapped; and with
        the machine's own command if there is one, because not every terminal listens.
        """
        super().copy_to_clipboard(text)
        if self._around.copier:
            self.run_worker(partial(copied, self._around.copier, text), thread=True, group="copy", exclusive=True)
        if self._tmux and self._driver is not None:
            self._driver.write(passed_through(clipboard(text)))

    def get_default_screen(self) -> ChatScreen:
        self._chat = ChatScreen(self._opener, self._lister, self._around)
        return self._chat

    async def on_event(self, event: events.Event) -> None:
        """Keep keys until there is a composer that can take them: fingers are faster than imports."""
        if self._early is not None and isinstance(event, (events.Key, events.Paste)):
            self._early.append(event)
        else:
            if self._chat is not None and isinstance(event, events.Key) and not event.is_forwarded:
                self._chat.key_came(event.time)
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
