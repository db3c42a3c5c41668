import json
from collections.abc import AsyncIterator, Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from whet_server.dataset.datasets import Datasets
from whet_server.log.log import EventLog
from whet_server.store.base import Store
from whet_server.store.memory import MemoryStore
from whet_server.store.sql import SqlStore
from whet_server.values import Principal, Role, Workspace

HERE = Workspace("here")
PERSON = Principal(workspace=HERE, role=Role.PERSON)


def jsonl(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def some(count: int, start: int = 0) -> bytes:
    """Rows with short values: nothing but the whole row and its id tell one from another."""
    return jsonl({"id": number, "input": f"q{number}", "output": "yes"} for number in range(start, start + count))


def datasets_over(store: Store) -> Datasets:
    ticks = count(1_000_000_000_000_000_000, 1_000_000)

    def clock() -> int:
        return next(ticks)

    return Datasets(EventLog(store, clock=clock), store, clock=clock)


@pytest.fixture(params=["memory", "sql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else await SqlStore.open(tmp_path / "whet.db")
    yield made
    await made.close()


@pytest.fixture
def datasets(store: Store) -> Datasets:
    return datasets_over(store)
