"""The sealed hold-out, attacked by every call of the contract.

Each row carries a text that occurs nowhere else. Whatever is asked, no byte of any answer, error or trailer may hold
that of a sealed row.
"""

import csv
import io
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from itertools import count
from typing import Any, Final

import grpc.aio
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from tests.server.rpc.conftest import Client, Served

from whet.v1 import calibration_pb2, dataset_pb2, judge_pb2, judging_pb2, trace_pb2
from whet_server.rpc.identity import SERVICES

METHODS: Final = {f"{service.full_name}/{method.name}": method for service in SERVICES for method in service.methods}
HOLDOUT: Final = dataset_pb2.SPLIT_HOLDOUT
BY_COLUMN: Final = dataset_pb2.SplitPolicy(column="where")
ALL_TRAIN: Final = dataset_pb2.SplitPolicy(train=1)
IDS: Final = count()

READS_ROWS: Final = frozenset(
    {
        "whet.v1.DatasetService/ListRows",
        "whet.v1.DatasetService/ExportDataset",
        "whet.v1.JudgeService/PlanJudgement",
        "whet.v1.JudgeService/RunJudgement",
        "whet.v1.JudgeService/StartJudgement",
        "whet.v1.CalibrationService/PlanAudit",
        "whet.v1.CalibrationService/RunAudit",
        "whet.v1.SweepService/PlanSweep",
        "whet.v1.SweepService/StartSweep",
    }
)
"""Calls that take a data set and could give out its rows or scores of them."""
READS_RUNS: Final = frozenset(
    {
        "whet.v1.TraceService/ListTraces",
        "whet.v1.TraceService/GetTrace",
        "whet.v1.TraceService/WatchTrace",
        "whet.v1.TraceService/ExportTrace",
        "whet.v1.TraceService/VerifyTrace",
        "whet.v1.FanoutService/WatchFanout",
        "whet.v1.FanoutService/GetFanout",
        "whet.v1.FanoutService/ListFanouts",
        "whet.v1.JudgeService/WatchJudgement",
        "whet.v1.JudgeService/GetJudgement",
        "whet.v1.JudgeService/ListJudgements",
        "whet.v1.JudgeService/CancelJudgement",
        "whet.v1.SweepService/WatchSweep",
        "whet.v1.SweepService/GetSweep",
        "whet.v1.SweepService/ListSweeps",
        "whet.v1.SweepService/ControlSweep",
        "whet.v1.SweepService/ExportSweep",
        "whet.v1.SweepService/ReportSweep",
        "whet.v1.TrialService/AskTrials",
        "whet.v1.TrialService/TellTrial",
        "whet.v1.TrialService/ListTrials",
        "whet.v1.TrialService/ListCases",
        "whet.v1.JudgeService/GateJudgement",
        "whet.v1.CalibrationService/GetAudit",
        "whet.v1.CalibrationService/Calibrate",
    }
)
"""Calls that read what a run has left behind: they are asked for the data set's own runs."""
SHOWS_THE_DATASET: Final = frozenset(
    {
        "whet.v1.DatasetService/GetDataset",
        "whet.v1.DatasetService/ListDatasets",
        "whet.v1.DatasetService/SplitDataset",
        "whet.v1.DatasetService/TagDataset",
        "whet.v1.DatasetService/PutDataset",
    }
)
"""Calls about the data set as a whole; what they change is read again afterwards."""
BY_ITEM: Final = frozenset(
    {
        "whet.v1.ScorerService/ScoreItems",
        "whet.v1.CalibrationService/PutRatings",
        "whet.v1.CalibrationService/ListRatings",
    }
)
"""Calls that name an item: a row's id must not stand for its text."""
ELSEWHERE: Final = frozenset(
    {
        "whet.v1.FanoutService/PlanFanout",
        "whet.v1.FanoutService/RunFanout",
        "whet.v1.FanoutService/StartFanout",
        "whet.v1.FanoutService/CancelFanout",
        "whet.v1.ModelService/ListEndpoints",
        "whet.v1.ModelService/PutEndpoint",
        "whet.v1.ModelService/DeleteEndpoint",
        "whet.v1.ModelService/TestEndpoint",
        "whet.v1.ModelService/ListModels",
        "whet.v1.ModelService/GetCache",
        "whet.v1.ModelService/ClearCache",
        "whet.v1.LedgerService/GetUsage",
        "whet.v1.LedgerService/ListCaps",
        "whet.v1.LedgerService/PutCap",
        "whet.v1.LedgerService/DeleteCap",
        "whet.v1.LedgerService/Reserve",
        "whet.v1.LedgerService/Settle",
        "whet.v1.LedgerService/ListReservations",
        "whet.v1.ApprovalService/ListApprovals",
        "whet.v1.ApprovalService/GetApproval",
        "whet.v1.ApprovalService/DecideApproval",
        "whet.v1.ScorerService/ListScorers",
        "whet.v1.RubricService/PutRubric",
        "whet.v1.RubricService/GetRubric",
        "whet.v1.RubricService/ListRubrics",
        "whet.v1.CalibrationService/ListCalibrations",
        "whet.v1.CalibrationService/CheckJudge",
        "whet.v1.HookService/PutHook",
        "whet.v1.HookService/ListHooks",
        "whet.v1.HookService/DeleteHook",
        "whet.v1.HookService/TestHook",
        "whet.v1.HookService/ListDeliveries",
    }
)
"""Calls that know no data set; they are made all the same."""
OPENS: Final = frozenset({"whet.v1.DatasetService/OpenSeal"})
"""The one call that may change it, made at the end."""
LEFT_OUT: Final = frozenset({"whet.v1.ScorerService/ServeScorer"})
"""A stream in both directions that gives a client only items of calls it is named in."""


