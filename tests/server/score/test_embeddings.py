import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.server.llm.house import HOME, RUN, House, open_house

from whet_server.errors import EndpointNotFound, Reason
from whet_server.judging import Item, Outcome, Verdict
from whet_server.ledger.prices import Price
from whet_server.llm.base import EndpointSettings, ModelSettings
from whet_server.score.scorers import Scorers
from whet_server.score.spec import EmbeddingScorer
from whet_server.values import Billing, ModelName, Nanos

PRICE = Price(input=1_000_000_000, output=0, source="endpoint")
"""A thousand nanos a token."""
MODELS = ("embed", "embed?floats=1", "embed?silent=1", "embed?lose=1", "embed?longest=10")


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with open_house() as made:
        settings = EndpointSettings(
            name="vectors",
            base_url=made.stub.url,
            models=tuple(ModelSettings(model=name, price=PRICE) for name in MODELS),
        )
        await made.endpoints.put(HOME, settings, None)
        refused = EndpointSettings(
            name="gone", base_url=made.stub.refused_url, models=(ModelSettings(model="embed", price=PRICE),)
        )
        await made.endpoints.put(HOME, refused, None)
        yield made


@pytest.fixture
async def scorers(house: House) -> AsyncIterator[Scorers]:
    made = Scorers(house.caller, house.endpoints)
    try:
        yield made
    finally:
        await made.close()


def item(candidate: str, reference: str) -> Item:
    return Item(item_id="1", candidates=(candidate,), reference=reference)


async def scored(
    scorers: Scorers, candidate: str, reference: str, model: str = "vectors/embed", run_cap: int | None = None
) -> Verdict:
    cap = None if run_cap is None else Nanos(run_cap)
    scorer = EmbeddingScorer(model=ModelName(model))
    return await scorers.score(HOME, RUN, item(candidate, reference), "c", scorer, run_cap=cap)


@pytest.mark.parametrize("model", ["vectors/embed", "vectors/embed?floats=1"])
async def test_an_endpoint_s_vectors_are_compared_and_paid(scorers: Scorers, house: House, model: str) -> None:
    verdict = await scored(scorers, "a b", "a c", model)
    assert (verdict.outcome, verdict.model) == (Outcome.SCORED, model)
    assert verdict.score == pytest.approx(0.5)
    assert (verdict.totals.settled, verdict.totals.usage.input_tokens, verdict.totals.attempts) == (4_000, 4, 1)
    assert house.ledger.run_totals(RUN).settled == 4_000
    assert [charge.prompt for charge in house.stub.bill.charges] == ["a b\na c"]


async def test_texts_that_come_together_travel_together_and_are_paid_once(scorers: Scorers, house: House) -> None:
    verdicts = await asyncio.gather(*(scored(scorers, f"word{'x' * n}", "reference") for n in range(40)))
    assert len(house.stub.bill.charges) == 2
    assert sum(verdict.totals.settled for verdict in verdicts) == 41_000
    assert house.ledger.run_totals(RUN).settled == 41_000


async def test_a_vector_that_is_known_is_not_asked_for_again(scorers: Scorers, house: House) -> None:
    await scored(scorers, "a b", "a c")
    again = await scored(scorers, "a b", "a c")
    other = await scored(scorers, "new", "a c")
    assert again.score == pytest.approx(0.5)
    assert (again.totals.attempts, other.totals.attempts) == (0, 1)
    assert [charge.prompt for charge in house.stub.bill.charges] == ["a b\na c", "new"]


async def test_a_cap_stands_in_the_way_before_anything_is_sent(scorers: Scorers, house: House) -> None:
    verdict = await scored(scorers, "a b", "a c", run_cap=100)
    assert (verdict.outcome, verdict.score) == (Outcome.UNAFFORDABLE, None)
    assert verdict.failure is not None
    assert verdict.failure.reason == Reason.CAP_EXCEEDED
    assert house.stub.bill.charges == []


async def test_what_nobody_reports_stays_unknown_at_its_worst(scorers: Scorers, house: House) -> None:
    verdict = await scored(scorers, "a b", "a c", "vectors/embed?silent=1")
    assert verdict.score == pytest.approx(0.5)
    assert verdict.totals.unknown == (2 * (3 + 16)) * 1_000
    entries = await house.store.reservations(HOME, run_id=RUN, limit=10)
    assert [entry.billing for entry in entries] == [Billing.UNKNOWN]


async def test_an_answer_that_lacks_a_vector_is_a_failure_and_paid(scorers: Scorers, house: House) -> None:
    verdict = await scored(scorers, "a b", "a c", "vectors/embed?lose=1")
    assert (verdict.outcome, verdict.score) == (Outcome.FAILED, None)
    assert verdict.failure is not None
    assert (verdict.failure.reason, verdict.totals.settled) == (Reason.PROTOCOL_VIOLATION, 4_000)


async def test_a_text_that_is_refused_costs_no_other_its_score(scorers: Scorers, house: House) -> None:
    good, bad = await asyncio.gather(
        scored(scorers, "a b", "a c", "vectors/embed?longest=10"),
        scored(scorers, "far too long a text", "a c", "vectors/embed?longest=10"),
    )
    assert (good.outcome, bad.outcome) == (Outcome.SCORED, Outcome.FAILED)
    assert bad.failure is not None
    assert bad.failure.reason == Reason.REQUEST_REFUSED


async def test_an_endpoint_that_is_not_there_is_tried_again_and_then_failed(scorers: Scorers, house: House) -> None:
    verdict = await scored(scorers, "a b", "a c", "gone/embed")
    assert (verdict.outcome, verdict.totals.settled, verdict.totals.unknown) == (Outcome.FAILED, 0, 0)
    assert verdict.totals.attempts > 1


async def test_who_leaves_takes_no_vector_from_those_who_stay(scorers: Scorers, house: House) -> None:
    leaving = asyncio.create_task(scored(scorers, "a b", "a c"))
    staying = asyncio.create_task(scored(scorers, "a b", "a d"))
    while not scorers._embeddings._tasks:  # noqa: ASYNC110 -- one turn of the loop at a time, until the request is made
        await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).score == pytest.approx(0.5)


async def test_an_empty_text_is_not_sent(scorers: Scorers, house: House) -> None:
    assert (await scored(scorers, " ", "a c")).outcome is Outcome.ABSTAINED
    assert house.stub.bill.charges == []


async def test_the_worst_cost_counts_every_text_once(scorers: Scorers, house: House) -> None:
    items = [item("a b", "a c"), item("a b", "a d")]
    plan = await scorers.forecast(HOME, items, [EmbeddingScorer(model=ModelName("vectors/embed")), EmbeddingScorer()])
    assert (plan.calls, plan.worst, plan.unbounded) == (1, 3 * (3 + 16) * 1_000, False)
    assert (await scorers.forecast(HOME, items, [EmbeddingScorer()])).calls == 0


async def test_an_endpoint_must_be_known(scorers: Scorers) -> None:
    with pytest.raises(EndpointNotFound):
        scorers.check(HOME, EmbeddingScorer(model=ModelName("nowhere/model")), "c")
