"""The money of one attempt: opened before anything is sent, closed once, whatever happens in between."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from whet_server.errors import StorageUnavailable
from whet_server.ledger.ledger import Ledger
from whet_server.llm.base import CallSpec, ModelInfo, entry_id
from whet_server.store.base import ReservationRecord
from whet_server.values import Billing, Message, Nanos, Parameters, Usage

TOKENS_PER_MESSAGE: Final = 16
"""What a message costs at most beside its text: its role and its separators."""
BYTES_PER_TOKEN: Final = 4
"""For estimates: what a token of English amounts to."""
_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class Worst:
    """The most tokens one attempt can use: a token a byte for the prompt, the limit for the answer."""

    __slots__ = ("input_tokens", "likely_input", "output_tokens")

    def __init__(self, messages: tuple[Message, ...], parameters: Parameters) -> None:
        size = sum(len(message.content.encode()) for message in messages)
        self.input_tokens = size + TOKENS_PER_MESSAGE * len(messages)
        self.likely_input = max(1, size // BYTES_PER_TOKEN)
        self.output_tokens = parameters.max_tokens or 0

    def seen(self, text: str) -> Usage:
        """Estimate what was used when this much text came."""
        answered = -(-len(text.encode()) // BYTES_PER_TOKEN)
        return Usage(input_tokens=self.likely_input, output_tokens=answered, estimated=True)


class Tab:
    """What one attempt may cost and did."""

    def __init__(self, ledger: Ledger, spec: CallSpec, info: ModelInfo, worst: Worst) -> None:
        self._ledger = ledger
        self._spec = spec
        self._info = info
        self._worst = worst
        self._id = entry_id(spec.call_id)
        self.billing = Billing.NONE
        self.cost = Nanos(0)
        self.usage = Usage()

    @property
    def free(self) -> bool:
        """Nothing can be owed, so nothing can be unknown."""
        price = self._info.price
        return price is not None and not price.input and not price.output

    async def open(self) -> None:
        """Reserve the worst case. Raises `CapExceeded`, `PriceUnknown` or `StorageUnavailable`; then, and when it is
        cancelled, nothing stays reserved.
        """
        record = await self._ledger.reserve(
            self._spec.workspace,
            run_id=self._spec.run_id,
            model=self._info.name,
            price=self._info.price,
            max_input_tokens=self._worst.input_tokens,
            max_output_tokens=self._worst.output_tokens,
            run_cap=self._spec.run_cap,
            reservation_id=self._id,
            fresh=True,
        )
        self._take(record)

    async def settle(self, usage: Usage) -> None:
        """The provider said what was used; or nothing is owed, and an estimate will do."""
        self.usage = usage
        await self._close(lambda: self._ledger.settle(self._spec.workspace, self._id, usage))

    async def release(self) -> None:
        """Nothing was sent, or the provider bills nothing for it."""
        await self._close(lambda: self._ledger.release(self._spec.workspace, self._id))

    async def unknown(self, seen: Usage) -> None:
        """It was sent, and nobody knows what it costs: the worst case stays reserved."""
        self.usage = seen
        await self._close(lambda: self._ledger.unknown(self._spec.workspace, self._id, seen))

    async def _close(self, end: Callable[[], Awaitable[ReservationRecord]]) -> None:
        """Close the entry, also when the call is being cancelled: ending an entry twice in the same way is harmless."""
        try:
            self._take(await end())
        except asyncio.CancelledError:
            await unbroken(self._end_again(end))
            raise
        except StorageUnavailable as error:
            self._keep(error)

    async def _end_again(self, end: Callable[[], Awaitable[ReservationRecord]]) -> None:
        try:
            self._take(await end())
        except StorageUnavailable as error:
            self._keep(error)

    def _keep(self, error: StorageUnavailable) -> None:
        """The disk refuses: the entry stays reserved, and is unknown after a restart."""
        _log.error("reservation %s stays open: %s", self._id, error)
        self.billing = Billing.UNKNOWN

    def _take(self, record: ReservationRecord) -> None:
        self.billing = record.billing
        held = record.billing in (Billing.UNKNOWN, Billing.RESERVED)
        self.cost = record.reserved if held else record.settled


async def unbroken(work: Awaitable[_T]) -> _T:
    """Do the work to its end, however often the caller is cancelled meanwhile. The caller raises afterwards."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    return task.result()
