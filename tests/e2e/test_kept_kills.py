"""What is stored while the server is killed is there whole or not at all, and the same request id finds it."""

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import grpc.aio
import pytest
from google.protobuf.message import Message
from tests.e2e.serving import PATIENCE, House, Wire

from whet.v1 import (
    calibration_pb2,
    calibration_pb2_grpc,
    dataset_pb2,
    dataset_pb2_grpc,
    judging_pb2,
    rubric_pb2,
    rubric_pb2_grpc,
    trace_pb2,
    value_pb2,
)

KILLS = 6
ROWS, RATINGS = 20_000, 5_000
PIECE = 1 << 20
LONGEST = (0.05, 0.3, 1.5)
"""Seconds until a kill are drawn up to one of these: most of what is stored takes between the first two."""
FILE = "".join(json.dumps({"id": row, "input": f"q {row}", "output": "x" * (row % 500)}) + "\n" for row in range(ROWS))
LEVELS = "levels = {1 = 'bad', 2 = 'good'}"
RUBRIC = f"""
description = "Whether it is right."
lowest = 1
highest = 2
[[dimension]]
name = "right"
question = "Is it right?"
{LEVELS}
"""
Call = Callable[[Wire], Awaitable[Message]]


class Room:
    """The calls that store something, and the looks at what is stored."""

    def __init__(self, wire: Wire) -> None:
        channel = wire.channel
        self.wire = wire
        self.datasets = dataset_pb2_grpc.DatasetServiceStub(channel)
        self.calibration = calibration_pb2_grpc.CalibrationServiceStub(channel)
        self.rubrics = rubric_pb2_grpc.RubricServiceStub(channel)

    async def put(self, name: str, content: bytes) -> dataset_pb2.PutDatasetResponse:
        async def pieces() -> AsyncIterator[dataset_pb2.PutDatasetRequest]:
            yield dataset_pb2.PutDatasetRequest(
                header=dataset_pb2.PutDatasetHeader(request_id=name, name=name, key="id")
            )
            for start in range(0, len(content), PIECE):
                yield dataset_pb2.PutDatasetRequest(chunk=content[start : start + PIECE])

        answer: dataset_pb2.PutDatasetResponse = await self.datasets.PutDataset(
            pieces(), timeout=PATIENCE, metadata=self.wire.metadata
        )
        return answer

    async def open(self, name: str) -> dataset_pb2.OpenSealResponse:
        request = dataset_pb2.OpenSealRequest(request_id=f"open-{name}", name=name, version=1, reason="done")
        return await self.wire.ask(self.datasets.OpenSeal, request)

    async def rate(self, rater: str) -> calibration_pb2.PutRatingsResponse:
        subjects = [hashlib.sha256(f"{rater}/{number}".encode()).hexdigest() for number in range(RATINGS)]
        request = calibration_pb2.PutRatingsRequest(
            request_id=rater,
            rubric="problem-solving",
            rater=rater,
            ratings=[judging_pb2.Rating(subject=subject, level=3) for subject in subjects],
        )
        return await self.wire.ask(self.calibration.PutRatings, request)

    async def write(self, name: str) -> rubric_pb2.PutRubricResponse:
        request = rubric_pb2.PutRubricRequest(request_id=name, name=name, text=RUBRIC)
        return await self.wire.ask(self.rubrics.PutRubric, request)

    async def dataset(self, name: str) -> dataset_pb2.Dataset | None:
        try:
            found = await self.wire.ask(self.datasets.GetDataset, dataset_pb2.GetDatasetRequest(name=name))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return None
        return found.dataset

    async def ratings(self, rater: str) -> int:
        count, token = 0, ""
        while True:
            page = value_pb2.Page(size=1_000, token=token)
            request = calibration_pb2.ListRatingsRequest(rater=rater, page=page)
            found = await self.wire.ask(self.calibration.ListRatings, request)
            count, token = count + len(found.ratings), found.next_page_token
            if not token:
                return count


def calls(name: str) -> Mapping[str, Call]:
    return {
        "put": lambda wire: Room(wire).put(f"put-{name}", FILE.encode()),
        "open": lambda wire: Room(wire).open(f"sealed-{name}"),
        "rate": lambda wire: Room(wire).rate(f"rater-{name}"),
        "write": lambda wire: Room(wire).write(f"rubric-{name}"),
    }


async def killed(house: House, wire: Wire, made: Mapping[str, Call], seconds: float) -> dict[str, Message]:
    """Make the calls, kill the server meanwhile, and return what was answered before."""
    tasks = {what: asyncio.ensure_future(call(wire)) for what, call in made.items()}
    await asyncio.sleep(seconds)  # the moment of the kill is what is drawn here, nothing is waited for
    await house.kill()
    answers = await asyncio.gather(*tasks.values(), return_exceptions=True)
    lost = [answer for answer in answers if isinstance(answer, BaseException)]
    assert all(isinstance(each, grpc.aio.AioRpcError) for each in lost), lost
    return {what: answer for what, answer in zip(tasks, answers, strict=True) if isinstance(answer, Message)}


async def whole_or_absent(room: Room, name: str, answered: Sequence[str], said: str) -> None:
    """Hold what is there after a kill against what was answered before it."""
    stored = await room.dataset(f"put-{name}")
    assert stored is None or stored.rows == ROWS, (said, stored)
    assert stored is not None or "put" not in answered, said
    sealed = await room.dataset(f"sealed-{name}")
    assert sealed is not None
    assert sealed.sealed is not bool(sealed.open_run_id), (said, sealed)
    assert not (sealed.sealed and "open" in answered), said
    if not sealed.sealed:
        request = trace_pb2.VerifyTraceRequest(run_id=sealed.open_run_id)
        assert (await room.wire.ask(room.wire.traces.VerifyTrace, request)).valid, said
    assert await room.ratings(f"rater-{name}") in ({RATINGS} if "rate" in answered else {0, RATINGS}), said


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2))
async def test_what_is_stored_is_whole_or_absent_after_a_kill_and_never_there_twice(house: House, seed: int) -> None:
    draw = random.Random(seed)
    wire = await house.start()
    for life in range(KILLS):
        await Room(wire).put(f"sealed-{life}", FILE[: FILE.index("\n", 20_000) + 1].encode())
    for life in range(KILLS):
        seconds = draw.uniform(0, draw.choice(LONGEST))
        said = f"seed {seed}, kill {life} after {seconds:.3f} s"
        made = calls(str(life))
        before = await killed(house, wire, made, seconds)
        wire = await house.start()
        await whole_or_absent(Room(wire), str(life), list(before), said)
        after = {what: await call(wire) for what, call in made.items()}
        for what, answer in before.items():
            kept = after[what]
            if isinstance(answer, dataset_pb2.PutDatasetResponse) and isinstance(kept, dataset_pb2.PutDatasetResponse):
                assert kept.dataset == answer.dataset, said  # `created` tells the first call from the next
            else:
                assert kept == answer, (said, what)
        await whole_or_absent(Room(wire), str(life), list(made), said)
        stored = await Room(wire).dataset(f"put-{life}")
        assert stored is not None
        assert stored.version == 1, said
