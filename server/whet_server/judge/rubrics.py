"""The rubrics of every workspace: those that come with Whet, and a workspace's own versions above them."""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

import whet_prompts
from whet_server.errors import RubricNotFound
from whet_server.judge.rubric import Rubric, parse, tidy
from whet_server.store.base import Document, RequestRecord, Store, every_document
from whet_server.values import Value, Workspace

COLLECTION: Final = "rubrics"
_NAME: Final = re.compile(r"([a-z0-9][a-z0-9-]*)(?:@([0-9]{1,9}))?")


class _Kept(Value):
    """A version as it is kept; its name and number are its key."""

    text: str
    create_ns: int


class Rubrics:
    """Rubrics by name. A version never changes and is never removed."""

    def __init__(self, store: Store, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._store = store
        self._clock = clock
        self._lock = asyncio.Lock()

    async def get(self, workspace: Workspace, name: str) -> Rubric:
        """Return the newest version of `name`, or the one that `name@version` names. Raises `RubricNotFound`."""
        found = _NAME.fullmatch(name)
        if found is None:
            raise _missing(name)
        bare, version = found[1], int(found[2] or 0)
        kept = await self._kept(workspace, bare, version)
        if kept is not None:
            return kept
        built_in = _built_in(bare)
        if built_in is None or version not in {0, built_in.version}:
            raise _missing(name)
        return built_in

    async def put(
        self, workspace: Workspace, name: str, text: str, *, also: Callable[[Rubric, bool], Sequence[RequestRecord]]
    ) -> tuple[Rubric, bool]:
        """Keep a text as the next version of `name` and return it and True; or the newest version, when its text is the
        same, and False. What `also` makes of these two becomes durable with it. Raises `InvalidField` for a text that
        is no rubric.
        """
        async with self._lock:
            try:
                newest = await self.get(workspace, name)
            except RubricNotFound:
                newest = None
            if newest is not None and newest.text == tidy(text):
                await self._store.commit(*also(newest, False))
                return newest, False
            built_in = _built_in(name)
            version = 1 + max(newest.version if newest else 0, built_in.version if built_in else 0)
            rubric = parse(text, name, version, create_ns=self._clock())
            kept = _Kept(text=rubric.text, create_ns=rubric.create_ns or 0)
            document = Document(
                workspace=workspace, collection=COLLECTION, key=_key(name, version), data=msgspec.json.encode(kept)
            )
            await self._store.commit(document, *also(rubric, True))
            return rubric, True

    async def newest(self, workspace: Workspace) -> Sequence[Rubric]:
        """Return the newest version of every rubric, by name."""
        newest = {name: rubric for name in whet_prompts.rubric_names() if (rubric := _built_in(name)) is not None}
        for rubric in await self._all(workspace, ""):
            newest[rubric.name] = rubric
        return [newest[name] for name in sorted(newest)]

    async def versions(self, workspace: Workspace, name: str) -> Sequence[Rubric]:
        """Return every version of a rubric, the newest first. Raises `RubricNotFound` when there is none."""
        found = await self._all(workspace, f"{name}@")
        built_in = _built_in(name)
        if built_in is not None and built_in.version not in {rubric.version for rubric in found}:
            found.insert(0, built_in)
        if not found:
            raise _missing(name)
        return found[::-1]

    async def _all(self, workspace: Workspace, prefix: str) -> list[Rubric]:
        """Return what the workspace keeps, by name and version."""
        return [_rubric(each) for each in await every_document(self._store, workspace, COLLECTION, prefix=prefix)]

    async def _kept(self, workspace: Workspace, name: str, version: int) -> Rubric | None:
        if version:
            document = await self._store.document(workspace, COLLECTION, _key(name, version))
            return None if document is None else _rubric(document)
        page = await self._store.documents(workspace, COLLECTION, prefix=f"{name}@", newest_first=True, limit=1)
        return _rubric(page[0]) if page else None


def _key(name: str, version: int) -> str:
    return f"{name}@{version:09d}"


def _rubric(document: Document) -> Rubric:
    name, _, version = document.key.partition("@")
    kept = msgspec.json.decode(document.data, type=_Kept)
    return parse(kept.text, name, int(version), create_ns=kept.create_ns)


def _built_in(name: str) -> Rubric | None:
    if name not in whet_prompts.rubric_names():
        return None
    found = whet_prompts.load_rubric(name)
    return parse(found.text, name, found.version, built_in=True)


def _missing(name: str) -> RubricNotFound:
    return RubricNotFound(
        f"There is no rubric {name[:120]}. ListRubrics says which there are.", metadata={"rubric": name[:120]}
    )
