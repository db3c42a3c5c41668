"""What is wrong with a file, by its lines."""

from typing import Final

from whet_server.errors import InvalidField

MOST: Final = 40
"""As many as a status carries: nobody mends more lines than this at once."""


class Wrong:
    """Collects complaints as (where, what); tells them all at once."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str]] = []

    def add(self, where: str, what: str) -> None:
        self._found.append((where, what))
        if len(self._found) >= MOST - 1:
            self._found.append(("file", "It was not read any further; there may be more."))
            self.tell()

    def tell(self) -> None:
        """Raise `InvalidField` if there was any."""
        if self._found:
            raise InvalidField(*self._found)
