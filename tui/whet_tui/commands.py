"""What can be typed after a slash: the screen's own commands, and the tools that the agent understands."""

from collections.abc import Mapping
from typing import Final

from whet_tui.places import PLACES

OWN: Final[Mapping[str, str]] = {
    "help": "Show the keys and commands",
    "copy": "Copy the last answer as Markdown",
    "theme": "Change the colours: dark, light, the terminal's own",
    "quit": "Leave; the session can be taken up again",
    **{place.command: place.summary for place in PLACES},
}
"""Commands that never leave the screen."""


def with_tools() -> Mapping[str, str]:
    """Return every command with its summary. Loads the contract: call it when the agent has been loaded anyway."""
    from whet_agent.catalogue import tools  # after the first frame

    return {**OWN, **{name: tool.summary for name, tool in tools().items()}}


def matching(commands: Mapping[str, str], text: str) -> list[tuple[str, str]]:
    """Return the commands that the text may become, while it is one word after a slash."""
    if not text.startswith("/") or any(letter.isspace() for letter in text):
        return []
    word = text[1:].lower()
    return [(name, summary) for name, summary in commands.items() if name.startswith(word)]
