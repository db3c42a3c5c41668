"""The money of one attempt: opened before anything is sent, closed once in a step that nothing can interrupt."""

from typing import Final

from whet_server.ledger.ledger import Ledger
from whet_server.llm.base import CallSpec, ModelInfo, entry_id
from whet_server.store.base import ReservationRecord
from whet_server.values import Billing, Message, Nanos, Parameters, Usage

TOKENS_PER_MESSAGE: Final = 16
"""What a message costs at most beside its text: its role and its separators."""
BYTES_PER_TOKEN: Final = 4
"""For estimates: what a token of English amounts to."""


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
        answered = min(-(-len(text.encode()) // BYTES_PER_TOKEN), self.output_tokens)
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
            run_token_cap=self._spec.run_token_cap,
            reservation_id=self._id,
            fresh=True,
        )
        self._take(record)

    def settle(self, usage: Usage) -> None:
        """The provider said what was used; or nothing is owed, and an estimate will do."""
        self.usage = usage
        self._end(Billing.SETTLED)

    def release(self) -> None:
        """Nothing was sent, or the provider bills nothing for it."""
        self._end(Billing.NONE)

    def unknown(self, seen: Usage) -> None:
        """It was sent, and nobody knows what it costs: the worst case stays reserved."""
        self.usage = seen
        self._end(Billing.UNKNOWN)

    def _end(self, billing: Billing) -> None:
        self._take(self._ledger.end(self._spec.workspace, self._id, billing, self.usage))

    def _take(self, record: ReservationRecord) -> None:
        self.billing = record.billing
        held = record.billing in (Billing.UNKNOWN, Billing.RESERVED)
        self.cost = record.reserved if held else record.settled
