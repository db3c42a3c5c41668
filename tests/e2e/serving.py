"""A real server in a process of its own, which can be killed and started again, and plain gRPC to it."""

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import grpc
import grpc.aio

from whet.v1 import (
    fanout_pb2_grpc,
    judge_pb2_grpc,
    ledger_pb2,
    ledger_pb2_grpc,
    scorer_pb2_grpc,
    sweep_pb2_grpc,
    trace_pb2_grpc,
    trial_pb2_grpc,
)

PATIENCE = 60.0
"""Seconds: two cores may be busy with other tests; everything waited for takes milliseconds on a quiet machine."""
KEPT = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "PYTHONPATH")
INPUT_PRICE, OUTPUT_PRICE = 1_000, 3_000
"""Nanos a token: what the configuration below says in dollars for a million."""
CHANNEL_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # else a new connection waits out the back-off of one to a killed server
    ("grpc.max_receive_message_length", 64 << 20),
)
Answer_co = TypeVar("Answer_co", covariant=True)
Request_contra = TypeVar("Request_contra", contravariant=True)
RequestT = TypeVar("RequestT")
AnswerT = TypeVar("AnswerT")


class Method(Protocol[Request_contra, Answer_co]):
    """A unary method of a gRPC stub."""

    def __call__(
        self, request: Request_contra, *, timeout: float | None = None, metadata: tuple[tuple[str, str], ...] = ()
    ) -> Awaitable[Answer_co]: ...


def configuration(url: str, models: Sequence[str]) -> str:
    """Two endpoints at the provider stub, so that the circuit of one that fails does not stop the other. Every model
    has a price, except `unpriced`.
    """
    lines = []
    for name in ("stub", "flaky"):
        lines += ["[[endpoint]]", f'name = "{name}"', f'base_url = "{url}"']
        for model in models:
            lines += ["[[endpoint.model]]", f'name = "{model}"', "default_max_tokens = 40"]
            lines += ["[endpoint.model.price]", "input = 1.0", "output = 3.0"]
        lines += ["[[endpoint.model]]", 'name = "unpriced"']
    return "\n".join(lines)


class Wire:
    """One connection with a person's token."""

    def __init__(self, address: str, token: str) -> None:
        self.address = address
        self.token = token
        self.channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        self.metadata = (("authorization", f"Bearer {token}"),)
        self.fanouts = fanout_pb2_grpc.FanoutServiceStub(self.channel)
        self.judges = judge_pb2_grpc.JudgeServiceStub(self.channel)
        self.ledger = ledger_pb2_grpc.LedgerServiceStub(self.channel)
        self.scorers = scorer_pb2_grpc.ScorerServiceStub(self.channel)
        self.sweeps = sweep_pb2_grpc.SweepServiceStub(self.channel)
        self.trials = trial_pb2_grpc.TrialServiceStub(self.channel)
        self.traces = trace_pb2_grpc.TraceServiceStub(self.channel)

    async def ask(self, method: Method[RequestT, AnswerT], request: RequestT) -> AnswerT:
        """Make a unary call."""
        return await method(request, timeout=PATIENCE, metadata=self.metadata)

    async def close(self) -> None:
        await self.channel.close()


@dataclass(slots=True)
class House:
    """A data directory and the server that has it. Every life of the server has a connection of its own."""

    data: Path
    config: str
    lives: int = 0
    seconds_to_ready: list[float] = field(default_factory=list)
    _process: Process | None = None
    _wires: list[Wire] = field(default_factory=list)
    _up: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> Path:
        return self.data.with_name("server.err")

    @property
    def is_up(self) -> bool:
        return self._up.is_set()

    async def start(self) -> Wire:
        """Start the server; return once it has answered a call."""
        start = time.monotonic()
        process = await self._launch()
        async with asyncio.timeout(PATIENCE):
            while not self._says_ready():
                assert process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.01)
        address = json.loads((self.data / "server.json").read_text())["address"]
        wire = Wire(address, (self.data / "person.token").read_text().strip())
        await wire.ask(wire.ledger.ListCaps, ledger_pb2.ListCapsRequest())
        self.seconds_to_ready.append(time.monotonic() - start)
        self.lives += 1
        self._wires.append(wire)
        self._up.set()
        return wire

    async def stumble(self, seconds: float) -> None:
        """Start the server and kill it after this time, ready or not."""
        await self._launch()
        await asyncio.sleep(seconds)
        await self.kill()

    async def wire(self) -> Wire:
        """Return the connection to the server; wait for its next life if it has none."""
        async with asyncio.timeout(PATIENCE):
            await self._up.wait()
        return self._wires[-1]

    async def kill(self) -> None:
        """End the server as a power cut would."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """Ask the server to end; return its exit code."""
        return await self._end(signal.SIGTERM)

    async def close(self) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.kill()
        for wire in self._wires:
            await wire.close()

    def complaints(self) -> list[str]:
        """Return what the servers of all lives have said that is no mere warning."""
        return [line for line in self.log.read_text().splitlines() if '"level":"warning"' not in line.replace(" ", "")]

    async def _launch(self) -> Process:
        file = self.data.with_name("config.toml")
        file.write_text(self.config, encoding="utf-8")
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "whet_server", "--data", str(self.data), "--config", str(file)),
                *("--socket", str(self.data / "s.sock"), "--log-level", "warning"),
                stdout=DEVNULL,
                stderr=log,
                env={name: os.environ[name] for name in KEPT if name in os.environ},
            )
        return self._process

    async def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._up.clear()
        self._process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            return await self._process.wait()

    def _says_ready(self) -> bool:
        note = self.data / "server.json"
        return note.exists() and bool(json.loads(note.read_text())["pid"] == self.pid)


async def repeated(house: House, method: Callable[[Wire], Method[RequestT, AnswerT]], request: RequestT) -> AnswerT:
    """Make a unary call until it is answered, over any number of lives of the server."""
    while True:
        wire, life = await house.wire(), house.lives
        try:
            return await wire.ask(method(wire), request)
        except grpc.aio.AioRpcError as error:
            excuse(house, life, error)


def excuse(house: House, life: int, error: grpc.aio.AioRpcError) -> None:
    """Take a lost connection for what it is when the server was killed; raise everything else."""
    if house.is_up and house.lives == life:
        raise error
    lost = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED}
    if error.code() not in lost:
        raise error
