"""One who sets the caps and looks at them all the time."""

import asyncio
from dataclasses import dataclass, field

import grpc.aio
from tests.e2e.bill import Money
from tests.e2e.serving import House, Method, Wire, excuse, repeated

from whet.v1 import ledger_pb2, value_pb2

PERIODS = (ledger_pb2.CAP_PERIOD_DAY, ledger_pb2.CAP_PERIOD_MONTH)
"""Both have the same limit, so that a midnight in the middle of a test changes nothing."""
PAUSE = 0.02
"""Seconds between two looks: often enough to see what calls hold, seldom enough to leave the server to others."""


@dataclass(slots=True)
class Till:
    """Knows the limit that was acknowledged last, and holds every answer to it."""

    house: House
    said: object
    step: int
    """Nanos by which a limit stands above what counts already."""
    limit: int = 0
    looks: int = 0
    _setting: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def raise_limit(self) -> None:
        """Let some more be spent than counts already."""
        async with self._setting:
            counted = self._counted(await repeated(self.house, _list, ledger_pb2.ListCapsRequest()))
            self.limit = max(self.limit, counted + self.step)
            for period in PERIODS:
                request = ledger_pb2.PutCapRequest(period=period, limit=value_pb2.Money(nanos=self.limit))
                await repeated(self.house, lambda wire: wire.ledger.PutCap, request)

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            wire, life = await self.house.wire(), self.house.lives
            try:
                async with self._setting:
                    self._counted(await wire.ask(wire.ledger.ListCaps, ledger_pb2.ListCapsRequest()))
            except grpc.aio.AioRpcError as error:
                excuse(self.house, life, error)
            await asyncio.sleep(PAUSE)

    def _counted(self, answer: ledger_pb2.ListCapsResponse) -> int:
        """Return what counts against the caps, once it has been looked at."""
        self.looks += 1
        assert len(answer.caps) == (len(PERIODS) if self.limit else 0), (self.said, answer)
        counted = 0
        for cap in answer.caps:
            money = Money(settled=cap.settled.nanos, unknown=cap.unknown.nanos, reserved=cap.reserved.nanos)
            assert cap.limit.nanos == self.limit, (self.said, cap)
            assert money.counted <= self.limit, (self.said, cap)
            counted = max(counted, money.counted)
        return counted


def _list(wire: Wire) -> Method[ledger_pb2.ListCapsRequest, ledger_pb2.ListCapsResponse]:
    return wire.ledger.ListCaps
