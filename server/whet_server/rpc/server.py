"""The gRPC server: services, interceptors, health and reflection on one address, from the first call to the last."""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

import grpc.aio
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from whet.v1 import (
    approval_pb2_grpc,
    calibration_pb2_grpc,
    dataset_pb2_grpc,
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
from whet_server.approval.approvals import Approvals
from whet_server.audit.audits import Audits
from whet_server.calibration.calibrations import Calibrations
from whet_server.calibration.ratings import Ratings
from whet_server.dataset.datasets import Datasets
from whet_server.fanout.fanouts import Fanouts
from whet_server.hook.hooks import Hooks
from whet_server.judge.judgements import Judgements
from whet_server.judge.rubrics import Rubrics
from whet_server.ledger.ledger import Ledger
from whet_server.llm.base import Caller
from whet_server.llm.cache import ResponseCache
from whet_server.llm.registry import Endpoints
from whet_server.rpc import health
from whet_server.rpc.approval import ApprovalServicer
from whet_server.rpc.calibration import CalibrationServicer
from whet_server.rpc.changing import Changing
from whet_server.rpc.dataset import DatasetServicer
from whet_server.rpc.fanout import FanoutServicer
from whet_server.rpc.gate import Gate
from whet_server.rpc.hook import HookServicer
from whet_server.rpc.identity import SERVICES, Tokens, check_allowed
from whet_server.rpc.interceptors import (
    MAX_REQUEST_BYTES,
    Activity,
    DeadlineLayer,
    DecodingInterceptor,
    IdentityLayer,
    RulesLayer,
    StatusLayer,
)
from whet_server.rpc.judge import JudgeServicer
from whet_server.rpc.layers import LayerInterceptor
from whet_server.rpc.ledger import LedgerServicer
from whet_server.rpc.life import Life
from whet_server.rpc.model import ModelServicer
from whet_server.rpc.requests import Requests
from whet_server.rpc.rubric import RubricServicer
from whet_server.rpc.rules import Rules
from whet_server.rpc.running import Running
from whet_server.rpc.scorer import ScorerServicer
from whet_server.rpc.spans import SpanLayer
from whet_server.rpc.sweep import SweepServicer
from whet_server.rpc.trace import TraceServicer
from whet_server.rpc.trial import TrialServicer
from whet_server.runs import Capability
from whet_server.score.scorers import Scorers
from whet_server.store.base import Store
from whet_server.sweep.sweeps import Sweeps
from whet_server.trace.traces import Traces
from whet_server.values import ModelName, Nanos

OPTIONS: Final = (
    # Two servers on one port would share its calls without a word.
    ("grpc.so_reuseport", 0),
    # Four times what a request may have: those in between are refused with a reason of ours, larger ones by gRPC.
    ("grpc.max_receive_message_length", 4 * MAX_REQUEST_BYTES),
    # Connections that never say hello, or say nothing for long, would stay for ever.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 600_000),
    # A dead peer is noticed within eighty seconds; clients may ping every ten seconds, also while nothing is called.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)
MAX_CALLS: Final = 4_096
"""A fuse: about two hundred megabytes of idle streams."""
CLOSE_SECONDS: Final = 2.0
"""How long calls have to end after everything they wait for has been told to."""


_PLACE: Final = re.compile(r"([^:\s]+|\[[0-9a-fA-F:.]+\]):\d{1,5}")
"""A host and a port; an address of IPv6 in brackets."""


class AddressRefused(Exception):
    """The server cannot or must not listen there. `str()` says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """What the servicers call."""

    fanouts: Fanouts
    ledger: Ledger
    caller: Caller
    endpoints: Endpoints
    cache: ResponseCache
    approvals: Approvals
    traces: Traces
    datasets: Datasets
    scorers: Scorers
    rubrics: Rubrics
    ratings: Ratings
    calibrations: Calibrations
    judgements: Judgements
    audits: Audits
    sweeps: Sweeps
    hooks: Hooks
    store: Store
    approval_threshold: Nanos
    panel: frozenset[ModelName] = frozenset()
    """The models that are asked when nobody says which."""

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """Return the rooms that have runs."""
        return (self.fanouts, self.judgements, self.sweeps, self.hooks)


class RpcServer:
    """One server. `activity` tells how long nobody has called."""

    def __init__(self, rooms: Rooms, tokens: Tokens, *, clock: Callable[[], int], spans: bool = False) -> None:
        methods = [f"{service.full_name}/{method.name}" for service in SERVICES for method in service.methods]
        check_allowed(methods)
        self._rules = rules = Rules(method.input_type for service in SERVICES for method in service.methods)
        self.activity = Activity(clock=time.monotonic)
        self._capabilities = rooms.capabilities
        self._scorers = rooms.scorers
        self._life = Life()
        self._requests = Requests(rooms.store, clock=clock)
        self._health = health.Health(service.full_name for service in SERVICES)
        self._server = grpc.aio.server(
            interceptors=[
                LayerInterceptor(StatusLayer()),
                LayerInterceptor(self.activity),
                *([LayerInterceptor(SpanLayer())] if spans else []),
                LayerInterceptor(IdentityLayer(tokens)),
                LayerInterceptor(DeadlineLayer()),
                DecodingInterceptor(rules),
                LayerInterceptor(RulesLayer(rules)),
            ],
            options=OPTIONS,
            maximum_concurrent_rpcs=MAX_CALLS,
        )
        self._register(rooms)

    def _register(self, rooms: Rooms) -> None:
        gate = Gate(rooms.approvals, threshold=rooms.approval_threshold)
        life, server, requests = self._life, self._server, self._requests
        running, changing = Running(requests, gate, life), Changing(requests, gate)
        fanout = FanoutServicer(rooms.fanouts, running)
        ledger = LedgerServicer(rooms.ledger, rooms.caller, rooms.store, requests, gate, life)
        model = ModelServicer(rooms.endpoints, rooms.cache, rooms.panel, changing)
        fanout_pb2_grpc.add_FanoutServiceServicer_to_server(fanout, server)
        model_pb2_grpc.add_ModelServiceServicer_to_server(model, server)
        ledger_pb2_grpc.add_LedgerServiceServicer_to_server(ledger, server)
        approval_pb2_grpc.add_ApprovalServiceServicer_to_server(
            ApprovalServicer(rooms.approvals, self._requests), server
        )
        trace_pb2_grpc.add_TraceServiceServicer_to_server(TraceServicer(rooms.traces, life), server)
        dataset = DatasetServicer(rooms.datasets, requests, gate, life, self._rules)
        dataset_pb2_grpc.add_DatasetServiceServicer_to_server(dataset, server)
        scorer_pb2_grpc.add_ScorerServiceServicer_to_server(
            ScorerServicer(rooms.scorers, rooms.ledger, rooms.store, requests, gate, life), server
        )
        rubric_pb2_grpc.add_RubricServiceServicer_to_server(RubricServicer(rooms.rubrics, changing), server)
        judge_pb2_grpc.add_JudgeServiceServicer_to_server(JudgeServicer(rooms.judgements, running), server)
        calibration = CalibrationServicer(
            rooms.ratings,
            rooms.calibrations,
            rooms.judgements,
            rooms.datasets,
            rooms.audits,
            requests,
            changing,
            running,
        )
        calibration_pb2_grpc.add_CalibrationServiceServicer_to_server(calibration, server)
        sweep_pb2_grpc.add_SweepServiceServicer_to_server(SweepServicer(rooms.sweeps, running), server)
        trial_pb2_grpc.add_TrialServiceServicer_to_server(TrialServicer(rooms.sweeps, requests, life), server)
        hook_pb2_grpc.add_HookServiceServicer_to_server(HookServicer(rooms.hooks, changing), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = [service.full_name for service in SERVICES]
        reflection.enable_server_reflection([*names, health.SERVICE, reflection.SERVICE_NAME], server)

    async def start(self, address: str, *, insecure: bool = False) -> str:
        """Listen on `host:port` or `unix:PATH` and return the address with the port that was taken. Raises
        `AddressRefused`; an address that others can reach needs `insecure`, because nothing here is encrypted.
        """
        if not address.startswith("unix:") and not _PLACE.fullmatch(address):
            raise AddressRefused(f"{address!r} is no address to listen on. Give HOST:PORT, such as 127.0.0.1:7677.")
        if not insecure and not is_local(address):
            raise AddressRefused(
                f"{address} can be reached from other machines, and calls are not encrypted. Listen on 127.0.0.1, "
                "put a TLS proxy before it, or say --insecure-listen."
            )
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            hint = "Is its path longer than 107 bytes?" if address.startswith("unix:") else "Is another one there?"
            raise AddressRefused(f"The server cannot listen on {address}. {hint}") from error
        await self._server.start()
        if address.startswith("unix:"):
            return address
        return f"{address.rpartition(':')[0]}:{port}"

    def recovered(self) -> None:
        """Say that every run that a crash left has been taken up."""
        self._life.recovered()

    async def stop(self, seconds: float) -> None:
        """Refuse new work, tell watchers, give runs `seconds` to end, close what is open."""
        self._health.stop_serving()
        self._life.drain(seconds)
        await asyncio.gather(*(capability.drain(seconds) for capability in self._capabilities))
        self._life.close()
        self._health.close()
        self._scorers.end_streams()
        await self._server.stop(CLOSE_SECONDS)
        await self._requests.idle(CLOSE_SECONDS)


def is_local(address: str) -> bool:
    """Whether only this machine can reach the address."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
