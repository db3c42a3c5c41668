"""DatasetService over the wire."""

import json
from collections.abc import Iterator
from typing import Any

from tests.server.rpc.conftest import Client, Served, refused

from whet.v1 import dataset_pb2

HALVES = dataset_pb2.SplitPolicy(train=1, dev=1, holdout=2)


def rows(count: int, start: int = 1) -> bytes:
    lines = (
        {"id": f"r{number}", "input": f"Question {number}?", "output": "yes"} for number in range(start, start + count)
    )
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def messages(data: bytes, size: int = 1000, **header: Any) -> Iterator[dataset_pb2.PutDatasetRequest]:
    fields = {"name": "support", "key": "id", "policy": HALVES} | header
    yield dataset_pb2.PutDatasetRequest(header=dataset_pb2.PutDatasetHeader(**fields))
    for start in range(0, len(data), size):
        yield dataset_pb2.PutDatasetRequest(chunk=data[start : start + size])


async def put(client: Client, data: bytes, **header: Any) -> dataset_pb2.PutDatasetResponse:
    return await client.dataset.PutDataset(messages(data, **header), metadata=client.metadata, timeout=30)


async def listed(client: Client, **request: Any) -> dataset_pb2.ListRowsResponse:
    return await client.dataset.ListRows(
        dataset_pb2.ListRowsRequest(name="support", **request), metadata=client.metadata, timeout=30
    )


async def test_rows_are_stored_listed_and_the_sealed_hold_out_is_refused(served: Served) -> None:
    answer = await put(served.person, rows(40))
    assert answer.created
    counts = {count.split: count.rows for count in answer.dataset.splits}
    assert sum(counts.values()) == answer.dataset.rows == 40
    sealed = counts[dataset_pb2.SPLIT_HOLDOUT]
    assert sealed > 10
    given = await listed(served.person)
    assert (len(given.rows), given.sealed_rows) == (40 - sealed, sealed)
    assert [row.number for row in given.rows] == sorted(row.number for row in given.rows)
    async with refused() as said:
        await listed(served.person, split=dataset_pb2.SPLIT_HOLDOUT)
    assert said[0].reason == "HOLDOUT_SEALED"
