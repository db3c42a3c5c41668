"""What a place has around it: the desk, the shelf of sessions, the conversation that goes on underneath, the clock."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from whet_tui.desk import DeskOpener

if TYPE_CHECKING:
    from whet_tui.bridge import ChatSession
    from whet_tui.shelf import Shelf


class Conversation(Protocol):
    """The chat, as other places know it."""

    @property
    def session(self) -> "ChatSession | None":
        """None before it is open."""
        ...

    @property
    def run_ids(self) -> Collection[str]:
        """The runs that this conversation has started or watches, oldest first."""
        ...

    @property
    def waits(self) -> str:
        """What the conversation waits for, such as a decision; empty while it waits for nothing."""
        ...

    def take_up(self, session_id: str) -> None:
        """Leave this conversation for another one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """Given to each place when it is opened."""

    desk: DeskOpener
    shelf: "Shelf"
    conversation: Conversation
    open_run: Callable[[str], None]
    """Goes to one fan-out."""
    now_ns: Callable[[], int]
    """The time, so that pictures of a place can be the same every day."""
    pictures: bool = True
    """Whether a plot may be drawn; with reduced motion and for readers of plain text the words beside it are enough."""
    rater: str = ""
    """Under which name the person rates."""
