"""A real server over a store in memory, with simulated models, and plain stubs to call it with."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from typing import Any, TypeAlias

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from whet.v1 import (
    approval_pb2_grpc,
    calibration_pb2_grpc,
    dataset_pb2_grpc,
    event_pb2,
    fanout_pb2,
    fanout_pb2_grpc,
    hook_pb2_grpc,
    judge_pb2_grpc,
    ledger_pb2_grpc,
    model_pb2_grpc,
    rubric_pb2_grpc,
    scorer_pb2_grpc,
    sweep_pb2_grpc,
    trace_pb2_grpc,
    trial_pb2_grpc,
)
from whet_server.app import opened_rooms
from whet_server.config import ServerConfig
from whet_server.datadir import DataDir
from whet_server.fanout.spec import BranchSpec
from whet_server.llm.keys import Sealer
from whet_server.rpc.identity import Tokens
from whet_server.rpc.server import Rooms, RpcServer
from whet_server.store.memory import MemoryStore
from whet_server.values import ModelName, Role, Workspace

HELD = "sim/slow?first_ms=600000"
"""A simulated model whose answer nobody lives to see."""
PANEL = tuple(BranchSpec(model=ModelName(name)) for name in ("sim/fast", "sim/fast?seed=2"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An error as a client sees it."""

    code: str
    message: str
    reason: str
    metadata: dict[str, str]
    violations: dict[str, str]
    retry_seconds: float | None
    trailer: dict[str, str]


def refusal(error: grpc.aio.AioRpcError) -> Refusal:
    trailer = {key: value for key, value in error.trailing_metadata() or () if isinstance(value, str)}
    found = Status()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            found.MergeFromString(bytes(value) if not isinstance(value, str) else value.encode())
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    has_retry = False
    for packed in found.details:
        has_retry |= packed.Unpack(retry)
        packed.Unpack(info)
        packed.Unpack(bad)
    return Refusal(
        code=error.code().name,
        message=error.details() or "",
        reason=info.reason,
        metadata=dict(info.metadata),
        violations={each.field: each.description for each in bad.field_violations},
        retry_seconds=retry.retry_delay.ToMilliseconds() / 1000 if has_retry else None,
        trailer=trailer,
    )


@asynccontextmanager
async def refused() -> AsyncGenerator[list[Refusal], None]:
    """Expect the block to be refused; what was said stands in the list afterwards."""
    said: list[Refusal] = []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield said
    said.append(refusal(caught.value))


RunCall: TypeAlias = "grpc.aio.UnaryStreamCall[fanout_pb2.RunFanoutRequest, fanout_pb2.RunFanoutResponse]"


class Client:
    """Stubs of one caller."""

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self.channel = channel
        self.metadata = (("authorization", f"Bearer {token}"),)
        self.fanout = fanout_pb2_grpc.FanoutServiceStub(channel)
        self.ledger = ledger_pb2_grpc.LedgerServiceStub(channel)
        self.model = model_pb2_grpc.ModelServiceStub(channel)
        self.approval = approval_pb2_grpc.ApprovalServiceStub(channel)
        self.scorer = scorer_pb2_grpc.ScorerServiceStub(channel)
        self.dataset = dataset_pb2_grpc.DatasetServiceStub(channel)
        self.rubric = rubric_pb2_grpc.RubricServiceStub(channel)
        self.judge = judge_pb2_grpc.JudgeServiceStub(channel)
        self.calibration = calibration_pb2_grpc.CalibrationServiceStub(channel)
        self.sweep = sweep_pb2_grpc.SweepServiceStub(channel)
        self.trial = trial_pb2_grpc.TrialServiceStub(channel)
        self.hook = hook_pb2_grpc.HookServiceStub(channel)
        self.trace = trace_pb2_grpc.TraceServiceStub(channel)

    def run(self, request: fanout_pb2.RunFanoutRequest) -> "RunCall":
        return self.fanout.RunFanout(request, metadata=self.metadata, timeout=30)

    async def ran(self, request: fanout_pb2.RunFanoutRequest) -> tuple[str, list[event_pb2.Event]]:
        """Run to the end; return the run's id and the durable events."""
        events: list[event_pb2.Event] = []
        run_id = ""
        async for response in self.run(request):
            run_id = response.run_id
            events.extend(event for event in response.batch.events if event.sequence)
        return run_id, events

    async def start(self, request: fanout_pb2.StartFanoutRequest) -> fanout_pb2.StartFanoutResponse:
        return await self.fanout.StartFanout(request, metadata=self.metadata, timeout=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server that answers, and whom it knows."""

    server: RpcServer
    rooms: Rooms
    address: str
    directory: DataDir
    channel: grpc.aio.Channel
    person: Client
    agent: Client
    stranger: Client
    """A person of another workspace."""

    def caller(self, token: str) -> Client:
        return Client(self.channel, token)


@asynccontextmanager
async def serving(
    directory: DataDir, address: str = "127.0.0.1:0", *, clock: Callable[[], int] = time_ns, **config: Any
) -> AsyncGenerator[Served, None]:
    directory.prepare()
    clients = [
        directory.create_token(Workspace(workspace), role)
        for workspace, role in (("default", Role.PERSON), ("default", Role.AGENT), ("theirs", Role.PERSON))
    ]
    settings = ServerConfig(**({"panel": PANEL} | config))
    async with opened_rooms(MemoryStore(), settings, Sealer.from_file(directory.master_key), clock=clock) as rooms:
        server = RpcServer(rooms, Tokens(directory.tokens, clock=time_ns), clock=time_ns)
        bound = await server.start(address)
        server.recovered()
        try:
            async with grpc.aio.insecure_channel(bound) as channel:
                person, agent, stranger = (Client(channel, token) for token in clients)
                yield Served(
                    server=server,
                    rooms=rooms,
                    address=bound,
                    directory=directory,
                    channel=channel,
                    person=person,
                    agent=agent,
                    stranger=stranger,
                )
        finally:
            await server.stop(0)


@pytest.fixture
def directory(tmp_path: Path) -> DataDir:
    return DataDir(tmp_path / "data")


@pytest.fixture
async def served(directory: DataDir) -> AsyncIterator[Served]:
    async with serving(directory) as made:
        yield made


def question(*models: str, request_id: str = "", prompt: str = "What is a monad?") -> fanout_pb2.RunFanoutRequest:
    return fanout_pb2.RunFanoutRequest(
        request_id=request_id, spec=fanout_pb2.FanoutSpec(prompt=prompt, models=models or ["sim/fast"])
    )
