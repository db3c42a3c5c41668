"""JudgeService over the wire: judge, follow, page, cancel, and what an agent may not do alone."""

from tests.server.rpc.conftest import Client, Served, refused
from tests.server.rpc.test_approval_gate import decide
from tests.server.rpc.test_calibration import MODEL, TEXT, answers, put_rubric

from whet.v1 import event_pb2, judge_pb2, judging_pb2, scorer_pb2, value_pb2
from whet_server.rpc.interceptors import LARGE

DEAR = f"{MODEL}&price_out=900000000000000"
"""Above every threshold."""


def spec(count: int = 4, model: str = MODEL) -> judge_pb2.JudgementSpec:
    return judge_pb2.JudgementSpec(
        items=answers(count),
        judge=judging_pb2.Judge(rubric="problem-solving", models=[model]),
        scorers=["contains:because"],
    )


async def run(client: Client, request: judge_pb2.RunJudgementRequest) -> tuple[str, list[event_pb2.Event]]:
    events: list[event_pb2.Event] = []
    run_id = ""
    async for response in client.judge.RunJudgement(request, metadata=client.metadata, timeout=30):
        run_id = response.run_id
        events.extend(response.batch.events)
    return run_id, events


async def page(client: Client, **request: object) -> judge_pb2.GetJudgementResponse:
    return await client.judge.GetJudgement(judge_pb2.GetJudgementRequest(**request), metadata=client.metadata)  # type: ignore[arg-type]


async def test_a_judgement_is_streamed_from_its_opening_to_its_end(served: Served) -> None:
    run_id, events = await run(served.person, judge_pb2.RunJudgementRequest(spec=spec()))
    kinds = [event.WhichOneof("payload") for event in events if event.sequence]
    assert kinds[0] == "run_opened"
    assert kinds[-2:] == ["judgement_summed", "run_finished"]
    assert kinds.count("verdicts_reached") == 8
    assert events[0].run_opened.kind == event_pb2.RUN_KIND_JUDGEMENT
    assert list(events[0].run_opened.judgement.criteria) == ["problem-solving", "contains"]
    assert events[-1].run_finished.state == event_pb2.RUN_STATE_SUCCEEDED
    shown = (await page(served.person, run_id=run_id)).judgement
    assert shown.combined.scored_items == 4
    assert shown.criteria[0].simulated
    watched = [
        event
        async for response in served.person.judge.WatchJudgement(
            judge_pb2.WatchJudgementRequest(run_id=run_id), metadata=served.person.metadata, timeout=30
        )
        for event in response.batch.events
    ]
    assert [event.hash for event in watched] == [event.hash for event in events if event.sequence]


async def test_the_same_request_id_starts_one_judgement(served: Served) -> None:
    start = judge_pb2.StartJudgementRequest(request_id="j1", spec=spec())
    first = await served.person.judge.StartJudgement(start, metadata=served.person.metadata)
    second = await served.person.judge.StartJudgement(start, metadata=served.person.metadata)
    assert (first.started, second.started) == (True, False)
    assert first.judgement.run_id == second.judgement.run_id


async def test_items_come_in_pages_in_the_order_that_was_asked_for(served: Served) -> None:
    run_id, _ = await run(served.person, judge_pb2.RunJudgementRequest(spec=spec(7)))
    found: list[judge_pb2.JudgedItem] = []
    token = ""
    while True:
        part = await page(
            served.person, run_id=run_id, page=value_pb2.Page(size=3, token=token), order=judge_pb2.ITEM_ORDER_SCORE
        )
        found.extend(part.items)
        token = part.next_page_token
        if not token:
            break
    assert len(found) == len({item.item.item_id for item in found}) == 7
    scores = [item.score for item in found]
    assert scores == sorted(scores)
    assert all(len(item.verdicts) == 2 and len(item.subject) == 64 for item in found)
    none = await page(served.person, run_id=run_id, outcome=judging_pb2.OUTCOME_FAILED)
    assert (len(none.items), none.rated_items) == (0, 0)
    async with refused() as said:
        await page(served.person, run_id=run_id, page=value_pb2.Page(token="abcd"))
    assert "page.token" in said[0].violations


async def test_a_plan_that_no_longer_holds_is_refused(served: Served) -> None:
    planned = await served.person.judge.PlanJudgement(
        judge_pb2.PlanJudgementRequest(spec=spec()), metadata=served.person.metadata
    )
    assert (planned.calls, planned.plan.verdicts, planned.needs_approval) == (4, 8, False)
    await run(served.person, judge_pb2.RunJudgementRequest(spec=spec(), plan_hash=planned.plan_hash))
    async with refused() as said:
        await run(served.person, judge_pb2.RunJudgementRequest(spec=spec(5), plan_hash=planned.plan_hash))
    assert said[0].reason == "PLAN_CHANGED"


async def test_an_agents_dear_judgement_waits_for_a_person(served: Served) -> None:
    request = judge_pb2.RunJudgementRequest(request_id="a1", spec=spec(model=DEAR))
    async with refused() as said:
        await run(served.agent, request)
    assert said[0].reason == "APPROVAL_REQUIRED"
    await decide(served.person, said[0], grant=True)
    run_id, events = await run(served.agent, request)
    assert events[0].run_opened.role == "agent"
    assert (await run(served.agent, request))[0] == run_id


