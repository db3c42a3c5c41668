"""`@` in a message: a file whose text goes along, or a run that the agent is to look at."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from whet_tui.files import attached

_MENTION: Final = re.compile(r'(?<!\S)@(?:"([^"\n]+)"|(\S+))')
_RUN: Final = re.compile(r"(?<!\S)@(fan_\w+)")
_BESIDE: Final = ".,;:!?)"
"""What may follow a mention in a sentence without belonging to it."""


def mention(name: str) -> str:
    """How a file or a run is mentioned."""
    return f'@"{name}"' if " " in name else f"@{name}"


def mentioned(text: str, files: Collection[str]) -> Iterator[str]:
    """The files that a text mentions, each once. What is no file is left as it is: `@` also stands before people."""
    seen = set[str]()
    for quoted, bare in _MENTION.findall(text):
        name = next((name for name in (quoted or bare, bare.rstrip(_BESIDE)) if name in files), "")
        if name and name not in seen:
            seen.add(name)
            yield name


def spelled_out(text: str, typed: str, root: Path, files: Collection[str]) -> str:
    """The message as the agent is to read it. Reads files: call it in a thread. Mentions count only in what was typed:
    a pasted text must not choose what is sent along.
    """
    attachments = "".join(attached(root, name) for name in mentioned(typed, files))
    return _RUN.sub(r"\1", text) + attachments
