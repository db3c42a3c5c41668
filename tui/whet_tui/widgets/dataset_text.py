"""Data sets as tables and text: lists, details, rows, one row in full."""

import json
from collections.abc import Sequence
from typing import Final

from rich.text import Text

from whet_tui import dataset_values
from whet_tui.dataset_values import Dataset, Row, Split
from whet_tui.safe import exact_json, safe, safe_line
from whet_tui.spans import ago
from whet_tui.widgets.ink import Ink
from whet_tui.widgets.sheet import Cell, Column, Sheet

COLUMNS: Final = (
    Column(title="data set", grows=True),
    Column(title="rows", right=True),
    Column(title="splits", most=46, rank=1),
    Column(title="seal", most=18),
    Column(title="stored", right=True, rank=2),
)
_SCHEMA: Final = (
    Column(title="column", most=40),
    Column(title="type", most=10),
    Column(title="", grows=True),
)
_SHOWN_COLUMNS: Final = 12
"""Columns of a data set that the table of rows draws; the sheet of a row has them all."""
_LETTERS: Final = 20_000
"""Letters of one value that the sheet of a row shows."""


def key_of(data: Dataset) -> str:
    return f"{data.name}@{data.version}"


def found_in(data: Dataset) -> str:
    return " ".join([data.name, data.description, *data.tags]).lower()


def under_seal(data: Dataset, split: Split | None) -> bool:
    return data.sealed and split is Split.HOLDOUT


def split_words(split: Split | None) -> str:
    return "all splits" if split is None else split.words


def _splits(data: Dataset) -> str:
    return " / ".join(f"{count.split.words} {count.rows:,}" for count in data.splits)


def _seal(data: Dataset, now: int) -> Cell:
    if data.sealed:
        return Cell("⊘ sealed", "good")
    return Cell(f"○ opened {ago(data.open_ns, now)}", "warning") if data.open_ns else Cell("no hold-out", "muted")


def dataset_row(data: Dataset, now: int) -> list[Cell]:
    tags = f" #{' #'.join(data.tags)}" if data.tags else ""
    return [
        Cell(safe_line(key_of(data) + tags, 200)),
        Cell(f"{data.rows:,}"),
        Cell(_splits(data)),
        _seal(data, now),
        Cell(ago(data.create_ns, now), "muted"),
    ]


def about(data: Dataset, ink: Ink, now: int, width: int) -> Text:
    """Everything that is known of a version."""
    lines = [Text(safe(data.description))] if data.description else []
    lines.append(
        Text(f"{data.rows:,} rows: {_splits(data)}. {_seal_words(data, now)}", ink.warning if data.open_ns else "")
    )
    lines += [Text(fact, ink.muted) for fact in _facts(data)]
    rows = [
        [
            Cell(safe_line(column.name, 100), "accent" if column.name == data.key else ""),
            Cell(safe_line(column.type, 20)),
            Cell(
                ", ".join(["names the row"] * (column.name == data.key) + ["may be missing"] * column.optional), "muted"
            ),
        ]
        for column in data.columns
    ]
    return Text("\n").join([*lines, Text(), Sheet(_SCHEMA, rows).text(max(1, width), ink)])


def _seal_words(data: Dataset, now: int) -> str:
    if data.sealed:
        seen = f" {data.seen_rows:,} of its rows were seen in another version." if data.seen_rows else ""
        return f"The hold-out is sealed.{seen}"
    if not data.open_ns:
        return "It has no hold-out."
    why = safe_line(data.open_reason, 300)
    return f"The hold-out was opened {ago(data.open_ns, now)}: “{why}” (recorded as {safe_line(data.open_run_id, 60)})."


def _facts(data: Dataset) -> list[str]:
    policy = data.policy
    shares = f"{policy.train:g} / {policy.dev:g} / {policy.holdout:g}"
    split = f"by the column {safe_line(policy.column, 60)}" if policy.column else f"{shares} by hash"
    together = f", equal {safe_line(policy.group, 60)} together" if policy.group not in {"", data.key} else ""
    named = f"key {safe_line(data.key, 60)}" if data.key else "rows named by their content"
    source = safe_line(data.source, 120) or "a call"
    return [
        f"Split {split}{together}; {named}" + ("; rows follow a JSON Schema." if data.row_schema else "."),
        f"From {source}, stored by {safe_line(data.role, 20)} as {safe_line(data.run_id, 60)}",
        f"SHA-256 {safe_line(data.digest, 64)}",
    ]


def _values(row: Row) -> dict[str, object]:
    """The row's values by column."""
    try:
        values = json.loads(row.json)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def row_sheet(data: Dataset, rows: Sequence[Row]) -> Sheet:
    """The rows as a table; columns that find no room are left out, the last ones first."""
    shown = data.columns[:_SHOWN_COLUMNS]
    names = [column.name for column in shown]
    columns = [
        Column(title="#", right=True),
        Column(title="split"),
        *(_row_column(column, rank) for rank, column in enumerate(shown)),
    ]
    cells = []
    for row in rows:
        values = _values(row)
        told = [Cell(safe_line(_told(values.get(name)), 200)) for name in names]
        cells.append([Cell(str(row.number), "muted"), Cell(row.split.words, "muted"), *told])
    return Sheet(columns, cells)


def _row_column(column: dataset_values.Column, rank: int) -> Column:
    """Text takes the room that there is, shared; figures take what they need."""
    grows = column.type not in {"integer", "number", "boolean"}
    return Column(title=safe_line(column.name, 40), grows=grows, right=not grows, most=16, rank=rank)


def _told(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def in_full(row: Row, data: Dataset, ink: Ink) -> Text:
    """A row's values one below the other, with their line breaks."""
    values = _values(row)
    names = [column.name for column in data.columns if column.name in values]
    parts = [Text(f"row {row.number} · {row.split.words} · {safe_line(row.row_id, 100)}", ink.muted)]
    for name in [*names, *(name for name in values if name not in names)]:
        told = _told(values[name])
        shown = told[:_LETTERS]
        text = exact_json(shown) if isinstance(values[name], (dict, list)) and shown == told else safe(shown)
        part = Text.assemble((safe_line(name, 100), ink.you), "\n", text)
        if shown != told:
            part.append(f"\n… {len(told) - len(shown):,} more letters: whet dataset export {data.name}", ink.muted)
        parts.append(part)
    return Text("\n\n").join(parts)
