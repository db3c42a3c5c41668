"""What the chat is told at start."""

from dataclasses import dataclass
from pathlib import Path

from whet_tui.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings:
    """Plain values only: the agent's own classes are loaded after the first frame, this module must not load them
    before.
    """

    settings: Settings
    resume: str = ""
    """The session to take up; empty for a new one."""
    copier: tuple[str, ...] = ()
    """The machine's own command to copy with, if it has one."""

    @property
    def sessions(self) -> Path:
        """Where sessions are kept."""
        return self.settings.data / "agent"

    @property
    def history(self) -> Path:
        """Where what was sent is remembered for the arrow keys."""
        return self.settings.data / "chat_history"

    @property
    def log(self) -> Path:
        """Where what libraries print goes while the screen is ours."""
        return self.settings.data / "chat.log"
