"""Request ids: the same id with the same payload gives the same answer, and the effect happens once.

A lock for each id decides in memory who comes first; the record goes to disk in the same transaction as the effect, so
that a crash leaves both or neither.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from google.protobuf.message import Message

from whet_server.errors import RequestIdReused
from whet_server.rpc.convert.values import rfc3339
from whet_server.store.base import RequestRecord, Store
from whet_server.values import Value, Workspace, new_id

ResultT = TypeVar("ResultT")
_log = logging.getLogger(__name__)


class Turn(Value):
    """One request's turn. `answer` is set when an earlier call with this id had its effect: repeat that answer."""

    request_id: str
    answer: str | None = None
    unwritten: RequestRecord | None = None

    def record(self, answer: str) -> tuple[RequestRecord, ...]:
        """Return what to make durable with the effect. Nothing when the caller gave no id: nobody can repeat it."""
        return () if self.unwritten is None else (msgspec.structs.replace(self.unwritten, answer=answer),)


def payload_digest(method: str, request: Message, plan_hash: str = "") -> str:
    """Return the SHA-256 over the method, the request without its request id, and what it was found to come to, in
    hexadecimal.
    """
    bare = type(request)()
    bare.CopyFrom(request)
    if "request_id" in bare.DESCRIPTOR.fields_by_name:
        bare.ClearField("request_id")
    return hashlib.sha256(
        method.encode() + b"\0" + bare.SerializeToString(deterministic=True) + plan_hash.encode()
    ).hexdigest()


class Requests:
    """The request ids of every workspace, and the effects under way."""

    def __init__(self, store: Store, *, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock
        self._locks: dict[tuple[Workspace, str], _Lock] = {}
        self._under_way: set[asyncio.Task[Any]] = set()

    async def whole(self, effect: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Return what `effect` returns. It runs to its end even if the caller leaves: a half of it would be neither
        done nor free to be done again.
        """
        task = asyncio.create_task(effect)
        self._under_way.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def idle(self, seconds: float) -> None:
        """Wait until no effect is under way, at most so long."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=seconds)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.debug("an effect was refused: %s", error)

    @asynccontextmanager
    async def turn(
        self, workspace: Workspace, method: str, request_id: str, request: Message
    ) -> AsyncGenerator[Turn, None]:
        """Hold the id while the effect happens. Raises `RequestIdReused` when it came before with another payload."""
        if not request_id:
            yield Turn(request_id=new_id("req"))
            return
        digest = payload_digest(method, request)
        key = (workspace, request_id)
        lock = self._locks.setdefault(key, _Lock())
        lock.users += 1
        try:
            async with lock:
                earlier = await self._store.request(workspace, request_id)
                if earlier is not None:
                    _check_same(earlier, method, digest)
                    yield Turn(request_id=request_id, answer=earlier.answer)
                else:
                    blank = RequestRecord(
                        workspace=workspace,
                        request_id=request_id,
                        method=method,
                        payload_digest=digest,
                        answer="",
                        create_ns=self._clock(),
                    )
                    yield Turn(request_id=request_id, unwritten=blank)
        finally:
            lock.users -= 1
            if not lock.users:
                del self._locks[key]


class _Lock(asyncio.Lock):
    """A lock that knows how many hold it or wait for it, so that the last one can throw it away."""

    users = 0


def _check_same(earlier: RequestRecord, method: str, digest: str) -> None:
    if earlier.method == method and earlier.payload_digest == digest:
        return
    first_call = rfc3339(earlier.create_ns)
    raise RequestIdReused(
        f"The request id {earlier.request_id} was used at {first_call} for {earlier.method} with other arguments. "
        "Use a new id for a new call.",
        metadata={"request_id": earlier.request_id, "method": earlier.method, "first_call": first_call},
    )
