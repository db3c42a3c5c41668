"""The response cache: the same question to the same model with the same parameters need not be paid twice.

Only whole answers are kept. They are written behind the caller's back, in batches, and can be found from the moment
they are put. The store keeps the keys in memory, so that a miss, with which every new call begins, costs no query.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from whet_server.errors import StorageUnavailable
from whet_server.llm.base import CallSpec
from whet_server.llm.endpoint import Route
from whet_server.store.base import CachedAnswer, RemoveCached, Store, Write
from whet_server.values import Message, ModelName, Parameters, Usage, Value, Workspace

DEFAULT_TTL: Final = 7 * 86_400.0
"""Seconds an answer stays fresh: prompts are worked on for days, and models change within weeks."""
SWEEP_SECONDS: Final = 3600.0
"""Between two removals of what has expired; expired answers are not given out anyway."""
_REMEMBERED: Final = 8
"""Conversations whose digest is remembered: the branches of one run ask the same one, a thousand at a time."""

_log = logging.getLogger(__name__)
_json = msgspec.json.Encoder(order="deterministic")


class CacheStats(Value):
    """The workspace's share of the cache. Hits and misses count from the server's start."""

    entries: int
    size_bytes: int
    hits: int
    misses: int


class Question(Value):
    """What is asked, as far as it decides the answer."""

    workspace: Workspace
    model: ModelName
    base_url: str
    messages: tuple[Message, ...]
    parameters: Parameters
    sample: int = 1
    embeds: bool = False

    @classmethod
    def of(cls, spec: CallSpec, route: Route, parameters: Parameters) -> "Question":
        """Return what a call asks one of its models."""
        return cls(
            workspace=spec.workspace,
            model=route.info.name,
            base_url=route.endpoint.settings.base_url,
            messages=spec.messages,
            parameters=parameters,
            sample=spec.sample,
            embeds=spec.embeds,
        )

    def key(self) -> bytes:
        """SHA-256 over the question as canonical JSON. The first sample is the question itself."""
        whole = [
            self.workspace,
            self.model,
            self.base_url,
            _digest(self.messages),
            self.parameters,
            *([self.sample] if self.sample > 1 else []),
            *(["embeds"] if self.embeds else []),
        ]
        return hashlib.sha256(_json.encode(whole)).digest()


class ResponseCache:
    """Whole answers, by question. `clock` is Unix time in nanoseconds. `close` it to write what is still under way."""

    def __init__(self, store: Store, *, clock: Callable[[], int], ttl: float = DEFAULT_TTL) -> None:
        self._store = store
        self._clock = clock
        self._ttl = ttl
        self._fresh: dict[tuple[Workspace, bytes], CachedAnswer] = {}
        self._writer: asyncio.Task[None] | None = None
        self._swept = clock()
        self._hits: dict[Workspace, int] = {}
        self._misses: dict[Workspace, int] = {}

    async def get(self, workspace: Workspace, key: bytes) -> CachedAnswer | None:
        """Return a fresh answer, and count whether there was one."""
        found = await self.look(workspace, key)
        counts = self._misses if found is None else self._hits
        counts[workspace] = counts.get(workspace, 0) + 1
        return found

    async def look(self, workspace: Workspace, key: bytes) -> CachedAnswer | None:
        """Return a fresh answer without counting, for estimates. A store that cannot be read has none."""
        found = self._fresh.get((workspace, key))
        if found is None:
            try:
                found = await self._store.cached(workspace, key)
            except StorageUnavailable:
                return None
        return found if found is not None and found.expire_ns > self._clock() else None

    def put(
        self,
        question: Question,
        key: bytes,
        *,
        text: str,
        usage: Usage,
        finish_reason: str,
        simulated: bool,
        latency_ns: int = 0,
        ttl: float | None = None,
    ) -> None:
        """Keep a whole answer. It can be found at once and is durable soon."""
        now = self._clock()
        answer = CachedAnswer(
            workspace=question.workspace,
            key=key,
            text=text,
            usage=usage,
            model=question.model,
            finish_reason=finish_reason,
            simulated=simulated,
            create_ns=now,
            latency_ns=latency_ns,
            expire_ns=now + int((self._ttl if ttl is None else ttl) * 1e9),
        )
        if answer.expire_ns <= now:
            return
        self._fresh[answer.workspace, key] = answer
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name="cache-writer")

    async def stats(self, workspace: Workspace) -> CacheStats:
        """Say how large the workspace's cache is and how often it answers."""
        await self._written()
        size = await self._store.cache_size(workspace)
        return CacheStats(
            entries=size.entries,
            size_bytes=size.size_bytes,
            hits=self._hits.get(workspace, 0),
            misses=self._misses.get(workspace, 0),
        )

    async def clear(self, workspace: Workspace, also: Sequence[Write] = ()) -> int:
        """Remove the workspace's answers in one transaction with `also`; return how many there were."""
        await self._written()
        size = await self._store.cache_size(workspace)
        await self._store.commit(RemoveCached(workspace=workspace), *also)
        return size.entries

    async def close(self) -> None:
        """Write what is under way."""
        await self._written()

    async def _written(self) -> None:
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def _write(self) -> None:
        """Write until nothing is left. An answer that cannot be written is only not kept."""
        try:
            while self._fresh:
                batch = dict(self._fresh)
                try:
                    await self._store.commit(*batch.values(), *self._sweep())
                except StorageUnavailable as error:
                    _log.warning("cached answers are not kept: %s", error)
                for place, answer in batch.items():
                    if self._fresh.get(place) is answer:
                        del self._fresh[place]
        finally:
            self._writer = None

    def _sweep(self) -> Sequence[Write]:
        now = self._clock()
        if now - self._swept < SWEEP_SECONDS * 1e9:
            return ()
        self._swept = now
        return (RemoveCached(expired_before_ns=now),)


@lru_cache(maxsize=_REMEMBERED)
def _digest(messages: tuple[Message, ...]) -> str:
    return hashlib.sha256(_json.encode(messages)).hexdigest()
