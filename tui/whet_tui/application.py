"""The Textual application: themes, screens, and the way in and out."""

import base64
from typing import ClassVar, Final

from textual import events
from textual.app import App
from textual.binding import BindingType

from whet_tui import memory
from whet_tui.bridge import ChatSession, Lister, Opener, Progress
from whet_tui.screens.chat import ChatScreen

_THEMES: Final = {"dark": "textual-dark", "light": "textual-light"}


class ChatApp(App[str]):
    """The chat. Exits with the id of another session when the person wants to take one up."""

    CSS_PATH = "app.tcss"
    TITLE = "Whet"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, opener: Opener, lister: Lister, *, theme: str = "dark", tmux: bool = False) -> None:
        """`tmux`: the terminal is one of tmux, which passes nothing on that is not wrapped for it."""
        super().__init__()
        self._tmux = tmux
        self._opener = opener
        self._lister = lister
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
        self._chat = ChatScreen(self._open, self._lister)
        return self._chat

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
            await super().on_event(event)

    def on_ready(self) -> None:
        """The first frame is there."""
        memory.collect_again()
        early, self._early = self._early, None
        for event in early or ():
            self.post_message(event)


def clipboard(text: str) -> str:
    """The sequence (OSC 52) that puts text on a terminal's clipboard."""
    return f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\a"


def passed_through(sequence: str) -> str:
    """The sequence in the wrapping that tmux takes off and passes on."""
    return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
