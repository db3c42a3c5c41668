"""DatasetService over the wire: the upload's protocol, the gate, request ids, pages and exports."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.server.rpc.conftest import Client, Served, refused

from whet.v1 import approval_pb2, dataset_pb2, value_pb2
from whet_server.dataset.reading import MAX_BYTES

HALVES = dataset_pb2.SplitPolicy(train=1, dev=1, holdout=2)
Message = dataset_pb2.PutDatasetRequest


def rows(count: int, start: int = 1) -> bytes:
    numbers = range(start, start + count)
    lines = ({"id": f"r{number}", "input": f"Question {number}?", "output": "yes"} for number in numbers)
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def header(**fields: Any) -> Message:
    given: dict[str, Any] = {"name": "support", "key": "id", "policy": HALVES} | fields
    return Message(header=dataset_pb2.PutDatasetHeader(**given))


def messages(data: bytes, size: int = 1000, **fields: Any) -> Iterator[Message]:
    yield header(**fields)
    for start in range(0, len(data), size):
        yield Message(chunk=data[start : start + size])


async def sent(client: Client, *parts: Message) -> dataset_pb2.PutDatasetResponse:
    answer: dataset_pb2.PutDatasetResponse = await client.dataset.PutDataset(
        iter(parts), metadata=client.metadata, timeout=30
    )
    return answer


async def put(client: Client, data: bytes, **fields: Any) -> dataset_pb2.PutDatasetResponse:
    return await sent(client, *messages(data, **fields))


async def listed(client: Client, **request: Any) -> dataset_pb2.ListRowsResponse:
    wanted = dataset_pb2.ListRowsRequest(name="support", **request)
    answer: dataset_pb2.ListRowsResponse = await client.dataset.ListRows(wanted, metadata=client.metadata, timeout=30)
    return answer


async def none_stored(client: Client) -> bool:
    answer = await client.dataset.ListDatasets(dataset_pb2.ListDatasetsRequest(), metadata=client.metadata)
    return not answer.datasets


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def test_rows_are_stored_listed_and_the_sealed_hold_out_is_refused(served: Served) -> None:
    answer = await put(served.person, rows(40))
    assert answer.created
    counts = {count.split: count.rows for count in answer.dataset.splits}
    assert sum(counts.values()) == answer.dataset.rows == 40
    sealed = counts[dataset_pb2.SPLIT_HOLDOUT]
    assert sealed > 10
    given = await listed(served.person)
    assert (len(given.rows), given.sealed_rows, given.version) == (40 - sealed, sealed, 1)
    async with refused() as said:
        await listed(served.person, split=dataset_pb2.SPLIT_HOLDOUT)
    assert said[0].reason == "HOLDOUT_SEALED"


@pytest.mark.parametrize(
    ("parts", "reason", "words"),
    [
        ([], "MALFORMED_MESSAGE", "must be its header"),
        ([Message(chunk=b"{}\n")], "MALFORMED_MESSAGE", "must be its header"),
        ([header(), Message(chunk=b'{"id":"1"}\n'), header()], "MALFORMED_MESSAGE", "a second header came"),
        ([header(), Message()], "MALFORMED_MESSAGE", "an empty message came"),
        ([header()], "INVALID_FIELD", "The file has no rows."),
        ([header(sha256="0" * 64), Message(chunk=rows(1))], "INVALID_FIELD", "another digest"),
        ([header(sha256="short")], "INVALID_FIELD", "Must match"),
        ([header(name="No Name")], "INVALID_FIELD", "Must match"),
        ([header(), Message(chunk=b"x" * (1 << 20) + b"x")], "TOO_LARGE", "at most 1048576"),
    ],
    ids=["nothing", "no header", "second header", "empty", "no rows", "digest", "no digest", "name", "large piece"],
)
async def test_an_upload_that_is_none_is_refused_in_clear_words(
    served: Served, parts: list[Message], reason: str, words: str
) -> None:
    async with refused() as said:
        await sent(served.person, *parts)
    assert (said[0].reason, words in said[0].message) == (reason, True), said[0].message
    assert await none_stored(served.person)


async def test_bytes_that_are_no_message_are_refused_with_a_reason(served: Served) -> None:
    call = served.channel.stream_unary(
        "/whet.v1.DatasetService/PutDataset",
        request_serializer=bytes,
        response_deserializer=dataset_pb2.PutDatasetResponse.FromString,
    )
    async with refused() as said:
        await call(iter([header().SerializeToString(), b"\xff\xff"]), metadata=served.person.metadata, timeout=30)
    assert said[0].reason == "MALFORMED_MESSAGE"


async def test_a_file_that_is_too_large_is_refused(served: Served) -> None:
    piece = Message(chunk=b" " * (1 << 20))
    async with refused() as said:
        await sent(served.person, header(), *[piece] * (MAX_BYTES // (1 << 20) + 1))
    assert said[0].reason == "TOO_LARGE"


async def test_a_stream_that_breaks_stores_nothing(served: Served) -> None:
    for _ in range(5):
        arrived, left = asyncio.Event(), asyncio.Event()

        async def half(arrived: asyncio.Event = arrived, left: asyncio.Event = left) -> AsyncIterator[Message]:
            yield header()
            yield Message(chunk=rows(3))
            arrived.set()
            await left.wait()

        call = served.person.dataset.PutDataset(half(), metadata=served.person.metadata)
        await arrived.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        left.set()
    assert await none_stored(served.person)


async def test_an_agent_names_the_file_and_a_person_approves_it_before_a_piece_is_read(served: Served) -> None:
    data = rows(5)
    async with refused() as said:
        await put(served.agent, data)
    assert said[0].violations == {"sha256": "An agent's upload must give it: it is what a person approves."}

    left = asyncio.Event()

    async def header_alone() -> AsyncIterator[Message]:
        yield header(sha256=digest(data), source="a.jsonl", request_id="up-1")
        await left.wait()

    async with refused() as said:
        await served.agent.dataset.PutDataset(header_alone(), metadata=served.agent.metadata, timeout=30)
    left.set()
    assert said[0].reason == "APPROVAL_REQUIRED"
    approval_id, asked = said[0].metadata["approval_id"], said[0].metadata["digest"]
    shown = await served.person.approval.GetApproval(
        approval_pb2.GetApprovalRequest(approval_id=approval_id), metadata=served.person.metadata
    )
    arguments = json.loads(shown.approval.arguments_json)
    assert (arguments["name"], arguments["source"], arguments["sha256"]) == ("support", "a.jsonl", digest(data))
    await served.person.approval.DecideApproval(
        approval_pb2.DecideApprovalRequest(approval_id=approval_id, digest=asked, decision=approval_pb2.DECISION_GRANT),
        metadata=served.person.metadata,
    )
    given = {"sha256": digest(data), "source": "a.jsonl", "request_id": "up-1"}
    async with refused() as said:
        await put(served.agent, rows(6), **given)
    assert said[0].violations.keys() == {"sha256"}
    answer = await put(served.agent, data, **given)
    assert (answer.created, answer.dataset.role) == (True, "agent")


@pytest.mark.parametrize("named", [True, False], ids=["with its digest", "without"])
async def test_an_upload_that_is_repeated_is_the_same_and_with_another_file_is_refused(
    served: Served, *, named: bool
) -> None:
    def fields(data: bytes) -> dict[str, Any]:
        return {"request_id": "r", "append": True} | ({"sha256": digest(data)} if named else {})

    first = await put(served.person, rows(4), **fields(rows(4)))
    again = await put(served.person, rows(4), **fields(rows(4)))
    assert (first.created, again.created, again.dataset) == (True, False, first.dataset)
    async with refused() as said:
        await put(served.person, rows(5), **fields(rows(5)))
    assert said[0].reason == "REQUEST_ID_REUSED"


async def test_lists_and_rows_come_in_pages(served: Served) -> None:
    for name in ("a", "b", "support"):
        await put(served.person, rows(20), name=name, policy=dataset_pb2.SplitPolicy(train=1))
    seen: list[str] = []
    page = value_pb2.Page(size=2)
    while True:
        answer = await served.person.dataset.ListDatasets(
            dataset_pb2.ListDatasetsRequest(page=page), metadata=served.person.metadata
        )
        seen += [dataset.name for dataset in answer.datasets]
        if not answer.next_page_token:
            break
        page.token = answer.next_page_token
    assert seen == ["a", "b", "support"]
    first = await listed(served.person, page=value_pb2.Page(size=15))
    rest = await listed(served.person, page=value_pb2.Page(size=15, token=first.next_page_token))
    assert [row.number for row in (*first.rows, *rest.rows)] == list(range(1, 21))
    async with refused():
        await listed(served.person, version=1, split=1, page=value_pb2.Page(token=first.next_page_token))


@pytest.mark.parametrize("file_format", [1, 2, 3], ids=["jsonl", "csv", "parquet"])
async def test_what_is_exported_can_be_stored_and_has_the_same_digest(served: Served, file_format: Any) -> None:
    first = await put(served.person, rows(700), policy=dataset_pb2.SplitPolicy(train=1))
    request = dataset_pb2.ExportDatasetRequest(name="support", format=file_format)
    parts = [part async for part in served.person.dataset.ExportDataset(request, metadata=served.person.metadata)]
    assert (parts[0].dataset, parts[0].chunk) == (first.dataset, b"")
    again = await put(served.person, b"".join(part.chunk for part in parts), name="copy", format=file_format)
    assert again.dataset.digest == first.dataset.digest
    assert again.dataset.columns == first.dataset.columns


async def test_splits_tags_and_openings_answer_the_same_when_they_are_repeated(served: Served) -> None:
    await put(served.person, rows(20))
    client, metadata = served.person.dataset, served.person.metadata
    split = dataset_pb2.SplitDatasetRequest(name="support", policy=dataset_pb2.SplitPolicy(train=1), request_id="s")
    tag = dataset_pb2.TagDatasetRequest(name="support", add=["gold"], request_id="t")
    opening = dataset_pb2.OpenSealRequest(name="support", version=2, reason="done", request_id="o")
    for call, request in ((client.SplitDataset, split), (client.TagDataset, tag), (client.OpenSeal, opening)):
        answers = [await call(request, metadata=metadata) for _ in range(2)]
        assert answers[0].dataset.version == answers[1].dataset.version == 2
    newest = await client.GetDataset(dataset_pb2.GetDatasetRequest(name="support"), metadata=metadata)
    assert (newest.dataset.version, list(newest.dataset.tags), newest.dataset.sealed) == (2, ["gold"], False)
    assert newest.dataset.open_reason == "done"
    async with refused() as said:
        await client.OpenSeal(
            dataset_pb2.OpenSealRequest(name="support", version=2, reason="again", request_id="p"), metadata=metadata
        )
    assert (said[0].reason, said[0].metadata["state"]) == ("WRONG_STATE", "open")


async def test_another_workspace_has_its_own_data_sets(served: Served) -> None:
    await put(served.person, rows(20))
    async with refused() as said:
        await listed(served.stranger)
    assert said[0].reason == "DATASET_NOT_FOUND"
    assert (await put(served.stranger, rows(2))).dataset.version == 1
