"""Regular expressions of users, by RE2: they match in linear time and in bounded memory."""

from functools import lru_cache
from typing import Final, Protocol

BYTES: Final = 1 << 20
"""Memory of one compiled expression: eight times less than RE2's default, since 128 of them are kept."""


class Pattern(Protocol):
    """A compiled expression of RE2."""

    def search(self, text: str) -> object | None: ...

    def fullmatch(self, text: str) -> object | None: ...


@lru_cache(maxsize=128)
def compiled(pattern: str) -> Pattern:
    """Return an expression that matches in linear time and bounded memory. Raises `ValueError` with what is wrong."""
    import re2  # type: ignore[import-untyped]  # no types are shipped; loaded when somebody asks for it

    options = re2.Options()
    options.max_mem = BYTES
    options.log_errors = False
    options.never_capture = True
    try:
        made: Pattern = re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as error:
        said = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(
            f"This is no expression of RE2: {said}. It knows no lookaround and no back references."
        ) from None
    return made
