import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from tests.server.rpc.conftest import Client, Served, refused, serving
from tests.server.rpc.test_approval_gate import decide

from whet.v1 import judging_pb2, model_pb2, scorer_pb2
from whet_eval.provider import ProviderStub
from whet_server.datadir import DataDir

GUNMAN = "police killed the gunman"


def item(candidate: str, reference: str = GUNMAN, **fields: Any) -> scorer_pb2.Item:
    return scorer_pb2.Item(candidates=[candidate], reference=reference, **fields)


async def score(client: Client, *scorers: str, items: Any = (), **request: Any) -> list[judging_pb2.Verdict]:
    made = scorer_pb2.ScoreItemsRequest(items=items or [item("police kill the gunman")], scorers=scorers, **request)
    answer = await client.scorer.ScoreItems(made, metadata=client.metadata, timeout=30)
    return list(answer.verdicts)


async def names(client: Client) -> dict[str, scorer_pb2.ScorerInfo]:
    answer = await client.scorer.ListScorers(scorer_pb2.ListScorersRequest(), metadata=client.metadata, timeout=30)
    return {info.name: info for info in answer.scorers}


async def test_items_are_scored_item_by_item_and_scorer_by_scorer(served: Served) -> None:
    items = [item(GUNMAN), item("police kill the gunman", item_id="x"), item("no reference", "")]
    verdicts = await score(served.person, "exact", "overlap:rouge_l", items=items)
    assert [(each.item_id, each.criterion) for each in verdicts] == [
        (of, criterion) for of in ("1", "x", "3") for criterion in ("exact", "overlap:rouge_l")
    ]
    assert [each.score for each in verdicts[:4]] == [1.0, 1.0, 0.0, 0.75]
    for each in verdicts[4:]:
        assert (each.outcome, each.HasField("score")) == (judging_pb2.OUTCOME_ABSTAINED, False)
        assert "no reference" in each.failure.message


async def test_scorers_with_settings_stand_beside_named_ones_and_are_told_apart(served: Served) -> None:
    detailed = [
        scorer_pb2.Scorer(regex=scorer_pb2.RegexScorer(pattern="^police")),
        scorer_pb2.Scorer(regex=scorer_pb2.RegexScorer(pattern="^gunman", absent=True)),
        scorer_pb2.Scorer(overlap=scorer_pb2.OverlapScorer(metric=scorer_pb2.OVERLAP_METRIC_ROUGE_2)),
        scorer_pb2.Scorer(latency=scorer_pb2.LatencyScorer(target=Duration(seconds=2))),
    ]
    verdicts = await score(served.agent, "exact", items=[item(GUNMAN, latency={"seconds": 5})], detailed=detailed)
    assert [(each.criterion, each.score) for each in verdicts] == [
        *(("exact", 1), ("regex", 1), ("regex (2)", 1), ("overlap:rouge_2", 1), ("latency", 0.5)),
    ]


@pytest.mark.parametrize(
    ("scorers", "detailed", "field"),
    [
        ([], [], "scorers"),
        (["exact", "nothing"], [], "scorers[1]"),
        (["regex:("], [], "scorers[0].regex.pattern"),
        ([], [scorer_pb2.Scorer()], "detailed[0].kind"),
        ([], [scorer_pb2.Scorer(length=scorer_pb2.LengthScorer())], "detailed[0].length"),
        (
            [],
            [scorer_pb2.Scorer(numeric=scorer_pb2.NumericScorer(tolerance=math.nan))],
            "detailed[0].numeric.tolerance",
        ),
    ],
)
async def test_a_scorer_that_cannot_be_used_is_refused_by_its_field(
    served: Served, scorers: list[str], detailed: list[scorer_pb2.Scorer], field: str
) -> None:
    async with refused() as said:
        await score(served.person, *scorers, detailed=detailed)
    assert (said[0].reason, set(said[0].violations)) == ("INVALID_FIELD", {field})


