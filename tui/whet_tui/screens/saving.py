"""Where a file of the server's is written to: asked for, checked, never written over unasked."""

from collections.abc import Collection, Sequence
from pathlib import Path

from whet_tui.screens.asking import AskingScreen, Field


def saving(title: str, name: str, endings: Collection[str]) -> AskingScreen:
    """Return the question for a path. The ending decides the format."""
    kinds = ", ".join(endings)
    asked: set[str] = set()

    def check(values: Sequence[str]) -> str:
        path = path_of(values[0])
        if path.suffix not in endings and path.name not in endings:
            return f"The ending decides the format: {kinds}."
        if path.is_dir() or not path.parent.is_dir():
            return f"There is no folder {path.parent}." if not path.is_dir() else "That is a folder."
        if path.exists() and values[0] not in asked:
            asked.add(values[0])
            return "That file is there already. Enter again writes over it."
        return ""

    return AskingScreen(title, f"The ending decides the format: {kinds}.", [Field(label="file", value=name)], check)


def ending(path: Path) -> str:
    """The ending of a file; of `.env` the whole name."""
    return path.suffix or path.name


def path_of(typed: str) -> Path:
    """Return the whole path of what was typed."""
    return Path(typed).expanduser().absolute()
