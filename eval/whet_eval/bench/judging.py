"""What a judgement adds to the calls it makes: a thousand items, judged by an upstream that takes 0.2 seconds."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import grpc.aio

from whet.v1 import fanout_pb2, judge_pb2, judge_pb2_grpc, judging_pb2, scorer_pb2
from whet_eval.bench.children import Server, priced
from whet_eval.bench.figure import Figure, median

ITEMS: Final = 1_000
IN_FLIGHT: Final = 100
FIRST_MS: Final = 200
IDEAL: Final = ITEMS / IN_FLIGHT * FIRST_MS / 1_000
"""Seconds that nothing can undercut."""
BAR: Final = 1.3
ROUNDS: Final = 3
PLANNED: Final = 10_000
PLAN_BAR: Final = 2.0
"""Seconds: somebody waits before they say yes."""
MODEL: Final = f"judge?chunks=20&first_ms={FIRST_MS}"

_OPTIONS: Final = (("grpc.max_receive_message_length", 64 << 20),)


def config(url: str) -> str:
    """Return a configuration with what is asked here."""
    return priced(url, MODEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A judgement as its client saw it."""

    seconds: float
    scored: int
    run_id: str


class Client:
    """A client with one channel."""

    def __init__(self, server: Server) -> None:
        self._channel = grpc.aio.insecure_channel(server.address, options=_OPTIONS)
        self._stub = judge_pb2_grpc.JudgeServiceStub(self._channel)
        self._metadata = (("authorization", f"Bearer {server.token}"),)

    async def judge(self, spec: judge_pb2.JudgementSpec) -> Judged:
        """Judge to the end, reading every event."""
        start, scored, run_id = time.perf_counter(), 0, ""
        async for response in self._stub.RunJudgement(
            judge_pb2.RunJudgementRequest(spec=spec), metadata=self._metadata
        ):
            run_id = response.run_id
            for event in response.batch.events:
                for verdict in event.verdicts_reached.verdicts:
                    scored += verdict.outcome == judging_pb2.OUTCOME_SCORED
        return Judged(seconds=time.perf_counter() - start, scored=scored, run_id=run_id)

    async def plan(self, spec: judge_pb2.JudgementSpec) -> float:
        """Return how many seconds a plan takes."""
        start = time.perf_counter()
        await self._stub.PlanJudgement(judge_pb2.PlanJudgementRequest(spec=spec), metadata=self._metadata)
        return time.perf_counter() - start

    async def page(self, run_id: str) -> float:
        """Return how many seconds a page of a judgement takes, the greatest disagreement first."""
        start = time.perf_counter()
        request = judge_pb2.GetJudgementRequest(run_id=run_id, order=judge_pb2.ITEM_ORDER_DISAGREEMENT)
        await self._stub.GetJudgement(request, metadata=self._metadata)
        return time.perf_counter() - start

    async def close(self) -> None:
        await self._channel.close()


def spec(count: int, number: int) -> judge_pb2.JudgementSpec:
    """Describe a judgement of made-up answers that always goes to the provider."""
    answer = "The sky is blue because air scatters short waves of light more than long ones, as Rayleigh found. "
    return judge_pb2.JudgementSpec(
        items=[
            scorer_pb2.Item(input="Why is the sky blue?", candidates=[f"{answer * 4}This is answer {at} of {number}."])
            for at in range(count)
        ],
        judge=judging_pb2.Judge(models=[f"stub/{MODEL}"]),
        concurrency=IN_FLIGHT,
        cache=fanout_pb2.CacheUse(bypass=True),
    )


async def judging(server: Server) -> AsyncIterator[Figure]:
    """Wall time of a judgement over its ideal, and how quickly it is planned and paged through."""
    client = Client(server)
    try:
        walls = []
        for number in range(ROUNDS + 1):
            judged = await client.judge(spec(ITEMS, number))
            if judged.scored != ITEMS:
                raise RuntimeError(f"{judged.scored} of {ITEMS} items have a score")
            if number:  # the first round warms up
                walls.append(judged.seconds)
        plan = await client.plan(spec(PLANNED, 0))
        page = await client.page(judged.run_id)
    finally:
        await client.close()
    note = f"{median(walls):.2f} s, ideal {IDEAL:.1f} s; {min(walls):.2f} to {max(walls):.2f} s"
    yield Figure(
        name=f"{ITEMS} judged items, {IN_FLIGHT} in flight, wall / ideal",
        value=median(walls) / IDEAL,
        unit="x",
        bar=BAR,
        note=note,
    )
    yield Figure(name=f"plan of {PLANNED} judged items", value=plan, unit="s", bar=PLAN_BAR)
    yield Figure(name=f"page of {ITEMS} judged items, disagreements first", value=page * 1e3, unit="ms")
