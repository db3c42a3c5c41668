"""A sweep's report as Markdown: plots are their words and a table, texts of others are fenced or escaped."""

import re
from collections.abc import Iterator
from typing import Final

from whet_server.sweep.report import Block, Figure, Quote, Report, Table, Words

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#|!~$&])")
_RUNS: Final = re.compile("`+")


def markdown(report: Report) -> str:
    """Write it."""
    lines = [f"# {_inline(report.title)}", "", f"Sweep {_inline(report.run_id)}", ""]
    for section in report.sections:
        lines += [f"## {section.title}", ""]
        for block in section.blocks:
            lines += [*_block(block), ""]
    return "\n".join(lines)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Words():
            yield f"**{_inline(block.text)}**" if block.strong else _inline(block.text)
        case Table():
            yield from _table(block)
        case Quote():
            fence = "`" * max(3, 1 + max(map(len, _RUNS.findall(block.text)), default=0))
            yield from (f"{_inline(block.label)}:", "", f"{fence}text", block.text.rstrip("\n"), fence)
        case Figure():
            yield from (f"### {_inline(block.plot.title)}", "", _inline(block.plot.words), "")
            yield from _table(block.table)


def _table(table: Table) -> Iterator[str]:
    yield _row(table.headers)
    yield _row(("---",) * len(table.headers), escaped=True)
    yield from map(_row, table.rows)


def _row(cells: tuple[str, ...], *, escaped: bool = False) -> str:
    return f"| {' | '.join(cells if escaped else map(_inline, cells))} |"


def _inline(text: str) -> str:
    """Text of one line that nothing in it can turn into anything else."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
