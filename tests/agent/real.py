"""The real server in this process, over real gRPC, with simulated models."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.server.rpc.conftest import Client, Served, serving

from whet.v1 import approval_pb2, calibration_pb2, dataset_pb2, ledger_pb2, model_pb2, rubric_pb2, value_pb2
from whet_agent.connect import Connection
from whet_agent.model.scripted import Line, ScriptedMind
from whet_agent.session import AgentSession, SessionSettings
from whet_server.datadir import DataDir

COSTLY = "sim/costly?tokens=40&first_ms=1&rate=5000"
"""Worst cost 2.6 cents for a short question, true cost about a tenth of a cent."""
CENT = 10_000_000
"""In nanos of a US dollar."""


@asynccontextmanager
async def real_server(folder: Path, **config: Any) -> AsyncIterator[Served]:
    async with serving(DataDir(folder / "data"), **config) as served:
        yield served


def connection_to(served: Served) -> Connection:
    person, agent = (client.metadata[0][1].removeprefix("Bearer ") for client in (served.person, served.agent))
    return Connection(address=served.address, person_token=person, agent_token=agent, embedded=False)


@asynccontextmanager
async def talking(
    served: Served, folder: Path, *lines: Line, session_id: str = "", max_cost_nanos: int | None = None
) -> AsyncIterator[AgentSession]:
    """A session with a scripted mind on the real server."""
    session = await AgentSession.open(
        connection_to(served),
        SessionSettings(folder=folder / "agent", max_cost_nanos=max_cost_nanos),
        session_id=session_id,
        mind=ScriptedMind(list(lines)),
    )
    try:
        yield session
    finally:
        await session.close()


async def counted(client: Client) -> int:
    """What was spent, is unknown or is reserved in the whole workspace, in nanos."""
    usage = await client.ledger.GetUsage(ledger_pb2.GetUsageRequest(), metadata=client.metadata)
    return usage.totals.settled.nanos + usage.totals.unknown.nanos + usage.totals.reserved.nanos


async def approvals(client: Client) -> Sequence[approval_pb2.Approval]:
    answer = await client.approval.ListApprovals(
        approval_pb2.ListApprovalsRequest(page=value_pb2.Page(size=500)), metadata=client.metadata
    )
    return list(answer.approvals)


async def arrangements(client: Client) -> tuple[str, ...]:
    """Everything that a person can arrange at the server, as text."""
    endpoints = (await client.model.ListEndpoints(model_pb2.ListEndpointsRequest(), metadata=client.metadata)).endpoints
    for endpoint in endpoints:
        for news in ("circuit", "current_concurrency", "in_flight", "last_failure", "last_success_time"):
            endpoint.ClearField(news)  # how it goes, which nobody arranges
    calibrations = calibration_pb2.ListCalibrationsRequest()
    return (
        str((await client.ledger.ListCaps(ledger_pb2.ListCapsRequest(), metadata=client.metadata)).caps),
        str(endpoints),
        str(await client.model.ListModels(model_pb2.ListModelsRequest(), metadata=client.metadata)),
        str(await client.dataset.ListDatasets(dataset_pb2.ListDatasetsRequest(), metadata=client.metadata)),
        str(await client.rubric.ListRubrics(rubric_pb2.ListRubricsRequest(), metadata=client.metadata)),
        str(await client.calibration.ListCalibrations(calibrations, metadata=client.metadata)),
    )


async def cached(client: Client) -> int:
    """How many answers are in the cache."""
    return (await client.model.GetCache(model_pb2.GetCacheRequest(), metadata=client.metadata)).entries


def money(nanos: int) -> value_pb2.Money:
    return value_pb2.Money(nanos=nanos)
