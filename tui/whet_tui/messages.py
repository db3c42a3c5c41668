"""What the widgets of the chat tell the screen."""

from dataclasses import dataclass

from textual.message import Message


@dataclass
class Submitted(Message):
    """The person sent a message."""

    text: str
    """Whole, with every paste in its place."""
    typed: str
    """As it stood in the composer."""


@dataclass
class Typed(Message):
    """The composer's text changed."""

    text: str
    before: str
    """What stands before the cursor in its line."""


@dataclass
class TakeBack(Message):
    """The person wants the message that was queued last back into the composer."""


@dataclass
class Sought(Message):
    """The person looks for words in the conversation. `step` 0: they are still being typed."""

    words: str
    step: int = 0


@dataclass
class Waiting(Message):
    """What the conversation waits for has changed."""
