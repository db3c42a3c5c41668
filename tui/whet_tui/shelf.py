"""The sessions that were kept. The folder of the agent is one shelf, the twin in memory another."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class ShelfError(Exception):
    """It cannot be done. `str()` says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A session as the list shows it."""

    session_id: str
    title: str


class Shelf(Protocol):
    """Every method raises `ShelfError`."""

    async def sessions(self) -> Sequence[Kept]: ...


class FolderShelf:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
