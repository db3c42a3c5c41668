import asyncio
from collections.abc import AsyncGenerator

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.server.rpc.conftest import HELD, Served, question, refused, serving

from whet.v1 import event_pb2, fanout_pb2
from whet_server.datadir import DataDir
from whet_server.errors import Draining
from whet_server.log.log import Batch
from whet_server.rpc.life import Life

PATIENCE = 10.0


class Source:
    """Batches with numbers for cursors, given out as they are let go."""

    def __init__(self) -> None:
        self.ready: asyncio.Queue[int] = asyncio.Queue()
        self.asked: list[str] = []
        self.closed = 0

    async def watch(self, cursor: str) -> AsyncGenerator[Batch, None]:
        self.asked.append(cursor)
        try:
            while (number := await self.ready.get()) >= 0:
                yield Batch(next_cursor=str(number), caught_up=self.ready.empty())
        finally:
            self.closed += 1


def brief(batch: event_pb2.EventBatch) -> str:
    return f"{'drain ' if batch.HasField('drain') else ''}{batch.next_cursor}"


@pytest.fixture
async def life() -> Life:
    made = Life()
    made.recovered()
    return made


async def test_a_stream_that_waits_is_told_of_the_drain_and_goes_on_to_the_runs_end(life: Life) -> None:
    source = Source()
    stream = life.follow(source.watch, "")
    async with asyncio.timeout(PATIENCE):
        source.ready.put_nowait(1)
        assert brief(await anext(stream)) == "1"
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        life.drain(5.0)
        notice = await waiting
        assert brief(notice) == "drain 1"
        assert 4 < notice.drain.time_left.ToMilliseconds() / 1000 <= 5
        assert notice.drain.resumable
        source.ready.put_nowait(2)
        assert brief(await anext(stream)) == "2"
        source.ready.put_nowait(-1)
        assert await anext(stream, None) is None
    assert source.asked == ["", "1"]
    assert source.closed == 2


async def test_a_stream_that_is_busy_is_told_before_its_next_batch(life: Life) -> None:
    source = Source()
    stream = life.follow(source.watch, "")
    async with asyncio.timeout(PATIENCE):
        source.ready.put_nowait(1)
        await anext(stream)
        source.ready.put_nowait(2)
        life.drain(5.0)
        assert [brief(await anext(stream)) for _ in range(2)] == ["drain 1", "2"]
        life.close()
        source.ready.put_nowait(3)
        source.ready.put_nowait(4)
        assert [brief(batch) async for batch in stream] == ["drain 2", "3", "4"]
    assert source.closed == 3


async def test_a_stream_that_is_left_closes_what_it_read_from(life: Life) -> None:
    source = Source()
    stream = life.follow(source.watch, "")
    source.ready.put_nowait(1)
    await anext(stream)
    await stream.aclose()
    assert source.closed == 1


async def test_a_watch_waits_until_every_run_has_been_taken_up() -> None:
    life, source = Life(), Source()
    waiting = asyncio.ensure_future(anext(life.follow(source.watch, "")))
    source.ready.put_nowait(1)
    await asyncio.sleep(0)
    assert not source.asked
    life.recovered()
    async with asyncio.timeout(PATIENCE):
        assert brief(await waiting) == "1"


async def test_what_is_new_is_refused_once_the_drain_has_begun(life: Life) -> None:
    life.admit()
    life.drain(1.0)
    with pytest.raises(Draining):
        life.admit()


async def test_a_draining_server_tells_watchers_refuses_starts_and_lets_reads_through(directory: DataDir) -> None:
    async with serving(directory) as served:
        watch = served.person.run(question(HELD))
        run_id = (await anext(aiter(watch))).run_id
        stopping = asyncio.create_task(served.server.stop(1.0))
        await notice(watch)
        async with refused() as said:
            await served.person.ran(question())
        assert (said[0].code, said[0].reason, said[0].retry_seconds) == ("UNAVAILABLE", "DRAINING", 1.0)
        shown = await served.person.fanout.GetFanout(
            fanout_pb2.GetFanoutRequest(run_id=run_id), metadata=served.person.metadata
        )
        assert shown.fanout.state == event_pb2.RUN_STATE_RUNNING
        async with asyncio.timeout(PATIENCE):
            rest = [response.batch async for response in watch]
            await stopping
        assert any(batch.HasField("drain") for batch in rest)
        assert rest[-1].caught_up
        assert not any(event.HasField("run_finished") for batch in rest for event in batch.events)


async def notice(watch: "object") -> None:
    async with asyncio.timeout(PATIENCE):
        async for response in watch:  # type: ignore[attr-defined]
            if response.batch.HasField("drain"):
                return
    raise AssertionError("the stream ended without a notice")


async def test_a_run_that_ends_while_the_server_drains_is_seen_to_its_end(directory: DataDir) -> None:
    async with serving(directory) as served:
        watch = served.person.run(question("sim/any?first_ms=400&tokens=5"))
        first = await anext(aiter(watch))
        stopping = asyncio.create_task(served.server.stop(5.0))
        async with asyncio.timeout(PATIENCE):
            batches = [first.batch, *[response.batch async for response in watch]]
            await stopping
        assert any(batch.HasField("drain") for batch in batches)
        assert [event for batch in batches for event in batch.events][-1].HasField("run_finished")


async def test_every_watcher_of_health_hears_that_the_server_stops(served: Served) -> None:
    health: object = health_pb2_grpc.HealthStub(served.channel)
    watches = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(3)]  # type: ignore[attr-defined]
    for watch in watches:
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    watches[0].cancel()
    served.server._health.stop_serving()
    async with asyncio.timeout(PATIENCE):
        for watch in watches[1:]:
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            watch.cancel()
