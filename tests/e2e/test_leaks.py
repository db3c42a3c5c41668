import asyncio
import random
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from tests.e2e import bill
from tests.e2e.serving import PATIENCE, House, Wire

from whet.v1 import event_pb2, fanout_pb2, value_pb2
from whet_eval.bench.children import resident_mb

ENDLESS = ("hang-before-headers", "hang-after-headers", "hang-mid-stream", "slow-bytes", "slow-tokens", "comments-only")
AT_ONCE = 50
TOTAL_MS = 400
"""The longest a call may take: what nobody cancels ends by this."""
GROWTH_MB = 8.0
"""What the allocator and SQLite's pages may take meanwhile; a kilobyte kept of each of ten thousand runs is more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What a process holds."""

    files: int
    threads: int
    memory_mb: float


def holdings(pid: int) -> Holdings:
    home = Path(f"/proc/{pid}")
    return Holdings(
        files=len(list((home / "fd").iterdir())),
        threads=len(list((home / "task").iterdir())),
        memory_mb=resident_mb(pid),
    )


def sockets_to(pid: int, port: int) -> int:
    """Count the process's TCP connections to the port."""
    own = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return sum(int(line[2].split(":")[1], 16) == port and f"socket:[{line[9]}]" in own for line in lines)


async def until(true: Callable[[], bool]) -> None:
    """Wait for what the system does in its own time, such as closing a socket."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 -- nobody tells when the kernel has closed a socket
            await asyncio.sleep(0.02)


class Leaver:
    """One client that asks what never ends, and does not wait for it."""

    def __init__(self, wire: Wire, draw: random.Random, number: int) -> None:
        self._wire = wire
        self._draw = draw
        self._request = fanout_pb2.RunFanoutRequest(
            request_id=bill.mark(number),
            spec=fanout_pb2.FanoutSpec(
                prompt=f"{bill.mark(number)}: what is a monad?",
                models=[f"stub/{draw.choice(ENDLESS)}" for _ in range(draw.randint(1, 3))],
                limits=value_pb2.CallLimits(total=Duration(nanos=TOTAL_MS * 1_000_000)),
            ),
        )

    async def ask_and_go(self) -> None:
        way = self._draw.choice((self._leave, self._cancel, self._cancel_branches, self._run_out_of_time))
        await way()

    async def _leave(self) -> None:
        """Cancel the RPC; the run goes on by itself."""
        call = self._wire.fanouts.RunFanout(self._request, metadata=self._wire.metadata)
        reading = asyncio.create_task(_drain(call))
        await asyncio.wait([reading], timeout=self._draw.uniform(0.0, 0.1))
        call.cancel()
        await asyncio.wait([reading])

    async def _run_out_of_time(self) -> None:
        """Give the RPC a deadline that passes, or the run one of its own."""
        if self._draw.random() < 0.5:
            self._request.spec.finish.deadline.FromMilliseconds(self._draw.randint(1, 100))
            await _drain(self._wire.fanouts.RunFanout(self._request, metadata=self._wire.metadata))
            return
        seconds = self._draw.uniform(0.001, 0.1)
        call = self._wire.fanouts.RunFanout(self._request, metadata=self._wire.metadata, timeout=seconds)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await _drain(call)
        assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    async def _cancel(self) -> None:
        """Cancel the run; the answer comes once it has ended."""
        run_id = await self._started()
        answer = await self._wire.ask(self._wire.fanouts.CancelFanout, fanout_pb2.CancelFanoutRequest(run_id=run_id))
        assert answer.fanout.state in {event_pb2.RUN_STATE_CANCELLED, event_pb2.RUN_STATE_FAILED}, answer

    async def _cancel_branches(self) -> None:
        """Cancel the branches one by one, which ends the run."""
        run_id = await self._started()
        for number in range(len(self._request.spec.models)):
            request = fanout_pb2.CancelFanoutRequest(run_id=run_id, branch_ids=[f"b{number + 1}"])
            await self._wire.ask(self._wire.fanouts.CancelFanout, request)

    async def _started(self) -> str:
        request = fanout_pb2.StartFanoutRequest(request_id=self._request.request_id, spec=self._request.spec)
        answer = await self._wire.ask(self._wire.fanouts.StartFanout, request)
        await asyncio.sleep(self._draw.uniform(0.0, 0.1))  # a cancel may come at any moment
        return answer.fanout.run_id


async def _drain(call: AsyncIterable[object]) -> None:
    async for _ in call:
        pass


async def leave(house: House, wire: Wire, stub: str, numbers: range, seed: int) -> Holdings:
    """Let many clients ask and go; return what the server holds once all runs have ended."""
    for start in range(numbers.start, numbers.stop, AT_ONCE):
        leavers = [
            Leaver(wire, random.Random(f"{seed}/{number}"), number)
            for number in range(start, min(start + AT_ONCE, numbers.stop))
        ]
        await asyncio.gather(*(leaver.ask_and_go() for leaver in leavers))
    running = fanout_pb2.ListFanoutsRequest(state=event_pb2.RUN_STATE_RUNNING)
    while left := (await wire.ask(wire.fanouts.ListFanouts, running)).fanouts:
        for fanout in left:
            request = fanout_pb2.WatchFanoutRequest(run_id=fanout.run_id)
            await _drain(wire.fanouts.WatchFanout(request, metadata=wire.metadata, timeout=PATIENCE))
    assert await bill.entries(wire, billing=value_pb2.BILLING_RESERVED) == [], seed
    port = urlsplit(stub).port
    assert port is not None
    await until(lambda: sockets_to(house.pid, port) == 0)
    return holdings(house.pid)


async def nothing_is_left(house: House, stub: str, *, warm: int, cancels: int, seed: int) -> None:
    wire = await house.start()
    before = await leave(house, wire, stub, range(1, warm), seed)
    after = await leave(house, wire, stub, range(warm, warm + cancels), seed)
    assert after.files <= before.files, (seed, before, after)
    assert after.threads <= before.threads, (seed, before, after)
    assert after.memory_mb < before.memory_mb + GROWTH_MB, (seed, before, after)
    assert await house.stop() == 0


async def test_hundreds_of_cancels_leave_no_reservation_socket_or_file_behind(house: House, stub: str) -> None:
    await nothing_is_left(house, stub, warm=150, cancels=300, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_ten_thousand_cancels_leave_no_reservation_socket_or_file_behind(house: House, stub: str) -> None:
    await nothing_is_left(house, stub, warm=500, cancels=10_000, seed=2)
