"""The Textual application: themes, screens, and the way in and out."""

import sys
from dataclasses import replace
from functools import partial
from typing import ClassVar, Final

from textual.app import App
from textual.binding import BindingType

from whet_tui.bridge import Lister, Opener, list_sessions, open_session
from whet_tui.chat_settings import ChatSettings
from whet_tui.screens.chat import ChatScreen
from whet_tui.stray import stray_output_to

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


def run_chat(settings: ChatSettings) -> int:
    """Run the chat until the person leaves; return the exit code. However it ends, say how to take the session up."""
    while True:
        chat = ChatApp(partial(open_session, settings), partial(list_sessions, settings), theme=settings.settings.theme)
        try:
            with stray_output_to(settings.log):
                other = chat.run()
        finally:
            if chat.session_id:
                sys.stdout.write(f"Resume with: whet chat --resume {chat.session_id}\n")
        if not other:
            return chat.return_code or 0
        settings = replace(settings, resume=other)
