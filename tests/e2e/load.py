"""Clients that ask, start, reserve and settle without end, each keeping its own record of what it was told."""

import asyncio
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import grpc
import grpc.aio
from tests.e2e.bill import mark
from tests.e2e.record import Seen, run_once, watch_once
from tests.e2e.serving import House, excuse, repeated

from whet.v1 import event_pb2, fanout_pb2, ledger_pb2, value_pb2

PRICED = (
    "stub/plain",
    "stub/plain?chunks=3",
    "stub/plain?chunks=12&gap_ms=4",
    "stub/plain?chunks=30&gap_ms=8",
    "stub/plain?chunks=6&first_ms=60",
)
DRAFTER = "stub/plain?chunks=9&gap_ms=5"
FAILING = ("flaky/server-error", "flaky/rate-limited-ms", "flaky/half-stream", "flaky/unavailable")
FREE = "sim/any?first_ms=20&tokens=8"
RUN_LIMIT = 600_000
"""Nanos that a run may spend where it has a cap of its own: some branches, and then it binds."""


@dataclass(slots=True)
class Kept:
    """A reservation that a client holds, as it was told."""

    request: ledger_pb2.ReserveRequest
    told: ledger_pb2.Reservation
    ended: ledger_pb2.Reservation | None = None


@dataclass(slots=True)
class Load:
    """What all clients together have been told. They work until `stopping` is set, and then finish what they began."""

    house: House
    seed: int
    seen: list[Seen] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    refused: int = 0
    """Reservations that a cap refused."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def questions(self) -> dict[str, str]:
        """The run of every question's mark."""
        return {seen.request.request_id: seen.run_id for seen in self.seen if seen.run_id}

    async def work(self, client: int) -> None:
        """Be one client."""
        draw = random.Random(f"{self.seed}/{client}")
        while not self.stopping.is_set():
            work = draw.choices((self._run, self._start, self._reserve), (5, 2, 3))[0]
            await work(draw)

    async def _run(self, draw: random.Random) -> None:
        """Run a fan-out to its end, attaching again in either way after every cut."""
        seen = self._asked(draw)
        while seen.finished is None:
            await self._attached(seen, by_id=bool(seen.run_id) and draw.random() < 0.5)

    async def _start(self, draw: random.Random) -> None:
        """Start a fan-out, say so again, perhaps cancel it, and hear of its end."""
        seen = self._asked(draw)
        request = fanout_pb2.StartFanoutRequest(request_id=seen.request.request_id, spec=seen.request.spec)
        for again in (False, True):
            answer = await repeated(self.house, lambda wire: wire.fanouts.StartFanout, request)
            seen.name(answer.fanout.run_id)
            assert not (again and answer.started), (seen.said, "one request id started twice")
        if draw.random() < 0.3:
            cancel = fanout_pb2.CancelFanoutRequest(run_id=seen.run_id)
            cancelled = await repeated(self.house, lambda wire: wire.fanouts.CancelFanout, cancel)
            assert cancelled.fanout.state != event_pb2.RUN_STATE_RUNNING, (seen.said, seen.run_id)
        while seen.finished is None:
            await self._attached(seen, by_id=True)

    async def _attached(self, seen: Seen, *, by_id: bool) -> None:
        """Hear of a run until its end or until the connection is lost."""
        wire, life = await self.house.wire(), self.house.lives
        try:
            await (watch_once(wire, seen) if by_id else run_once(wire, seen))
        except grpc.aio.AioRpcError as error:
            excuse(self.house, life, error)
        else:
            assert seen.finished is not None, (seen.said, seen.run_id, "a stream ended before its run")

    async def _reserve(self, draw: random.Random) -> None:
        """Reserve for a call of the client's own, and mostly settle it."""
        number = next(self._numbers)
        request = ledger_pb2.ReserveRequest(
            request_id=f"reserve-{number}",
            run_id=f"session-{number}",
            model="stub/plain",
            max_input_tokens=draw.randrange(500),
            max_output_tokens=draw.randrange(500),
        )
        try:
            answer = await repeated(self.house, lambda wire: wire.ledger.Reserve, request)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            self.refused += 1
            return
        kept = Kept(request=request, told=answer.reservation)
        self.kept.append(kept)
        if draw.random() < 0.2:
            return
        billing = draw.choice((value_pb2.BILLING_SETTLED, value_pb2.BILLING_UNKNOWN, value_pb2.BILLING_NONE))
        end = ledger_pb2.SettleRequest(reservation_id=kept.told.reservation_id, billing=billing)
        if billing == value_pb2.BILLING_SETTLED:
            end.usage.input_tokens = draw.randint(0, request.max_input_tokens)
            end.usage.output_tokens = draw.randint(0, request.max_output_tokens)
        for _ in range(2):
            settled = await repeated(self.house, lambda wire: wire.ledger.Settle, end)
            assert kept.ended is None or kept.ended == settled.reservation, (self.seed, kept.ended, settled.reservation)
            kept.ended = settled.reservation

    def _asked(self, draw: random.Random) -> Seen:
        """Make up a fan-out. Its request id is the mark in its question."""
        question = mark(next(self._numbers))
        spec = fanout_pb2.FanoutSpec(
            prompt=f"{question}: what is a monad?",
            branches=[self._branch(draw) for _ in range(draw.choice((1, 2, 3, 5, 8)))],
            parameters=value_pb2.Parameters(max_tokens=40),
            synthesis=fanout_pb2.Synthesis(model=DRAFTER, parameters=value_pb2.Parameters(max_tokens=12)),
            cache=fanout_pb2.CacheUse(bypass=draw.random() < 0.5),
        )
        if draw.random() < 0.3:
            spec.synthesis.mode = draw.choice(
                (fanout_pb2.SYNTHESIS_MODE_NONE, fanout_pb2.SYNTHESIS_MODE_FIRST, fanout_pb2.SYNTHESIS_MODE_VOTE)
            )
        if draw.random() < 0.2:
            spec.finish.enough = 1
        if draw.random() < 0.2:
            spec.finish.deadline.FromMilliseconds(80)
        if draw.random() < 0.2:
            spec.cap.nanos = RUN_LIMIT
        seen = Seen(fanout_pb2.RunFanoutRequest(request_id=question, spec=spec), said=f"seed {self.seed}")
        self.seen.append(seen)
        return seen

    def _branch(self, draw: random.Random) -> fanout_pb2.Branch:
        fate = draw.random()
        if fate < 0.1:
            return fanout_pb2.Branch(model=draw.choice(FAILING), failover=[draw.choice(PRICED)])
        if fate < 0.2:
            return fanout_pb2.Branch(model=FREE)
        return fanout_pb2.Branch(model=draw.choice(PRICED), samples=draw.choice((1, 1, 2)))