async def test_a_grant_is_for_the_words_that_were_approved_and_not_for_newer_ones(served: Served) -> None:
    await put_rubric(served.person)
    dear = spec(model=DEAR)
    dear.judge.rubric = "pertinent"
    request = judge_pb2.RunJudgementRequest(request_id="a1", spec=dear)
    async with refused() as said:
        await run(served.agent, request)
    await decide(served.person, said[0], grant=True)
    await put_rubric(served.person, TEXT.replace("nearly all", "almost all"))
    async with refused() as again:
        await run(served.agent, request)
    assert again[0].reason == "APPROVAL_REQUIRED"
    assert again[0].metadata["digest"] != said[0].metadata["digest"]


async def test_an_agent_may_cancel_what_an_agent_began_and_needs_approval_for_a_persons(served: Served) -> None:
    slow = judge_pb2.StartJudgementRequest(spec=spec(model="sim/judge?first_ms=3600000"))

    async def started(client: Client) -> str:
        return (await client.judge.StartJudgement(slow, metadata=client.metadata)).judgement.run_id

    async def cancel(client: Client, run_id: str) -> judge_pb2.Judgement:
        request = judge_pb2.CancelJudgementRequest(run_id=run_id)
        return (await client.judge.CancelJudgement(request, metadata=client.metadata)).judgement

    assert (await cancel(served.agent, await started(served.agent))).state == event_pb2.RUN_STATE_CANCELLED
    of_person = await started(served.person)
    async with refused() as said:
        await cancel(served.agent, of_person)
    assert said[0].reason == "APPROVAL_REQUIRED"
    ended = await cancel(served.person, of_person)
    (judged,) = [summary for summary in ended.criteria if summary.criterion == "problem-solving"]
    assert {count.outcome: count.count for count in judged.outcomes} == {judging_pb2.OUTCOME_CANCELLED: 4}


async def test_a_judgement_of_another_workspace_does_not_exist(served: Served) -> None:
    run_id, _ = await run(served.person, judge_pb2.RunJudgementRequest(spec=spec()))
    async with refused() as said:
        await page(served.stranger, run_id=run_id)
    assert said[0].reason == "RUN_NOT_FOUND"
    listed = await served.stranger.judge.ListJudgements(
        judge_pb2.ListJudgementsRequest(), metadata=served.stranger.metadata
    )
    assert not listed.judgements
    mine = await served.person.judge.ListJudgements(judge_pb2.ListJudgementsRequest(), metadata=served.person.metadata)
    assert [each.run_id for each in mine.judgements] == [run_id]
    assert mine.judgements[0].verdicts == 8


async def test_a_criterion_says_who_decides_it(served: Served) -> None:
    wrong = judge_pb2.JudgementSpec(
        items=answers(1), criteria=[judge_pb2.Criterion(name="x", scorer=scorer_pb2.Scorer())]
    )
    async with refused() as said:
        await run(served.person, judge_pb2.RunJudgementRequest(spec=wrong))
    assert list(said[0].violations) == ["spec.criteria[0].scorer.kind"]


async def test_a_cap_holds_and_what_it_leaves_is_spent_before_anything_is_refused(served: Served) -> None:
    """Twenty questions at once reserve far more than the cap allows, which pays for nine and one that is held."""
    priced = f"{MODEL}&price_out=1000000&first_ms=0&rate=1000000"
    one_id, _ = await run(served.person, judge_pb2.RunJudgementRequest(spec=spec(1, priced)))
    paid = (await page(served.person, run_id=one_id)).judgement.totals.settled.nanos
    planned = await served.person.judge.PlanJudgement(
        judge_pb2.PlanJudgementRequest(spec=spec(1, priced)), metadata=served.person.metadata
    )
    capped = spec(40, priced)
    capped.concurrency = 20
    capped.cache.bypass = True
    capped.cap.nanos = 9 * paid + planned.worst_cost.nanos
    run_id, events = await run(served.person, judge_pb2.RunJudgementRequest(spec=capped))
    judgement = (await page(served.person, run_id=run_id)).judgement
    (judged,) = [summary for summary in judgement.criteria if summary.criterion == "problem-solving"]
    counts = {count.outcome: count.count for count in judged.outcomes}
    assert set(counts) == {judging_pb2.OUTCOME_SCORED, judging_pb2.OUTCOME_UNAFFORDABLE}
    assert sum(counts.values()) == 40
    assert counts[judging_pb2.OUTCOME_SCORED] >= 9
    assert judgement.totals.settled.nanos <= capped.cap.nanos
    assert not judgement.totals.unknown.nanos
    assert events[-1].run_finished.state == event_pb2.RUN_STATE_PARTIAL


async def test_a_large_request_is_held_to_the_rules_like_a_small_one(served: Served) -> None:
    large = spec(400)
    for item in large.items:
        item.input = "Why? " * 200
    assert large.ByteSize() > LARGE
    large.items[-1].item_id = "x" * 10_000
    async with refused() as said:
        await served.person.judge.PlanJudgement(
            judge_pb2.PlanJudgementRequest(spec=large), metadata=served.person.metadata
        )
    assert "spec.items[399].item_id" in str(said)
