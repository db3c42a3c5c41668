"""The mind's money: reserved at the server before anything is sent, settled when the usage is known."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from whet.v1 import ledger_pb2, value_pb2
from whet_agent.account import Account
from whet_agent.calls import Backend
from whet_agent.catalogue import method_named
from whet_agent.client import CallError
from whet_agent.model.base import MindError

CALL_SECONDS: Final = 10.0
"""The ledger answers in milliseconds; a turn does not hang on it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Billing:
    """Keeps one session's mind on the ledger that everything else is on."""

    agent: Backend
    session_id: str
    model: str
    """As `endpoint/model`: its price is the server's."""
    heard: Callable[[ledger_pb2.Reservation], None]
    """Told of every entry as it changes."""
    account: Account
    """Says what is left for a thought, when there is a limit."""

    async def reserve(self, request_id: str, *, input_tokens: int, output_tokens: int) -> ledger_pb2.Reservation:
        """Reserve the worst case. Raises `MindError` when a cap or the session's limit would be crossed, or one applies
        and the model has no price.
        """
        request = ledger_pb2.ReserveRequest(
            request_id=request_id,
            model=self.model,
            max_input_tokens=input_tokens,
            max_output_tokens=output_tokens,
            run_id=self.session_id,
        )
        if self.account.limit is not None:
            request.cap.nanos = self.account.left
        try:
            answer = await self.agent.call(method_named("LedgerService", "Reserve"), request, timeout=CALL_SECONDS)
        except CallError as error:
            if error.reason == "CAP_EXCEEDED" and error.metadata.get("cap") == "call":
                raise MindError(self.account.refusal()) from error
            if error.reason == "PRICE_UNKNOWN" and self.account.limit is not None:
                words = "A session with a limit needs a mind with a price: config.toml can set one."
                raise MindError(f"The mind was not asked: {error}. {words}") from error
            raise MindError(_refused(self.model, error)) from error
        reservation = cast("ledger_pb2.ReserveResponse", answer).reservation
        self.heard(reservation)
        return reservation

    async def settle(self, reservation_id: str, billing: value_pb2.Billing.ValueType, usage: value_pb2.Usage) -> None:
        """Say how it ended. When the server cannot be told, the reservation becomes unknown by itself."""
        request = ledger_pb2.SettleRequest(reservation_id=reservation_id, billing=billing)
        if billing == value_pb2.BILLING_SETTLED:
            request.usage.CopyFrom(usage)
        try:
            answer = await self.agent.call(method_named("LedgerService", "Settle"), request, timeout=CALL_SECONDS)
        except CallError as error:
            _log.warning("the reservation %s could not be settled: %s", reservation_id, error)
            return
        self.heard(cast("ledger_pb2.SettleResponse", answer).reservation)


def _refused(model: str, error: CallError) -> str:
    match error.reason:
        case "CAP_EXCEEDED":
            return f"Thinking with {model} would cross a spending cap: {error} (/caps shows them, /cap changes one.)"
        case "PRICE_UNKNOWN":
            return f"The mind was not asked: {error}. (/caps shows the caps, /uncap removes one.)"
        case _:
            return f"The mind's money could not be reserved: {error}"
