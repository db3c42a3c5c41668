"""Markdown for those who read it as plain text: tables are lined up and headings lose their marks.

Only what stands in the way of reading is touched. Lists, code and emphasis inside a line read well as they are.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

_BETWEEN: Final = re.compile(r"(?<!\\)\|")
"""What parts two cells; a bar with a backslash before it belongs to its cell."""
_RULE: Final = re.compile(r"\|?(\s*:?-{3,}:?\s*\|)*\s*:?-{3,}:?\s*\|?")
_HEADING: Final = re.compile(r"\*\*([^*]+)\*\*:?")
_FENCE: Final = "```"


def without_markup(text: str) -> str:
    """Return the text with its tables lined up and its headings plain. Code is left as it is."""
    parts = text.split(_FENCE)
    parts[::2] = [_plain(part) for part in parts[::2]]
    return _FENCE.join(parts)


def _plain(text: str) -> str:
    lines: list[str] = []
    for is_table, group in groupby(text.split("\n"), lambda line: line.startswith("|")):
        block = list(group)
        if is_table and len(block) > 1 and _RULE.fullmatch(block[1].strip()):
            lines += _lined_up([_cells(line) for line in (block[0], *block[2:])])
        else:
            lines += [f"{heading[1]}:" if (heading := _HEADING.fullmatch(line)) else line for line in block]
    return "\n".join(lines)


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|")
    cells = _BETWEEN.split(inner)
    return [cell.strip().replace("\\|", "|") for cell in (cells[:-1] if not cells[-1].strip() else cells)]


def _lined_up(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    columns = max(map(len, rows))
    filled = [[*row, *[""] * (columns - len(row))] for row in rows]
    widths = [max(map(len, column)) for column in zip(*filled, strict=True)]
    for row in filled:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
