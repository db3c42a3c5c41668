from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from tests.server.judge.bench import rubric
from tests.server.sweep.bench import House, choices, means, whole

from whet_server.judge.spec import Asked
from whet_server.judging import Item, Judge
from whet_server.ledger.prices import Price
from whet_server.llm.keys import Sealer
from whet_server.llm.registry import Endpoints
from whet_server.score import names
from whet_server.score.scorers import Scorers
from whet_server.store.memory import MemoryStore
from whet_server.sweep.forecast import Answers, Costs, costs
from whet_server.sweep.spec import Pipeline, Stage, SweepRecord, SweepSpec
from whet_server.sweep.target import open_target
from whet_server.sweeping import Racing, RacingMethod, SearchDimension, SweepPlan
from whet_server.values import ModelName, Parameters

ITEMS = (Item(item_id="a", input="Sixbyt", reference="x"), Item(item_id="b", input="Six by", reference="y"))
DEAR = Price(input=10_000_000_000, output=20_000_000_000)
EXACT = Asked(name="exact", scorer=names.named("exact"))
WORST = (6 + 16) * 1000 + 10 * 2000
"""Nanos of a call: six bytes and what a message costs, and ten tokens of an answer."""
PLAN = SweepPlan(trials=3, cases=2, racing=Racing(method=RacingMethod.NONE), concurrency=2, trials_at_once=1)


@pytest.fixture
async def scorers() -> AsyncIterator[Scorers]:
    endpoints = await Endpoints.open(MemoryStore(), sealer=Sealer(bytes(32)), transports={}, configured=())
    there = Scorers(house(), endpoints)
    yield there
    await there.close()


def house(**more: Any) -> House:
    return House({"a/one": str, "a/dear": str, "a/free": str, "j/one": str}, {"a/dear": DEAR, "a/free": None}, **more)


def stage(name: str = "answer", **more: Any) -> Stage:
    asked: dict[str, Any] = {"template": "{{ input }}", "model": ModelName("a/one")}
    return Stage(name=name, parameters=Parameters(max_tokens=10), **(asked | more))


async def forecast(
    scorers: Scorers,
    stages: Sequence[Stage],
    *space: SearchDimension,
    plan: SweepPlan = PLAN,
    criteria: Sequence[Asked] = (EXACT,),
    items: Sequence[Item] = ITEMS,
    caller: House | None = None,
) -> Costs:
    caller = caller or house()
    spec = SweepSpec(pipeline=Pipeline(stages=tuple(stages)), space=space)
    made = means(caller, spec)
    target = open_target(spec, made, items)
    models = await target.check()
    record = SweepRecord(spec=spec, plan=plan, criteria=tuple(criteria))
    return await costs(target, made, scorers, record, items, models)


async def test_every_answer_is_counted_with_the_most_it_can_cost(scorers: Scorers) -> None:
    found = await forecast(scorers, [stage()])
    assert (found.calls, found.cache_hits) == (6, 0)
    assert found.worst == 6 * WORST
    assert found.expected == 6 * (6 * 1000 + 10 * 2000) // 2
    assert 0 < found.low < found.worst
    assert found.duration_ns > 0


async def test_the_worst_takes_the_dearest_choice_and_the_longest_text(scorers: Scorers) -> None:
    dear = await forecast(scorers, [stage()], choices("answer.model", "a/one", "a/dear"))
    assert dear.worst == 10 * 6 * WORST
    assert 6 * WORST < 2 * dear.expected < dear.worst
    longer = await forecast(
        scorers, [stage()], choices("answer.template", a="{{ input }}", b="{{ input }}" + "x" * 100)
    )
    assert longer.worst == 6 * (WORST + 100 * 1000)
    tokens = await forecast(scorers, [stage()], whole("answer.max_tokens", 5, 30))
    assert tokens.worst == 6 * (WORST + 20 * 2000)
    spoken = await forecast(
        scorers, [stage(template="{{ input }}{{ params.tone }}")], choices("tone", short="ab", long="abcdefgh")
    )
    assert spoken.worst == 6 * (WORST + 8 * 1000)


async def test_a_later_stage_reads_the_longest_answer_there_can_be(scorers: Scorers) -> None:
    found = await forecast(scorers, [stage(), stage("final", template="{{ answer }}")])
    assert found.calls == 12
    assert found.worst == 6 * (WORST + WORST + (10 * 8 - 6) * 1000)


async def test_judges_are_counted_with_one_repair_each(scorers: Scorers) -> None:
    judge = Asked(name="two", judge=Judge(models=(ModelName("j/one"),), samples=2), rubric=rubric())
    alone = await forecast(scorers, [stage()])
    found = await forecast(scorers, [stage()], criteria=(EXACT, judge))
    assert found.calls == 3 * alone.calls
    assert found.expected > alone.expected
    assert found.worst > alone.worst + 6 * 2 * 2 * 500 * 2000


async def test_models_without_a_price_cost_nothing_that_can_be_said(scorers: Scorers) -> None:
    found = await forecast(scorers, [stage(model=ModelName("a/free"))])
    assert (found.low, found.worst, found.calls) == (0, 0, 6)


async def test_what_the_cache_has_is_counted(scorers: Scorers) -> None:
    found = await forecast(scorers, [stage()], caller=house(cached=True))
    assert found.cache_hits == found.calls == 6
    assert found.low == 0


async def test_many_cases_are_bounded_by_their_longest(scorers: Scorers) -> None:
    items = [Item(item_id=f"{number}", input="abc", reference="x") for number in range(500)]
    items.append(Item(item_id="long", input="x" * 50, reference="x"))
    plan = replace(PLAN, cases=len(items))
    found = await forecast(scorers, [stage()], plan=plan, items=items)
    assert found.worst == 3 * len(items) * ((50 + 16) * 1000 + 10 * 2000)


def test_racing_replicates_and_the_hold_out_are_counted() -> None:
    racing = Racing(method=RacingMethod.PAIRED, min_cases=8, replicates=2)
    of = Answers.of(SweepPlan(trials=11, cases=100, racing=racing, holdout_rows=30))
    assert (of.whole, of.least, of.most) == (1100 + 60, 100 + 10 * 8, 3 * 1100 + 60)
    assert of.least < of.likely < of.whole
    never = replace(racing, method=RacingMethod.NONE, replicates=0)
    still = Answers.of(SweepPlan(trials=11, cases=100, racing=never))
    assert still.whole == still.least == still.likely == still.most == 1100
