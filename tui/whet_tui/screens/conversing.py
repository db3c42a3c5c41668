"""What the parts of the chat share: the session, its view, the widgets, and the ways to say something to the person."""

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Literal

from textual.screen import Screen

from whet_tui.bridge import ChatSession
from whet_tui.entries import Note
from whet_tui.surroundings import Surroundings
from whet_tui.widgets.composer import Composer
from whet_tui.widgets.status_line import StatusLine
from whet_tui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from whet_tui.view import View


class ConversingScreen(Screen[None]):
    """A screen on a session that is opened after the first frame."""

    _transcript: Transcript
    _composer: Composer
    _status: StatusLine

    def __init__(self, around: Surroundings) -> None:
        super().__init__()
        self._around = around
        self._session: ChatSession | None = None
        self._view: View | None = None
        self._key_came = 0.0
        self._keys_came = 0
        self._warned: tuple[str, int] = ("", 0)
        """What the next key does if it is the same once more, and how many keys had come when this was said."""
        self._notes = 0

    @property
    def session_id(self) -> str:
        """The session's id, empty before there is one."""
        return self._session.session_id if self._session is not None else ""

    def key_came(self, moment: float) -> None:
        """Take note of when a key was pressed, which can be long before it is its turn."""
        self._key_came = moment
        self._keys_came += 1
        self._status.hint("")  # what was said about the key before has been read

    def _show_work(self) -> None:
        """Say what is under way, and let the clock tick exactly as long as something is."""
        raise NotImplementedError

    def _twice(self, what: str, warning: str) -> bool:
        """Whether the key before this one asked for the same; if not, say that it must."""
        again = self._warned == (what, self._keys_came - 1)
        self._warned = ("", 0) if again else (what, self._keys_came)
        self._status.hint("" if again else warning)
        return again

    def _tell(self, level: Literal["info", "warning", "error"], text: str) -> None:
        """Say something of the screen's own in the conversation."""
        self._notes += 1
        self._transcript.hear([Note(key=f"own/{self._notes}", level=level, text=text)])

    async def _asked(self, asked: Awaitable[str]) -> str | None:
        """Wait for something that was asked of the session; say why if it is refused."""
        from whet_agent.client import CallError  # loaded with the session
        from whet_agent.session import SessionError  # the same

        try:
            return await asked
        except (CallError, SessionError, LookupError, ValueError) as error:
            self._tell("error", str(error))
            return None
