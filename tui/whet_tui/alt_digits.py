"""Let Alt and a digit be Alt and a digit.

Most terminals send an escape and the digit. Textual reads that as what the Option key of a Mac would have written
(`™` for Alt+2), which would stand in the composer instead of opening a place.
"""

from dataclasses import dataclass
from typing import Any, cast

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS


@dataclass(frozen=True, slots=True)
class _Key:
    """Stands in Textual's table where it keeps members of an enumeration, of which it reads the value."""

    value: str


def read_alt_digits() -> None:
    """Correct the table that Textual reads keys with."""
    table = cast("dict[str, Any]", ANSI_SEQUENCES_KEYS)
    for digit in range(1, 10):
        table[f"\x1b{digit}"] = (_Key(f"alt+{digit}"),)
