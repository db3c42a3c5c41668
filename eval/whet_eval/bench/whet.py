"""Whet's side of the comparison, through gRPC as any client makes the call."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from whet.v1 import event_pb2, fanout_pb2, fanout_pb2_grpc, value_pb2
from whet_eval.bench.children import Server

_OPTIONS = (("grpc.max_receive_message_length", 64 << 20),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One fan-out as its client saw it: seconds, characters of finished branches, seconds to the first draft text."""

    seconds: float
    characters: int
    done: int
    first_draft: float | None = None


class Client:
    """A client with one channel, kept over many calls."""

    def __init__(self, server: Server) -> None:
        self._channel = grpc.aio.insecure_channel(server.address, options=_OPTIONS)
        self._stub = fanout_pb2_grpc.FanoutServiceStub(self._channel)
        self._nothing = self._channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        self._metadata = (("authorization", f"Bearer {server.token}"),)

    async def run(self, spec: fanout_pb2.FanoutSpec) -> Outcome:
        """Run a fan-out to its end."""
        start = time.perf_counter()
        characters = done = 0
        first_draft: float | None = None
        async for event in self._events(spec):
            kind = event.WhichOneof("payload")
            if kind == "branch_finished":
                characters += len(event.branch_finished.text)
                done += event.branch_finished.state == event_pb2.BRANCH_STATE_DONE
            elif kind == "draft_delta" and first_draft is None:
                first_draft = time.perf_counter() - start
        seconds = time.perf_counter() - start
        return Outcome(seconds=seconds, characters=characters, done=done, first_draft=first_draft)

    async def round_trip(self) -> float:
        """Return the seconds of a gRPC call that does nothing."""
        start = time.perf_counter()
        await self._nothing(health_pb2.HealthCheckRequest())
        return time.perf_counter() - start

    async def _events(self, spec: fanout_pb2.FanoutSpec) -> AsyncIterator[event_pb2.Event]:
        call = self._stub.RunFanout(fanout_pb2.RunFanoutRequest(spec=spec), metadata=self._metadata)
        async for response in call:
            for event in response.batch.events:
                yield event

    async def close(self) -> None:
        await self._channel.close()


def spec(model: str, prompt: str, branches: int) -> fanout_pb2.FanoutSpec:
    """Describe a fan-out of equal branches that always goes to the provider: no cache, no synthesis."""
    return fanout_pb2.FanoutSpec(
        prompt=prompt,
        models=[model] * branches,
        parameters=value_pb2.Parameters(max_tokens=64),
        synthesis=fanout_pb2.Synthesis(mode=fanout_pb2.SYNTHESIS_MODE_NONE),
        cache=fanout_pb2.CacheUse(bypass=True),
    )