async def test_the_list_says_what_a_scorer_accepts(served: Served) -> None:
    listed = await names(served.person)
    assert {"exact", "overlap:rouge_l", "embedding"} < set(listed)
    schema = json.loads(listed["length"].settings_schema)
    assert schema["properties"]["max"] == {
        "type": "integer",
        "minimum": 0,
        "maximum": 10_000_000,
        "description": "The greatest length; 0 for no limit.",
    }
    assert (listed["length"].unit, listed["length"].direction) == ("tokens", judging_pb2.DIRECTION_LOWER)
    assert "rouge_l" in json.loads(listed["overlap:rouge_l"].settings_schema)["properties"]["metric"]["enum"]
    assert listed["exact"].needs_reference


class Program:
    """A user's program that offers a scorer."""

    def __init__(self, client: Client) -> None:
        self._call: Any = client.scorer.ServeScorer(metadata=client.metadata)

    async def offer(self, name: str = "mine", **offer: Any) -> None:
        await self.send(offer=scorer_pb2.ScorerOffer(name=name, **offer))
        assert (await self.heard()).task_id == ""

    async def send(self, **part: Any) -> None:
        await self._call.write(scorer_pb2.ServeScorerRequest(**part))

    async def answer(self, task_id: str, **answer: Any) -> None:
        await self.send(answer=scorer_pb2.ScorerAnswer(task_id=task_id, **answer))

    async def heard(self) -> scorer_pb2.ServeScorerResponse:
        async with asyncio.timeout(30):
            response = await self._call.read()
        if response is grpc.aio.EOF:
            await self._call  # raises what the server said
        assert isinstance(response, scorer_pb2.ServeScorerResponse)
        return response

    async def ended(self) -> grpc.StatusCode:
        async with asyncio.timeout(30):
            while await self._call.read() is not grpc.aio.EOF:
                pass
            code: grpc.StatusCode = await self._call.code()
            return code

    async def finish(self) -> None:
        await self._call.done_writing()

    def leave(self) -> None:
        self._call.cancel()


@asynccontextmanager
async def program(client: Client) -> AsyncIterator[Program]:
    made = Program(client)
    try:
        yield made
    finally:
        made.leave()


async def test_a_scorer_of_ones_own_is_listed_and_answers_by_id(served: Served) -> None:
    async with program(served.person) as mine:
        await mine.offer(description="Counts.", unit="words", direction=judging_pb2.DIRECTION_LOWER)
        info = (await names(served.agent))["remote:mine"]
        assert (info.unit, info.direction, info.settings_schema) == ("words", judging_pb2.DIRECTION_LOWER, "")
        detailed = [scorer_pb2.Scorer(remote=scorer_pb2.RemoteScorer(name="mine", settings='{"a": 1}'))]
        asked = asyncio.create_task(score(served.agent, "remote:mine", "exact", detailed=detailed))
        tasks = [await mine.heard(), await mine.heard()]
        assert [task.settings for task in tasks] == ["", '{"a": 1}']
        assert tasks[0].item.candidates == ["police kill the gunman"]
        await mine.answer("nobody's", score=1)
        await mine.answer(tasks[1].task_id, score=0.5, value=5, rationale="five")
        await mine.answer(tasks[0].task_id, score=0.25)
        assert [(each.criterion, each.score, each.value) for each in await asked] == [
            *(("remote:mine", 0.25, 0.25), ("exact", 0, 0), ("remote:mine (2)", 0.5, 5)),
        ]


@pytest.mark.parametrize("bad", [{"score": math.nan}, {"score": 2}, {"score": 1, "rationale": "x" * 20_001}])
async def test_an_answer_that_breaks_a_rule_costs_its_task_and_not_the_stream(
    served: Served, bad: dict[str, Any]
) -> None:
    async with program(served.person) as mine:
        await mine.offer()
        asked = asyncio.create_task(score(served.person, "remote:mine", items=[item("a"), item("b")]))
        first, second = await mine.heard(), await mine.heard()
        await mine.answer(first.task_id, **bad)
        await mine.answer(second.task_id, score=1)
        assert [each.outcome for each in await asked] == [
            judging_pb2.OUTCOME_UNPARSEABLE,
            judging_pb2.OUTCOME_SCORED,
        ]


