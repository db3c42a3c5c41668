"""Files travel in pieces, and an agent reads only a file that the person named."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from tests.agent.listening import listening
from tests.agent.real import connection_to, real_server, talking
from tests.agent.test_crashes import asks

from whet.v1 import dataset_pb2
from whet_agent.catalogue import BadArguments, method_named, request_from, tools
from whet_agent.client import CallError, Client
from whet_agent.events import ApprovalAsked, ToolAnswered
from whet_agent.model.base import Thought
from whet_agent.upload import PIECE_BYTES

PUT = method_named("DatasetService", "PutDataset")


def rows(count: int) -> str:
    return "".join(json.dumps({"id": number, "input": "x" * 1000}) + "\n" for number in range(count))


def test_the_tool_asks_for_a_path_and_for_nothing_that_follows_from_it() -> None:
    schema = tools()["put_dataset"].schema
    assert schema["required"] == ["path", "name"]
    assert {"path", "name", "key", "policy", "append"} <= schema["properties"].keys()
    assert not {"source", "sha256", "request_id", "header", "chunk"} & schema["properties"].keys()


def test_a_request_names_the_file_and_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("a\n1\n", encoding="utf-8")
    request = request_from(PUT, {"path": str(file), "name": "x"}, request_id="r")
    assert isinstance(request, dataset_pb2.PutDatasetRequest)
    digest = hashlib.sha256(b"a\n1\n").hexdigest()
    assert request.header == dataset_pb2.PutDatasetHeader(request_id="r", name="x", source=str(file), sha256=digest)
    again = request_from(PUT, {"source": str(file), "sha256": "what an edit left", "name": "x"}, request_id="r")
    assert again == request


@pytest.mark.parametrize("kind", ["nothing", "folder", "pipe", "huge", "no path"])
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "huge":
            with path.open("wb") as file:
                file.truncate(65 * 1024 * 1024)
    with pytest.raises(BadArguments, match="path: "):
        request_from(PUT, {"path": "" if kind == "no path" else str(path), "name": "x"})


async def test_a_file_is_sent_in_pieces_and_its_progress_told(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(rows(1500), encoding="utf-8")
    size, told = file.stat().st_size, []
    async with real_server(tmp_path) as served:
        client = Client(served.address, connection_to(served).person_token)
        request = request_from(PUT, {"path": str(file), "name": "x", "key": "id"})
        answer = await client.upload(PUT, request, lambda sent, whole: told.append((sent, whole)))
        assert isinstance(answer, dataset_pb2.PutDatasetResponse)
        assert answer.dataset.rows == 1500
        file.write_text(rows(3), encoding="utf-8")
        with pytest.raises(CallError, match="another digest"):
            await client.call(PUT, request)
        file.unlink()
        with pytest.raises(CallError, match="cannot be read"):
            await client.call(PUT, request)
        await client.close()
    assert told == [(min(sent, size), size) for sent in range(PIECE_BYTES, size + PIECE_BYTES, PIECE_BYTES)]


async def test_an_agent_stores_the_file_that_the_person_named_once_approved(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(rows(5), encoding="utf-8")
    call = f"put_dataset {json.dumps({'path': str(file), 'name': 'mine'})}"
    async with (
        real_server(tmp_path) as served,
        talking(served, tmp_path, asks(call), Thought(text="stored")) as session,
        listening(session) as heard,
    ):
        turn = await session.send(f"store {file} as the data set mine")
        asked = await heard.wait(ApprovalAsked)
        shown = json.loads(asked.arguments_json)
        assert shown == {
            "name": "mine",
            "source": str(file),
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        await session.decide(asked.approval_id, grant=True)
        assert (await heard.turn_ended(turn)).state == "done"
    [answered] = heard.all(ToolAnswered)
    assert answered.ok, answered.text


async def test_a_file_that_the_person_did_not_name_is_not_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "secret.jsonl"
    file.write_text(rows(5), encoding="utf-8")
    call = f"put_dataset {json.dumps({'path': str(file), 'name': 'mine'})}"
    async with (
        real_server(tmp_path) as served,
        talking(served, tmp_path, asks(call), Thought(text="a pity")) as session,
        listening(session) as heard,
    ):
        turn = await session.send("store my notes")
        assert (await heard.turn_ended(turn)).state == "done"
    [answered] = heard.all(ToolAnswered)
    assert (answered.ok, "has not named the file" in answered.text) == (False, True)
    assert heard.all(ApprovalAsked) == []
