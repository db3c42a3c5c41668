"""Deliveries on their way: durable before their first attempt, three attempts with growing waits, and a log of them.

A delivery that waits has a mark beside it, under which the next start finds it again. An attempt that a crash cut off
is made again: a delivery arrives at least once, and its id tells a receiver that it has it already.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from whet_server.errors import StorageUnavailable
from whet_server.hook.spec import MOST_ATTEMPTS, Delivery, DeliveryAttempt, DeliveryState
from whet_server.store.base import Document, RemoveDocument, Store, Write, every_document
from whet_server.values import Workspace

WAITS: Final = (1.0, 10.0)
"""Seconds before the second and the third attempt: a restart takes the one, a deployment often the other."""
AT_ONCE: Final = 8
"""Attempts under way at once: a receiver that hangs holds up no more than these."""
SERVER: Final = Workspace("")
"""Marks and webhooks of all workspaces are read when the server starts, so they stand in one place."""
_COLLECTION: Final = "deliveries"
_MARKS: Final = "waiting_deliveries"
_PAGE: Final = 500
_SUCCESS: Final = range(200, 300)
_REDIRECT: Final = range(300, 400)

Send = Callable[[Delivery], Awaitable[DeliveryAttempt | None]]
"""Makes one attempt; None when the webhook is gone."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Live:
    delivery: Delivery
    task: asyncio.Task[None] | None = None


class Deliveries:
    """The deliveries of every workspace."""

    def __init__(self, store: Store, send: Send, *, clock: Callable[[], int], waits: Sequence[float] = WAITS) -> None:
        """`clock` returns Unix nanoseconds; `waits` are seconds between attempts, one fewer than those."""
        self._store = store
        self._send = send
        self._clock = clock
        self._waits = waits
        self._live: dict[str, _Live] = {}
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._closed = False

    def start(self, delivery: Delivery) -> None:
        """Carry a delivery that is durable to its end. After `close` the next start of the server does."""
        if not self._closed and delivery.delivery_id not in self._live:
            live = self._live[delivery.delivery_id] = _Live(delivery)
            live.task = asyncio.create_task(self._carry(live), name=delivery.delivery_id)

    async def recover(self) -> int:
        """Start every delivery that waited when the server stopped; return how many."""
        count = 0
        for mark in await every_document(self._store, SERVER, _MARKS):
            workspace = msgspec.json.decode(mark.data, type=Workspace)
            kept = await self._store.document(workspace, _COLLECTION, mark.key)
            if kept is not None and (delivery := _read(kept)).state is DeliveryState.WAITING:
                count += mark.key not in self._live
                self.start(delivery)
        return count

    async def close(self) -> None:
        """Cut off what is under way and leave it to the next start."""
        self._closed = True
        await _stop(list(self._live.values()))

    async def give_up(self, workspace: Workspace, hook: str, *also: Write) -> None:
        """End the deliveries of a webhook that wait, in one transaction with `also`. Raises `StorageUnavailable`; then
        they go on.
        """
        live = [
            each for each in self._live.values() if (each.delivery.workspace, each.delivery.hook) == (workspace, hook)
        ]
        await _stop(live)
        waiting = [each.delivery for each in live if each.delivery.state is DeliveryState.WAITING]
        ended = [_given_up(delivery, self._clock()) for delivery in waiting]
        try:
            await self._store.commit(*(write for each in ended for write in writes_of(each)), *also)
        except StorageUnavailable:
            for delivery in waiting:
                self.start(delivery)
            raise

    async def list(
        self,
        workspace: Workspace,
        *,
        hook: str = "",
        state: DeliveryState | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[Delivery]:
        """Return deliveries newest first, those before `before` only."""
        found: list[Delivery] = []
        while page := await self._store.documents(
            workspace, _COLLECTION, before=before, newest_first=True, limit=_PAGE
        ):
            found += [
                delivery
                for delivery in map(_read, page)
                if (not hook or delivery.hook == hook) and (state is None or delivery.state is state)
            ]
            if len(found) >= limit or len(page) < _PAGE:
                break
            before = page[-1].key
        return found[:limit]

    async def get(self, workspace: Workspace, delivery_id: str) -> Delivery | None:
        kept = await self._store.document(workspace, _COLLECTION, delivery_id)
        return None if kept is None else _read(kept)

    async def _carry(self, live: _Live) -> None:
        try:
            while live.delivery.state is DeliveryState.WAITING:
                if made := len(live.delivery.attempts):
                    await asyncio.sleep(self._waits[made - 1])
                async with self._at_once:
                    attempt = await self._send(live.delivery)
                live.delivery = after(live.delivery, attempt) if attempt else _given_up(live.delivery, self._clock())
                await self._store.commit(*writes_of(live.delivery))
        except StorageUnavailable:
            _log.exception("delivery %s is left to the next start", live.delivery.delivery_id)
        finally:
            del self._live[live.delivery.delivery_id]


def writes_of(delivery: Delivery) -> tuple[Write, ...]:
    """Return a delivery as it becomes durable, with its mark as long as it waits."""
    key = delivery.delivery_id
    kept = Document(workspace=delivery.workspace, collection=_COLLECTION, key=key, data=msgspec.json.encode(delivery))
    if delivery.state is DeliveryState.WAITING:
        mark = Document(workspace=SERVER, collection=_MARKS, key=key, data=msgspec.json.encode(delivery.workspace))
        return kept, mark
    return kept, RemoveDocument(workspace=SERVER, collection=_MARKS, key=key)


def after(delivery: Delivery, attempt: DeliveryAttempt, *, most: int = MOST_ATTEMPTS) -> Delivery:
    """Return a delivery after one more attempt of `most`."""
    attempts = (*delivery.attempts, attempt)
    if not attempt.error:
        state = DeliveryState.DELIVERED
    else:
        state = DeliveryState.FAILED if len(attempts) >= most else DeliveryState.WAITING
    return msgspec.structs.replace(delivery, attempts=attempts, state=state)


def error_of(status: int) -> str:
    """Return what is wrong with an answer, in words; nothing when it is a success."""
    if status in _SUCCESS:
        return ""
    if status in _REDIRECT:
        return f"The address answered {status}: redirects are not followed. Store the address it leads to."
    return f"The address answered {status}."


def _given_up(delivery: Delivery, now_ns: int) -> Delivery:
    removed = DeliveryAttempt(start_ns=now_ns, error="Given up: the webhook was removed.")
    return after(delivery, removed, most=0)


async def _stop(live: Sequence[_Live]) -> None:
    tasks = [each.task for each in live if each.task is not None]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _read(document: Document) -> Delivery:
    return msgspec.json.decode(document.data, type=Delivery)
