import random
from collections import Counter

import pytest
from tests.e2e import bill
from tests.e2e.serving import PATIENCE, House, Wire

from whet.v1 import error_reason_pb2, event_pb2, fanout_pb2, judge_pb2, judging_pb2, scorer_pb2, trace_pb2

MODEL = "stub/judge?first_ms=60"
ITEMS = 150
IN_FLIGHT = 10


def request() -> judge_pb2.StartJudgementRequest:
    answers = [
        f"The sky is blue because air scatters short waves more. This is answer {bill.mark(at)}." for at in range(ITEMS)
    ]
    spec = judge_pb2.JudgementSpec(
        items=[
            scorer_pb2.Item(input="Why is the sky blue?", candidates=[answer], reference=answer) for answer in answers
        ],
        judge=judging_pb2.Judge(models=[MODEL]),
        scorers=["exact"],
        concurrency=IN_FLIGHT,
        cache=fanout_pb2.CacheUse(bypass=True),
    )
    return judge_pb2.StartJudgementRequest(request_id="judged", spec=spec)


async def watched(wire: Wire, run_id: str) -> list[event_pb2.Event]:
    """Follow the judgement to its end."""
    watch = judge_pb2.WatchJudgementRequest(run_id=run_id)
    return [
        event
        async for response in wire.judges.WatchJudgement(watch, timeout=PATIENCE, metadata=wire.metadata)
        for event in response.batch.events
        if event.sequence
    ]


async def until(wire: Wire, run_id: str, verdicts: int) -> None:
    """Follow the judgement until so many verdicts of its judge are in."""
    count = 0
    watch = judge_pb2.WatchJudgementRequest(run_id=run_id)
    async for response in wire.judges.WatchJudgement(watch, timeout=PATIENCE, metadata=wire.metadata):
        for event in response.batch.events:
            count += sum(bool(verdict.judge) for verdict in event.verdicts_reached.verdicts)
        if count >= verdicts:
            return


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_a_judgement_outlives_kills_and_asks_nothing_twice(house: House, stub: str, seed: int) -> None:
    draw = random.Random(seed)
    wire = await house.start()
    run_id = (await wire.ask(wire.judges.StartJudgement, request())).judgement.run_id
    kills = 3
    for life in range(kills):
        await until(wire, run_id, 1 + ITEMS * life // (kills + 1) + draw.randint(0, 20))
        await house.kill()
        wire = await house.start()
    again = await wire.ask(wire.judges.StartJudgement, request())
    events = await watched(wire, run_id)
    verdicts = [verdict for event in events for verdict in event.verdicts_reached.verdicts]
    judged = [verdict for verdict in verdicts if verdict.judge]
    lost = [verdict for verdict in judged if verdict.outcome == judging_pb2.OUTCOME_FAILED]
    assert (again.judgement.run_id, again.started) == (run_id, False)
    assert Counter(verdict.item_id for verdict in judged) == dict.fromkeys(map(str, range(1, ITEMS + 1)), 1)
    assert Counter(verdict.item_id for verdict in verdicts if not verdict.judge).keys() == {v.item_id for v in judged}
    assert {verdict.outcome for verdict in judged} <= {judging_pb2.OUTCOME_SCORED, judging_pb2.OUTCOME_FAILED}
    assert {verdict.failure.reason for verdict in lost} <= {error_reason_pb2.ERROR_REASON_INTERRUPTED}
    assert len(lost) <= kills * IN_FLIGHT
    asked = Counter(owed.question for owed in await bill.charges(stub))
    assert max(asked.values()) == 1, asked.most_common(3)
    proved = await wire.ask(wire.traces.VerifyTrace, trace_pb2.VerifyTraceRequest(run_id=run_id))
    assert proved.valid
