"""The data sets' door: store, look, split, tag, open, and give out rows that are not under seal.

One version of a name is stored or opened at a time. Everything of one call, its run and its request id included, is
one transaction: after a crash there is all of it or nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final
from weakref import WeakValueDictionary

from msgspec.structs import replace

from whet_server.dataset.intake import Before, Prepared, prepared, resplit
from whet_server.dataset.items import items_of
from whet_server.dataset.seal import Holdout
from whet_server.dataset.shelf import Shelf, all_documents, version_document
from whet_server.dataset.spec import (
    DataFormat,
    Dataset,
    DatasetRef,
    Header,
    Readable,
    Selection,
    Split,
    SplitPolicy,
)
from whet_server.dataset.writing import write
from whet_server.errors import DatasetNotFound, HoldoutSealed, WrongState
from whet_server.log.events import DatasetStored, DurablePayload, RunFinished, RunOpened, SealOpened
from whet_server.log.log import EventLog
from whet_server.store.base import Store, Write
from whet_server.values import Principal, Run, RunId, RunKind, RunState, Workspace, new_id

Record = Callable[[str], Sequence[Write]]
"""What makes the answer to a request id durable, given that answer."""
_PAGE: Final = 500
_PIECE: Final = 256 * 1024
"""Bytes of an export in one message."""


def no_record(_answer: str) -> Sequence[Write]:
    """Keep no answer: nobody can repeat the call."""
    return ()


class Datasets:
    """The data sets of every workspace."""

    def __init__(self, log: EventLog, store: Store, *, clock: Callable[[], int] = time.time_ns) -> None:
        """`clock` returns Unix nanoseconds."""
        self._log = log
        self._store = store
        self._shelf = Shelf(store)
        self._clock = clock
        self._locks: WeakValueDictionary[tuple[Workspace, str], asyncio.Lock] = WeakValueDictionary()

    async def put(
        self, principal: Principal, header: Header, data: bytes, *, request_id: str = "", record: Record = no_record
    ) -> tuple[Dataset, bool]:
        """Store a file as the next version; return it, and whether it is new: the content of the newest version is
        not stored again. Raises `InvalidField` with every line that is wrong, or `TooLarge`; then nothing is stored.
        """
        if header.file_format is DataFormat.PARQUET:
            from whet_server.dataset.parquet import as_json_lines

            data = await as_json_lines(data)
        async with self._turn(principal.workspace, header.name):
            before = await self._before(principal.workspace, header.name, with_rows=header.append)
            made = await asyncio.to_thread(prepared, header, data, before)
            return await self._store_version(principal, made, before, request_id, record)

    async def split(
        self,
        principal: Principal,
        name: str,
        version: int,
        policy: SplitPolicy,
        *,
        request_id: str = "",
        record: Record = no_record,
    ) -> Dataset:
        """Split a version's rows anew, as a new version. Raises `DatasetNotFound` or `InvalidField`."""
        async with self._turn(principal.workspace, name):
            source = await self.get(principal.workspace, name, version)
            before = await self._before(principal.workspace, name, rows_of=source)
            made = await asyncio.to_thread(resplit, source, policy, before)
            return (await self._store_version(principal, made, before, request_id, record))[0]

    async def get(self, workspace: Workspace, name: str, version: int = 0) -> Dataset:
        """Return a version, the newest for 0. Raises `DatasetNotFound`."""
        wanted = version or await self._shelf.newest(workspace, name)
        found = await self._shelf.version(workspace, name, wanted)
        if found is None:
            what = f"no version {version} of the data set {name}" if version else f"no data set {name}"
            raise DatasetNotFound(
                f"There is {what} in this workspace. List them: list_datasets.",
                metadata={"name": name, "version": str(version)},
            )
        return found

    async def list(
        self, workspace: Workspace, *, tag: str = "", after: str | None = None, limit: int = 50
    ) -> Sequence[Dataset]:
        """Return data sets by name, those after `after` only, each with its newest version that has the tag."""
        found: list[Dataset] = []
        while names := await self._shelf.names(workspace, after=after, limit=_PAGE):
            for name in names:
                newest = await self._newest(workspace, name, tag)
                found += [newest] if newest else []
                if len(found) == limit:
                    return found
            after = names[-1]
        return found

    async def versions(
        self, workspace: Workspace, name: str, *, tag: str = "", before: int | None = None, limit: int = 50
    ) -> Sequence[Dataset]:
        """Return a data set's versions newest first, those before `before` only. Raises `DatasetNotFound`."""
        await self.get(workspace, name)
        if not tag:
            return await self._shelf.versions(workspace, name, before=before, limit=limit)
        found = await self._shelf.versions(workspace, name, before=before)
        return [dataset for dataset in found if tag in dataset.tags][:limit]

    async def tag(
        self,
        workspace: Workspace,
        name: str,
        version: int,
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        record: Record = no_record,
    ) -> Dataset:
        """Add and remove tags of a version. Raises `DatasetNotFound`."""
        async with self._turn(workspace, name):
            found = await self.get(workspace, name, version)
            tagged = replace(found, tags=tuple(sorted((set(found.tags) | set(add)) - set(remove))))
            await self._store.commit(version_document(workspace, tagged), *record(_answer(tagged)))
            return tagged

    async def open_seal(
        self,
        principal: Principal,
        name: str,
        version: int,
        reason: str,
        *,
        request_id: str = "",
        record: Record = no_record,
    ) -> Dataset:
        """Open the hold-out of a version for good; durable and in the log when this returns. Raises
        `DatasetNotFound`, and `WrongState` when it is open already or there is none.
        """
        workspace = principal.workspace
        async with self._turn(workspace, name):
            found = await self.get(workspace, name, version)
            _check_sealed(found)
            holdouts = await self._holdouts(workspace, name)
            shown = next(holdout for holdout in holdouts if holdout.version == found.version)
            run = self._run(principal, f"open the seal of {name} version {found.version}", request_id)
            opened = replace(found, sealed=False, open_ns=run.create_ns, open_run_id=run.run_id, open_reason=reason)
            event = SealOpened(
                name=name, version=found.version, reason=reason, rows=len(shown.rows), digest=shown.digest
            )
            others = await self._with_seen(workspace, opened, holdouts)
            writes = [version_document(workspace, each) for each in (opened, *others)]
            await self._log_run(run, event, [*writes, *record(_answer(opened))])
            return opened

    async def rows(
        self,
        workspace: Workspace,
        name: str,
        version: int = 0,
        *,
        split: Split | None = None,
        after: int = 0,
        limit: int = 0,
    ) -> Readable:
        """Give out rows in the order of the file, those with a number above `after`: of one split, or all that are
        not under seal. The one place where rows leave, and so the one that asks for the seal. Raises
        `DatasetNotFound`, or `HoldoutSealed` for a hold-out that has not been opened.
        """
        dataset = await self.get(workspace, name, version)
        if split is Split.HOLDOUT and dataset.sealed:
            raise HoldoutSealed(
                f"The hold-out of {name} version {dataset.version} is under seal: neither its rows nor scores of them "
                "are given out. A person may open it once: open_seal.",
                metadata={"name": name, "version": str(dataset.version)},
            )
        readable = [each for each in Split if not (each is Split.HOLDOUT and dataset.sealed)]
        splits = readable if split is None else [split]
        rows = await self._shelf.rows(dataset, workspace, splits, after=after, limit=limit)
        return Readable(dataset=dataset, rows=tuple(rows), sealed_rows=0 if split else dataset.sealed_rows)

    async def items(self, workspace: Workspace, ref: DatasetRef, *, answered: bool = True) -> Selection:
        """Return what a reference stands for. `answered`: its rows hold answers; a sweep makes its own. Raises
        `DatasetNotFound`, `HoldoutSealed`, or `InvalidField` with paths from `dataset.` on.
        """
        given = await self.rows(workspace, ref.name, ref.version, split=ref.split, limit=ref.limit)
        return await asyncio.to_thread(items_of, given, ref, answered=answered)

    async def export(
        self, workspace: Workspace, name: str, version: int, file_format: DataFormat, split: Split | None
    ) -> tuple[Readable, AsyncIterator[bytes]]:
        """Return what is exported, and the file in pieces. Raises what `rows` raises."""
        given = await self.rows(workspace, name, version, split=split)
        content = await asyncio.to_thread(write, given, file_format)
        return given, _pieces(content)

    def _turn(self, workspace: Workspace, name: str) -> asyncio.Lock:
        return self._locks.setdefault((workspace, name), asyncio.Lock())

    async def _newest(self, workspace: Workspace, name: str, tag: str) -> Dataset | None:
        if not tag:
            return await self.get(workspace, name)
        found = await self._shelf.versions(workspace, name)
        return next((dataset for dataset in found if tag in dataset.tags), None)

    async def _before(
        self, workspace: Workspace, name: str, *, with_rows: bool = False, rows_of: Dataset | None = None
    ) -> Before:
        """Read what a new version follows, rows under seal included: they go on in it and nowhere else."""
        versions = await self._shelf.versions(workspace, name)
        if not versions:
            return Before()
        source = rows_of or (versions[0] if with_rows else None)
        rows = await self._shelf.rows(source, workspace, Split) if source else ()
        return Before(
            newest=versions[0],
            rows=tuple(rows),
            holdouts=tuple(await self._shelf.holdouts(workspace, name)),
            opened=frozenset(each.version for each in versions if each.open_ns is not None),
        )

    async def _store_version(
        self, principal: Principal, made: Prepared, before: Before, request_id: str, record: Record
    ) -> tuple[Dataset, bool]:
        newest = before.newest
        if newest is not None and _same(newest, made.dataset):
            await self._store.commit(*record(_answer(newest)))
            return newest, False
        run = self._run(principal, f"store {made.dataset.name} version {made.dataset.version}", request_id)
        dataset = replace(made.dataset, create_ns=run.create_ns, role=run.role.value, run_id=run.run_id)
        event = DatasetStored(
            name=dataset.name,
            version=dataset.version,
            digest=dataset.digest,
            rows=dataset.rows,
            source=dataset.source,
        )
        documents = await asyncio.to_thread(all_documents, principal.workspace, dataset, made.rows, made.holdout)
        await self._log_run(run, event, [*documents, *record(_answer(dataset))])
        return dataset, True

    async def _holdouts(self, workspace: Workspace, name: str) -> Sequence[Holdout]:
        return [Holdout.read(each) for each in await self._shelf.holdouts(workspace, name)]

    async def _with_seen(self, workspace: Workspace, opened: Dataset, holdouts: Sequence[Holdout]) -> Sequence[Dataset]:
        """Return the other versions whose hold-outs have rows that have been shown now, with their number."""
        versions = [opened, *await self._shelf.versions(workspace, opened.name)]
        open_ones = {each.version for each in versions if each.open_ns is not None}
        by_version = {holdout.version: holdout for holdout in holdouts}
        changed = []
        for version in versions[1:]:
            others = [by_version[number] for number in open_ones - {version.version}]
            shown = {row.digest for holdout in others for row in holdout.rows}
            seen = sum(row.digest in shown for row in by_version[version.version].rows)
            if seen != version.seen_rows and version.version != opened.version:
                changed.append(replace(version, seen_rows=seen))
        return changed

    def _run(self, principal: Principal, title: str, request_id: str) -> Run:
        return Run(
            run_id=RunId(new_id("dat")),
            workspace=principal.workspace,
            kind=RunKind.DATASET,
            title=title,
            state=RunState.RUNNING,
            role=principal.role,
            create_ns=self._clock(),
            request_id=request_id,
        )

    async def _log_run(self, run: Run, event: DurablePayload, writes: Sequence[Write]) -> None:
        """Make a run of one event durable with what it did, from its beginning to its end in one transaction."""
        opened = RunOpened(run_id=run.run_id, kind=run.kind, title=run.title, role=run.role, request_id=run.request_id)
        writer, begun = self._log.begin(run, opened, also=writes)
        happened = writer.post(event)
        finished = RunFinished(state=RunState.SUCCEEDED, latency_ns=self._clock() - run.create_ns)
        # Nothing was awaited since the run was begun, so that these three are taken together.
        results = await asyncio.gather(begun, happened, writer.finish(finished), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result


def _answer(dataset: Dataset) -> str:
    return f"{dataset.name}@{dataset.version}"


def _check_sealed(found: Dataset) -> None:
    if found.sealed:
        return
    state, what = ("open", "has been opened already") if found.open_ns else ("none", "is empty: nothing is under seal")
    raise WrongState(
        f"The hold-out of {found.name} version {found.version} {what}.",
        metadata={"name": found.name, "version": str(found.version), "state": state},
    )


def _same(newest: Dataset, made: Dataset) -> bool:
    """Whether a new version would say nothing new."""
    return all(
        getattr(newest, field) == getattr(made, field) for field in ("digest", "columns", "policy", "key", "row_schema")
    )


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), _PIECE):
        yield content[start : start + _PIECE]
