"""The seal: which rows stay in the hold-out whatever a policy says.

A row leaves marks: SHA-256 digests of what it can be known by. Whoever carries a mark of a row that was put under seal
and has not been shown stays in the hold-out. The marks are

- the whole row, and the row as far as it has the columns of the version it was sealed in (so that one more column
  makes no other row of it);
- its key, and its group's value where the group decided about its place;
- each of its longer texts, in whatever column, without regard to case and spaces.

A mark that a row outside of the hold-out carries too tells nothing about the sealed one and is not kept: the whole
row is.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

import msgspec

from whet_server.dataset.spec import Dataset, RowFields, Split
from whet_server.values import Value

LONG_TEXT: Final = 24
"""Characters from which a text names its row. Shorter ones are labels, names and figures, which many rows share."""
_MARK_BYTES: Final = 16
"""Of a SHA-256: 128 bits collide with nobody."""


class SealedRow(Value):
    """A row of a version's hold-out: its digest, its other marks, and whether an opening has shown it."""

    digest: str
    marks: tuple[str, ...] = ()


class Holdout(Value):
    """The hold-out of one version: what is known of it without its rows."""

    version: int
    columns: tuple[str, ...]
    """All columns of the version: a later row is compared as far as it has these."""
    rows: tuple[SealedRow, ...]
    key: str = ""
    group: str = ""

    @classmethod
    def read(cls, data: bytes) -> "Holdout":
        return msgspec.json.decode(data, type=cls)

    def written(self) -> bytes:
        return msgspec.json.encode(self)

    @property
    def digest(self) -> str:
        """SHA-256 over the rows, in hexadecimal."""
        return digest_of(row.digest for row in self.rows)


def canonical(value: Any) -> bytes:
    """Return a JSON value as bytes that equal values share: 1.0 is 1, and the order of names does not count."""
    return msgspec.json.encode(_plain(value), order="deterministic")


def _plain(value: Any) -> Any:
    match value:
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case list():
            return [_plain(inner) for inner in value]
        case dict():
            return {name: _plain(inner) for name, inner in value.items()}
        case _:
            return value


def row_digest(fields: RowFields) -> str:
    """Return the SHA-256 over a row in hexadecimal; what is null is as good as not there."""
    return hashlib.sha256(canonical({name: value for name, value in fields.items() if value is not None})).hexdigest()


def digest_of(rows: Iterable[str]) -> str:
    """Return the SHA-256 over rows, by their digests in order, in hexadecimal."""
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def mark(*parts: Any) -> str:
    return hashlib.sha256(canonical(parts)).hexdigest()[: 2 * _MARK_BYTES]


class Seals:
    """All hold-outs that a data set ever had."""

    def __init__(self, holdouts: Sequence[Holdout], opened: AbstractSet[int]) -> None:
        """`opened` are the versions whose seal has been opened."""
        self._shown = {row.digest for holdout in holdouts if holdout.version in opened for row in holdout.rows}
        closed = [holdout for holdout in holdouts if holdout.version not in opened]
        self._digests = {row.digest for holdout in closed for row in holdout.rows} - self._shown
        self._marks = {
            mark for holdout in closed for row in holdout.rows if row.digest not in self._shown for mark in row.marks
        }
        self._columns = {holdout.columns for holdout in closed}
        self._keys = {holdout.key for holdout in closed if holdout.key}
        self._groups = {holdout.group for holdout in closed if holdout.group}

    def holds(self, digest: str, fields: RowFields) -> bool:
        """Whether the row must stay in the hold-out."""
        if not self._digests:
            return False
        return digest in self._digests or any(found in self._marks for found in self._known_by(fields))

    def seen(self, digest: str) -> bool:
        """Whether an opening has shown this row."""
        return digest in self._shown

    def _known_by(self, fields: RowFields) -> Iterator[str]:
        yield from text_marks(fields)
        for column in self._keys:
            yield from named_mark("key", column, fields)
        for column in self._groups:
            yield from named_mark("group", column, fields)
        for columns in self._columns:
            yield part_mark(columns, fields)


def named_mark(kind: str, column: str, fields: RowFields) -> Iterator[str]:
    if (value := fields.get(column)) is not None:
        yield mark(kind, column, value)


def part_mark(columns: Iterable[str], fields: RowFields) -> str:
    return mark("part", row_digest({name: fields[name] for name in columns if name in fields}))


def text_marks(fields: RowFields) -> Iterator[str]:
    for value in fields.values():
        if isinstance(value, str) and len(value) >= LONG_TEXT:
            yield mark("text", " ".join(unicodedata.normalize("NFKC", value).casefold().split()))


def holdout_of(dataset: Dataset, rows: Sequence[tuple[str, RowFields, Split, bool]]) -> Holdout:
    """Return what is to be known of a version's hold-out. `rows` are (digest, row, split, held there by a seal)."""
    columns = tuple(sorted(column.name for column in dataset.columns))
    group = "" if dataset.policy.column else dataset.policy.group

    def marks(digest: str, fields: RowFields, *, held: bool) -> set[str]:
        found = {mark("part", digest), *text_marks(fields)}  # a row has all of its version's columns
        if dataset.key:
            found.update(named_mark("key", dataset.key, fields))
        if group and not held:  # a row that is held was not placed by its group, and must not tell of it
            found.update(named_mark("group", group, fields))
        return found

    outside = {
        found
        for digest, fields, split, _ in rows
        if split is not Split.HOLDOUT
        for found in marks(digest, fields, held=False)
    }
    inside = (
        SealedRow(digest=digest, marks=tuple(sorted(marks(digest, fields, held=held) - outside)))
        for digest, fields, split, held in rows
        if split is Split.HOLDOUT
    )
    return Holdout(version=dataset.version, columns=columns, rows=tuple(inside), key=dataset.key, group=group)
