"""A process that commits as fast as it can and prints what was acknowledged, for a test that kills it."""

import asyncio
import sys
from pathlib import Path

from whet_server.store.base import EventRecord
from whet_server.store.sql import SqlStore
from whet_server.values import Role, Run, RunId, RunKind, RunState, Workspace

WRITERS = 20


async def _commit_for_ever(store: SqlStore, run_id: RunId) -> None:
    sequence = 0
    while True:
        sequence += 1
        run = Run(
            run_id=run_id,
            workspace=Workspace("w"),
            kind=RunKind.FANOUT,
            title="",
            state=RunState.RUNNING,
            role=Role.PERSON,
            create_ns=1,
            event_count=sequence,
        )
        await store.commit(EventRecord(run_id=run_id, sequence=sequence, record=b"x" * 300, hash=bytes(32)), run)
        sys.stdout.write(f"{run_id} {sequence}\n")
        sys.stdout.flush()


async def main(path: Path) -> None:
    store = await SqlStore.open(path)
    async with asyncio.TaskGroup() as tasks:
        for writer in range(WRITERS):
            tasks.create_task(_commit_for_ever(store, RunId(f"fan_{writer:02}")))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
