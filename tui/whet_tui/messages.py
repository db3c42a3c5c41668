"""What the widgets of the chat tell the screen."""

from dataclasses import dataclass

from textual.message import Message


@dataclass
class Submitted(Message):
    """The person sent a message."""

    text: str


@dataclass
class Typed(Message):
    """The composer's text changed, or its cursor moved."""

    text: str
