import asyncio
import random
from contextlib import aclosing

import pytest
from tests.server.fanout.panel import HOME, PATIENCE, Answer, Room, Script, ask, open_room

from whet_server.fanout.spec import SynthesisMode
from whet_server.log.events import BranchDelta, BranchFinished, Event, RunFinished
from whet_server.trace.traces import Traces
from whet_server.values import RunId


async def wander(room: Room, run_id: RunId, seed: int) -> list[Event]:
    """Watch to the end, leaving after a random number of batches and attaching again at the last cursor."""
    chance = random.Random(seed)
    cursor = ""
    seen: list[Event] = []
    while not (seen and isinstance(seen[-1].payload, RunFinished)):
        left = chance.randint(1, 4)
        async with aclosing(room.fanouts.watch(HOME, run_id, cursor)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                seen += batch.events
                cursor = batch.next_cursor
                left -= 1
                if not left:
                    break
    return seen


@pytest.mark.parametrize("seed", range(4))
async def test_a_watcher_that_comes_and_goes_misses_nothing(seed: int) -> None:
    chance = random.Random(seed)
    scripts: dict[str, Script] = {
        f"a/{at}": Answer(text=f"Answer number {at} of them. " * 3, gate=f"g{at}", middle=f"m{at}") for at in range(12)
    }
    gates = [f"{kind}{at}" for at in range(12) for kind in "gm"]
    chance.shuffle(gates)
    async with open_room(scripts | {"d/m": Answer(text="A draft.")}) as room:
        run_id = await room.start(ask(*sorted(scripts), mode=SynthesisMode.DRAFT, draft_by="d/m"))
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            watchers = [group.create_task(wander(room, run_id, seed * 10 + at)) for at in range(5)]
            for gate in gates:
                room.panel.gate(gate).set()
                for _ in range(chance.randint(0, 20)):
                    await asyncio.sleep(0)
        record = list(await room.log.events(HOME, run_id))
    for watcher in watchers:
        durable = [event for event in watcher.result() if event.sequence]
        assert durable == record
        texts: dict[str, str] = {}
        for payload in [event.payload for event in watcher.result()]:
            if isinstance(payload, BranchDelta):
                so_far = texts.get(payload.branch_id, "")
                assert payload.offset <= len(so_far)
                texts[payload.branch_id] = so_far[: payload.offset] + payload.text
            elif isinstance(payload, BranchFinished):
                assert payload.text.startswith(texts.get(payload.branch_id, ""))


async def test_traces_page_through_a_run_and_prove_it() -> None:
    async with open_room({"a/x": Answer()}) as room:
        run_id = await room.start(ask("a/x", "a/x", "a/x"))
        await room.events(run_id)
        traces = Traces(room.log)
        first = await traces.get(HOME, run_id, limit=2)
        rest = await traces.get(HOME, run_id, after=first.events[-1].sequence)
        assert (first.more, rest.more) == (True, False)
        assert list(first.events + rest.events) == list(await room.log.events(HOME, run_id))
        assert [run.run_id for run in await traces.list(HOME)] == [run_id]
        exported = b"".join([piece async for piece in traces.export(HOME, run_id)])
        assert exported.count(b"\n") >= len(first.events + rest.events)
        proof = await traces.verify(HOME, run_id, expected_hash=first.events[0].hash.hex())
        assert proof.valid
        assert not (await traces.verify(HOME, run_id, expected_hash="00" * 32)).valid
        async with asyncio.timeout(PATIENCE):
            watched = [event async for batch in traces.watch(HOME, run_id) for event in batch.events]
        assert len(watched) == len(first.events + rest.events)
