"""What the chat needs of the machine it runs on: who edits, who copies, where files are, what the server knows."""

import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from whet_tui.schema import ChatTable

_COPY_SECONDS: Final = 2.0
"""A clipboard that takes longer hangs, and then the terminal is asked instead."""
_COPIERS: Final = (
    ("WAYLAND_DISPLAY", ("wl-copy",)),
    ("DISPLAY", ("xclip", "-selection", "clipboard")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What the server knows by name."""

    runs: Mapping[str, str] = field(default_factory=dict)
    """Titles by id, the newest first."""
    models: Sequence[str] = ()


Asker: TypeAlias = Callable[[], Awaitable[Named]]


async def _nothing() -> Named:
    return Named()


async def _nobody() -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Plain values. Without any the chat works, and says what it lacks when it is asked for."""

    root: Path = field(default_factory=Path.cwd)
    """The folder whose files can be mentioned."""
    history: Path | None = None
    editor: str = ""
    """A command line; empty when nobody named an editor."""
    copier: tuple[str, ...] = ()
    """The command that takes text to the clipboard; empty when only the terminal can."""
    ask: Asker = _nothing
    crashed: Callable[[], Awaitable[str]] = _nobody
    """Tells the title of the conversation used last if it was cut short, else nothing."""
    paste_lines: int = ChatTable().paste_lines
    """Lines of a paste that is shown as it is."""


def copier_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The machine's own way to copy. Over SSH the clipboard is at the other end, where only the terminal reaches."""
    if environment.get("SSH_CONNECTION") or environment.get("SSH_TTY"):
        return ()
    if sys.platform == "darwin":
        return ("pbcopy",)
    return next((command for name, command in _COPIERS if environment.get(name) and shutil.which(command[0])), ())


def copied(command: Sequence[str], text: str) -> bool:
    """Copy; return whether it went well. Waits: call it in a thread."""
    try:
        subprocess.run(  # noqa: S603 -- a command of ours, without a shell
            command,
            input=text.encode("utf-8", "replace"),
            timeout=_COPY_SECONDS,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return True


class NotEdited(Exception):
    """The editor did not do it. `str()` says why."""


def edited(editor: str, text: str, suffix: str = ".md") -> str:
    """Let the person change a text in their own editor, which has the terminal until it ends. Raises `NotEdited`."""
    with tempfile.TemporaryDirectory(prefix="whet-") as folder:
        path = Path(folder, f"message{suffix}")
        path.write_text(text, encoding="utf-8")
        try:
            # While the screen is ours, descriptors 1 and 2 lead to the log; these two names lead to the terminal.
            done = subprocess.run(  # noqa: S603 -- the person's own editor
                [*shlex.split(editor), str(path)], check=False, stdout=sys.__stdout__, stderr=sys.__stderr__
            )
            if done.returncode:
                raise NotEdited(f"{editor} ended with code {done.returncode}; the text is as it was.")
            return path.read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, ValueError) as error:
            raise NotEdited(f"{editor} cannot be run: {error}.") from error
