"""The Textual application: themes, screens, and the way in and out."""

import gc
from typing import ClassVar, Final

from textual import events
from textual.app import App
from textual.binding import BindingType

from whet_tui.bridge import Lister, Opener
from whet_tui.screens.chat import ChatScreen

_THEMES: Final = {"dark": "textual-dark", "light": "textual-light"}


class ChatApp(App[str]):
    """The chat. Exits with the id of another session when the person wants to take one up."""

    CSS_PATH = "app.tcss"
    TITLE = "Whet"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, opener: Opener, lister: Lister, *, theme: str = "dark") -> None:
        super().__init__()
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

    def get_default_screen(self) -> ChatScreen:
        self._chat = ChatScreen(self._opener, self._lister)
        return self._chat

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