def test_every_call_of_the_contract_is_classified() -> None:
    kinds = [READS_ROWS, READS_RUNS, SHOWS_THE_DATASET, BY_ITEM, ELSEWHERE, OPENS, LEFT_OUT]
    assert sorted(name for kind in kinds for name in kind) == sorted(METHODS)


def canary(number: int) -> str:
    return f"canary-{number:03d}-of-the-sealed-rows"


def short(number: int) -> str:
    return f"kanari{number:03d}"


def row(number: int, **changes: Any) -> dict[str, Any]:
    where = ("train", "dev", "holdout")[number % 3]
    fields = {"id": f"r{number}", "input": canary(number), "output": short(number), "topic": number % 5, "where": where}
    return fields | changes


def lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(fields) + "\n" for fields in rows).encode()


ROWS: Final = [row(number) for number in range(30)]
SEALED: Final = [text.encode() for number in range(2, 30, 3) for text in (canary(number), short(number))]
OPEN: Final = [text.encode() for number in range(0, 30, 3) for text in (canary(number), short(number))]


class Heard:
    """Every byte that a server has answered."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.last = b""
        """What the last call alone has answered."""
        self.codes: dict[str, set[str]] = {}

    def leaks(self) -> list[bytes]:
        return [text for text in SEALED if text in self.content]

    async def ask(self, client: Client, method: MethodDescriptor, messages: list[Message]) -> str:
        """Make a call of any arity and keep what comes back, errors and trailers included; return the code."""
        before = len(self.content)
        path = f"/{method.containing_service.full_name}/{method.name}"
        how: dict[str, Any] = {"request_serializer": _bytes, "response_deserializer": bytes}
        given: dict[str, Any] = {"metadata": client.metadata, "timeout": 20}
        call: Any
        if method.client_streaming:
            call = client.channel.stream_unary(path, **how)(_stream(messages), **given)
        elif method.server_streaming:
            call = client.channel.unary_stream(path, **how)(messages[0], **given)
        else:
            call = client.channel.unary_unary(path, **how)(messages[0], **given)
        try:
            if method.server_streaming:
                async for answer in call:
                    self.content += answer
            else:
                self.content += await call
            code = "OK"
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            self.content += (error.details() or "").encode()
            for key, value in error.trailing_metadata() or ():
                self.content += f"{key}".encode() + (value if isinstance(value, bytes) else value.encode())
        self.last = bytes(self.content[before:])
        self.codes.setdefault(path.lstrip("/"), set()).add(code)
        return code


def _bytes(message: Message) -> bytes:
    return message.SerializeToString()


async def _stream(messages: list[Message]) -> AsyncIterator[Message]:
    for message in messages:
        yield message


def aimed(descriptor: Descriptor, hints: Mapping[str, Any], depth: int = 0) -> Message:
    """Return a request that names what the hints say wherever it can, and something in all other required fields."""
    message: Message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if field.containing_oneof is not None and message.WhichOneof(field.containing_oneof.name):
            continue
        _aim(message, field, hints, depth)
    return message


def _aim(message: Message, field: FieldDescriptor, hints: Mapping[str, Any], depth: int) -> None:
    inner = field.message_type
    if field.name == "request_id":
        message.request_id = f"attack-{next(IDS)}"  # type: ignore[attr-defined]  # has one
    elif inner is None and field.name in hints:
        value = hints[field.name]
        if field.is_repeated:
            getattr(message, field.name).append(value)
        elif field.type == FieldDescriptor.TYPE_STRING or not isinstance(value, str):
            setattr(message, field.name, value)
    elif inner is not None and inner.file.package == "whet.v1" and not inner.GetOptions().map_entry and depth < 4:
        if field.is_repeated:
            getattr(message, field.name).append(aimed(inner, hints, depth + 1))
        else:
            getattr(message, field.name).CopyFrom(aimed(inner, hints, depth + 1))


def hints_for(run_id: str, **more: Any) -> dict[str, Any]:
    return {
        "name": "secret",
        "split": HOLDOUT,
        "run_id": run_id,
        "item_id": "r2",
        "candidates": "input",
        "input": "input",
        "models": "sim/fast",
        "model": "sim/fast",
        "rubric": "problem-solving",
        "prompt": "x",
        "rater": "me",
        "level": 1,
        "train": 1.0,
        "subject": "x",
        "size": 100,
    } | more


def upload(data: bytes, **header: Any) -> list[Message]:
    fields = {"name": "secret", "request_id": f"attack-{next(IDS)}"} | header
    first = dataset_pb2.PutDatasetRequest(header=dataset_pb2.PutDatasetHeader(**fields))
    return [first, dataset_pb2.PutDatasetRequest(chunk=data)]


@pytest.fixture
async def sealed(served: Served) -> Served:
    heard = Heard()
    first = upload(lines(ROWS), policy=BY_COLUMN, key="id", description="ten rows of thirty are sealed")
    assert await heard.ask(served.person, METHODS["whet.v1.DatasetService/PutDataset"], first) == "OK"
    return served


async def runs_of(client: Client) -> list[str]:
    listed = await client.trace.ListTraces(trace_pb2.ListTracesRequest(), metadata=client.metadata)
    return [trace.run_id for trace in listed.traces]


async def versions_of(client: Client) -> int:
    request = dataset_pb2.GetDatasetRequest(name="secret")
    return (await client.dataset.GetDataset(request, metadata=client.metadata)).dataset.version


async def sweep(heard: Heard, client: Client, versions: int) -> None:
    """Read everything that can be read of every version."""
    rows, export = METHODS["whet.v1.DatasetService/ListRows"], METHODS["whet.v1.DatasetService/ExportDataset"]
    for version in range(versions + 1):
        for split in dataset_pb2.Split.values():
            await heard.ask(client, rows, [dataset_pb2.ListRowsRequest(name="secret", version=version, split=split)])
            for file_format in dataset_pb2.DataFormat.values():
                request = dataset_pb2.ExportDatasetRequest(
                    name="secret", version=version, split=split, format=file_format
                )
                await heard.ask(client, export, [request])


async def test_no_call_of_the_contract_gives_out_a_sealed_row(sealed: Served) -> None:
    heard = Heard()
    for client in (sealed.person, sealed.agent, sealed.stranger):
        for run_id in await runs_of(sealed.person):
            for split in (HOLDOUT, 0):
                for name, method in METHODS.items():
                    if name not in OPENS | LEFT_OUT:
                        request = aimed(method.input_type, hints_for(run_id, split=split))
                        await heard.ask(client, method, [request])
    await sweep(heard, sealed.person, await versions_of(sealed.person))
    assert heard.leaks() == []
    assert heard.codes.keys() == METHODS.keys() - OPENS - LEFT_OUT
    assert set(OPEN) <= {text for text in OPEN if text in heard.content}, "the rows that may be read were read"


def again(data: bytes, **header: Any) -> list[Message]:
    return upload(data, new_columns=True, **header)


def tricks() -> Iterator[tuple[str, list[Message]]]:
    """Uploads and splits that try to carry a sealed row into a split that can be read."""
    trained = [row(number, where="train") for number in range(30)]
    yield "say train", again(lines(trained), policy=BY_COLUMN)
    yield "say train, all to train", again(lines(trained), policy=ALL_TRAIN)
    yield (
        "one column more",
        again(lines([fields | {"extra": 1} for fields in ROWS]), policy=ALL_TRAIN),
    )
    yield "another key", again(lines(ROWS), key="input", policy=ALL_TRAIN)
    yield "another group", again(lines(ROWS), policy=dataset_pb2.SplitPolicy(train=1, group="topic"))
    yield "delete", again(lines(ROWS[:1]), policy=ALL_TRAIN)
    yield "and put again", again(lines(ROWS), policy=ALL_TRAIN)
    yield "append again without a key", again(lines([row(99, where="train")]), append=True)
    renamed = [{"k": fields["id"], "question": fields["input"], "n": at} for at, fields in enumerate(ROWS)]
    yield "other names", again(lines(renamed), policy=ALL_TRAIN)
    spaced = [fields | {"input": f"  {fields['input'].upper()} ", "output": fields["input"]} for fields in ROWS]
    yield "other spaces", again(lines(spaced), policy=ALL_TRAIN)
    file = io.StringIO()
    writer = csv.DictWriter(file, list(ROWS[0]))
    writer.writeheader()
    writer.writerows(ROWS)
    yield "as csv", again(file.getvalue().encode(), policy=ALL_TRAIN, format=2)
    for policy in (ALL_TRAIN, dataset_pb2.SplitPolicy(dev=1, salt="x"), dataset_pb2.SplitPolicy(train=1, group="id")):
        for version in (0, 1):
            request = dataset_pb2.SplitDatasetRequest(name="secret", version=version, policy=policy)
            yield "split", [request]


async def test_no_upload_and_no_split_carries_a_sealed_row_out(sealed: Served) -> None:
    heard = Heard()
    for what, messages in tricks():
        name = "SplitDataset" if what == "split" else "PutDataset"
        assert await heard.ask(sealed.person, METHODS[f"whet.v1.DatasetService/{name}"], messages) == "OK", what
        assert heard.leaks() == [], what
    await sweep(heard, sealed.person, await versions_of(sealed.person))
    assert heard.leaks() == []


async def test_no_rule_that_a_caller_chooses_is_held_against_a_sealed_row(sealed: Served) -> None:
    heard, put = Heard(), METHODS["whet.v1.DatasetService/PutDataset"]
    one = lines([row(99, where="train")])
    probes = [
        upload(one, append=True, row_schema=json.dumps({"properties": {"input": {"maxLength": 3}}})),
        upload(one, append=True, key="output"),
        upload(one, append=True, policy=dataset_pb2.SplitPolicy(column="input")),
        upload(lines([{"input": 5}]), append=True, new_columns=True),
    ]
    for messages in probes:
        assert await heard.ask(sealed.person, put, messages) == "INVALID_ARGUMENT"
    split = METHODS["whet.v1.DatasetService/SplitDataset"]
    request = dataset_pb2.SplitDatasetRequest(name="secret", policy=dataset_pb2.SplitPolicy(column="output"))
    assert await heard.ask(sealed.person, split, [request]) == "INVALID_ARGUMENT"
    assert heard.leaks() == []
    assert await versions_of(sealed.person) == 1


async def test_the_same_eyes_see_the_rows_once_the_seal_is_open(sealed: Served) -> None:
    heard = Heard()
    request = dataset_pb2.OpenSealRequest(name="secret", version=1, reason="the end")
    opening = METHODS["whet.v1.DatasetService/OpenSeal"]
    assert await heard.ask(sealed.stranger, opening, [request]) == "NOT_FOUND"
    assert await heard.ask(sealed.agent, opening, [request]) == "FAILED_PRECONDITION"
    assert await heard.ask(sealed.person, opening, [request]) == "OK"
    assert heard.leaks() == []
    await sweep(heard, sealed.person, 1)
    assert heard.leaks() == SEALED


def questions(split: dataset_pb2.Split.ValueType, *, version: int = 0) -> Iterator[tuple[str, Message]]:
    """Every way to have the rows of a split judged, by scorers, by judges, and in an audit."""
    ref = dataset_pb2.DatasetRef(name="secret", version=version, split=split)
    judge = judging_pb2.Judge(models=["sim/judge"])
    for spec in (
        judge_pb2.JudgementSpec(dataset=ref, scorers=["exact"]),
        judge_pb2.JudgementSpec(dataset=ref, judge=judge),
    ):
        yield "JudgeService/PlanJudgement", judge_pb2.PlanJudgementRequest(spec=spec)
        yield "JudgeService/RunJudgement", judge_pb2.RunJudgementRequest(spec=spec)
        yield "JudgeService/StartJudgement", judge_pb2.StartJudgementRequest(spec=spec)
    audit = calibration_pb2.AuditSpec(judge=judge, dataset=ref)
    yield "CalibrationService/PlanAudit", calibration_pb2.PlanAuditRequest(spec=audit)
    yield "CalibrationService/RunAudit", calibration_pb2.RunAuditRequest(spec=audit)


async def test_a_sealed_split_is_refused_before_anything_is_scored(sealed: Served) -> None:
    heard, before = Heard(), await runs_of(sealed.person)
    for version in (0, 1):
        for client in (sealed.person, sealed.agent):
            for name, request in questions(HOLDOUT, version=version):
                code = await heard.ask(client, METHODS[f"whet.v1.{name}"], [request])
                assert (code, b"HOLDOUT_SEALED" in heard.last) == ("FAILED_PRECONDITION", True), name
    assert await runs_of(sealed.person) == before, "no run has begun"


async def test_what_a_judgement_of_the_rest_leaves_behind_holds_no_sealed_row(sealed: Served) -> None:
    heard = Heard()
    run = judge_pb2.RunJudgementRequest(
        spec=judge_pb2.JudgementSpec(
            dataset=dataset_pb2.DatasetRef(name="secret", reference="input"), scorers=["exact"]
        )
    )
    assert await heard.ask(sealed.person, METHODS["whet.v1.JudgeService/RunJudgement"], [run]) == "OK"
    for run_id in await runs_of(sealed.person):
        for name in READS_RUNS:
            await heard.ask(sealed.person, METHODS[name], [aimed(METHODS[name].input_type, {"run_id": run_id})])
    assert b"r0" in heard.content, "rows that may be read were judged"
    assert b'"r2"' not in heard.content
    assert heard.leaks() == []
