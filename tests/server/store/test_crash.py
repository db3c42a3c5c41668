import asyncio
import random
import sys
from pathlib import Path

import pytest

from whet_server.store.sql import SqlStore
from whet_server.values import RunId

PROGRAM = Path(__file__).with_name("committing.py")


async def _kill_after(lines: int, path: Path) -> dict[str, int]:
    """Return the last acknowledged sequence of each writer of a process that was killed under load."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), str(path), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    try:
        async with asyncio.timeout(30):
            said = [await child.stdout.readline() for _ in range(lines)]
    finally:
        child.kill()
        async with asyncio.timeout(30):
            said += (await child.stdout.read()).splitlines(keepends=True)
            await child.wait()
    acknowledged: dict[str, int] = {}
    for line in said:
        if line.endswith(b"\n"):  # the last line may be cut
            run_id, sequence = line.decode().split()
            acknowledged[run_id] = max(int(sequence), acknowledged.get(run_id, 0))
    return acknowledged


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
async def test_a_kill_loses_nothing_that_was_acknowledged_and_tears_nothing(seed: int, tmp_path: Path) -> None:
    acknowledged = await _kill_after(random.Random(seed).randrange(50, 2000), tmp_path / "whet.db")
    assert len(acknowledged) > 1
    store = await SqlStore.open(tmp_path / "whet.db")
    try:
        for run_id, sequence in acknowledged.items():
            run = await store.run(RunId(run_id))
            events = await store.events(RunId(run_id), limit=100_000)
            assert run is not None
            assert run.event_count >= sequence
            assert [event.sequence for event in events] == list(range(1, run.event_count + 1))
    finally:
        await store.close()