@pytest.mark.parametrize(
    ("first", "then", "field"),
    [
        ({"offer": scorer_pb2.ScorerOffer(name="No Name")}, None, "offer.name"),
        ({"offer": scorer_pb2.ScorerOffer(name="mine", concurrency=1001)}, None, "offer.concurrency"),
        ({"answer": scorer_pb2.ScorerAnswer(task_id="t1")}, None, "offer"),
        ({}, None, "offer"),
        ({"offer": scorer_pb2.ScorerOffer(name="mine")}, {"offer": scorer_pb2.ScorerOffer(name="other")}, "answer"),
        ({"offer": scorer_pb2.ScorerOffer(name="mine")}, {}, "answer"),
    ],
)
async def test_what_is_no_offer_and_no_answer_ends_the_stream_with_the_field(
    served: Served, first: dict[str, Any], then: dict[str, Any] | None, field: str
) -> None:
    async with program(served.person) as mine, refused() as said:
        await mine.send(**first)
        if then is not None:
            await mine.heard()
            await mine.send(**then)
        await mine.heard()
    assert (said[0].reason, set(said[0].violations)) == ("INVALID_FIELD", {field})


async def test_a_message_that_cannot_be_read_ends_the_stream_with_a_reason(served: Served) -> None:
    raw: Any = served.channel.stream_stream("/whet.v1.ScorerService/ServeScorer")
    call = raw(metadata=served.person.metadata)
    await call.write(b"\xff\xff\xff")
    async with refused() as said:
        await call.read()
        await call
    assert said[0].reason == "MALFORMED_MESSAGE"


async def test_a_name_is_taken_until_its_stream_ends(served: Served) -> None:
    async with program(served.person) as first, program(served.person) as second, program(served.stranger) as theirs:
        await first.offer()
        await theirs.offer()
        async with refused() as said:
            await second.offer()
        assert (said[0].reason, said[0].metadata["scorer"]) == ("WRONG_STATE", "mine")
        await first.finish()
        assert await first.ended() is grpc.StatusCode.OK
        async with program(served.person) as third:
            await third.offer()
    assert "remote:mine" not in await names(served.agent)


async def test_a_program_that_goes_away_leaves_failures_and_no_scores(served: Served) -> None:
    async with program(served.person) as mine:
        await mine.offer()
        asked = asyncio.create_task(score(served.person, "remote:mine"))
        await mine.heard()
        mine.leave()
        (verdict,) = await asked
    assert (verdict.outcome, verdict.HasField("score")) == (judging_pb2.OUTCOME_FAILED, False)
    assert verdict.failure.transient
    async with refused() as said:
        await score(served.person, "remote:mine")
    assert (said[0].code, said[0].reason) == ("NOT_FOUND", "SCORER_NOT_FOUND")


async def test_a_server_that_stops_ends_the_streams(directory: DataDir) -> None:
    async with serving(directory) as served, program(served.person) as mine:
        await mine.offer()
        await served.server.stop(0)
        assert await mine.ended() is grpc.StatusCode.OK


async def test_an_agent_s_dear_embeddings_wait_for_a_person_and_are_paid_once(served: Served) -> None:
    async with ProviderStub() as stub:
        settings = model_pb2.PutEndpointRequest(name="vectors", base_url=stub.url)
        settings.models.add(model="embed").price.input_nanos_per_million = 10**15
        await served.person.model.PutEndpoint(settings, metadata=served.person.metadata)
        async with refused() as said:
            await score(served.agent, "embedding:vectors/embed", request_id="r1")
        assert said[0].reason == "APPROVAL_REQUIRED"
        assert stub.bill.charges == []
        await decide(served.person, said[0], grant=True)
        first = await score(served.agent, "embedding:vectors/embed", request_id="r1")
        again = await score(served.agent, "embedding:vectors/embed", request_id="r1")
        assert first[0].score == again[0].score
        assert first[0].totals.settled.nanos == 8 * 10**9
        assert len(stub.bill.charges) == 1
        async with refused() as said:
            await score(served.person, "embedding:vectors/embed", "exact", request_id="r1")
        assert said[0].reason == "REQUEST_ID_REUSED"
