"""Where data sets stand in the store: names, versions, rows and hold-outs, each a collection of documents.

A row's key begins with its version and its split, so that one split is read without touching another.
"""

import heapq
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from whet_server.dataset.seal import Holdout
from whet_server.dataset.spec import Dataset, Row, RowFields, Split
from whet_server.store.base import Document, Store, every_document
from whet_server.values import Value, Workspace

NAMES: Final = "dataset"
VERSIONS: Final = "dataset-version"
ROWS: Final = "dataset-row"
HOLDOUTS: Final = "dataset-holdout"
_PAGE: Final = 2_000
"""Documents read at once: a megabyte or so."""


class Newest(Value):
    """What a name stands for."""

    version: int


class StoredRow(Value):
    """A row as it is kept: its JSON verbatim."""

    row_id: str
    fields: msgspec.Raw


class NewRow(Value):
    """A row of a version that is about to be stored."""

    row_id: str
    number: int
    split: Split
    fields: RowFields


def version_key(name: str, version: int) -> str:
    """Names hold no `@`, and eight digits sort as numbers do."""
    return f"{name}@{version:08d}"


def _row_key(name: str, version: int, split: Split, number: int) -> str:
    return f"{version_key(name, version)}/{split}/{number:08d}"


def version_document(workspace: Workspace, dataset: Dataset) -> Document:
    """Return the write that keeps a version's record."""
    key = version_key(dataset.name, dataset.version)
    return Document(workspace=workspace, collection=VERSIONS, key=key, data=msgspec.json.encode(dataset))


def all_documents(
    workspace: Workspace, dataset: Dataset, rows: Iterable[NewRow], holdout: Holdout
) -> tuple[Document, ...]:
    """Return the writes that store a new version."""
    newest = msgspec.json.encode(Newest(version=dataset.version))
    key = version_key(dataset.name, dataset.version)
    return (
        Document(workspace=workspace, collection=NAMES, key=dataset.name, data=newest),
        version_document(workspace, dataset),
        Document(workspace=workspace, collection=HOLDOUTS, key=key, data=holdout.written()),
        *(
            Document(
                workspace=workspace,
                collection=ROWS,
                key=_row_key(dataset.name, dataset.version, row.split, row.number),
                data=msgspec.json.encode({"row_id": row.row_id, "fields": row.fields}),
            )
            for row in rows
        ),
    )


class Shelf:
    """Reads what stands in the store. It knows no seal: whoever gives rows out asks `Datasets.rows`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def newest(self, workspace: Workspace, name: str) -> int:
        """Return the newest version; 0 when there is none."""
        found = await self._store.document(workspace, NAMES, name)
        return msgspec.json.decode(found.data, type=Newest).version if found else 0

    async def names(self, workspace: Workspace, *, after: str | None = None, limit: int = 500) -> Sequence[str]:
        return [found.key for found in await self._store.documents(workspace, NAMES, after=after, limit=limit)]

    async def version(self, workspace: Workspace, name: str, version: int) -> Dataset | None:
        found = await self._store.document(workspace, VERSIONS, version_key(name, version))
        return msgspec.json.decode(found.data, type=Dataset) if found else None

    async def versions(
        self, workspace: Workspace, name: str, *, before: int | None = None, limit: int = 100_000
    ) -> Sequence[Dataset]:
        """Return versions newest first, those before `before` only."""
        found = await self._store.documents(
            workspace,
            VERSIONS,
            prefix=f"{name}@",
            before=None if before is None else version_key(name, before),
            newest_first=True,
            limit=limit,
        )
        return [msgspec.json.decode(each.data, type=Dataset) for each in found]

    async def holdouts(self, workspace: Workspace, name: str) -> Sequence[bytes]:
        """Return what is known of the hold-outs of all versions, as JSON of `Holdout`."""
        return [each.data for each in await every_document(self._store, workspace, HOLDOUTS, prefix=f"{name}@")]

    async def rows(
        self, dataset: Dataset, workspace: Workspace, splits: Iterable[Split], *, after: int = 0, limit: int = 0
    ) -> Sequence[Row]:
        """Return rows of these splits in the order of the file, those with a number above `after`; 0: no limit."""
        wanted = limit or dataset.rows
        parts = [await self._split_rows(dataset, workspace, split, after, wanted) for split in splits]
        return list(heapq.merge(*parts, key=lambda row: row.number))[:wanted]

    async def _split_rows(
        self, dataset: Dataset, workspace: Workspace, split: Split, after: int, limit: int
    ) -> Sequence[Row]:
        rows: list[Row] = []
        prefix = f"{version_key(dataset.name, dataset.version)}/{split}/"
        last = f"{prefix}{after:08d}"
        while len(rows) < limit:
            size = min(_PAGE, limit - len(rows))
            page = await self._store.documents(workspace, ROWS, prefix=prefix, after=last, limit=size)
            rows += [_row(found, split) for found in page]
            if len(page) < size:
                break
            last = page[-1].key
        return rows


def _row(found: Document, split: Split) -> Row:
    stored = msgspec.json.decode(found.data, type=StoredRow)
    number = int(found.key.rpartition("/")[2])
    return Row(row_id=stored.row_id, number=number, split=split, json=bytes(stored.fields).decode())
