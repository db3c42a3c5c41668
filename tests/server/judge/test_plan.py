"""What a judgement will do, where its items come from, and what it would cost."""

import pytest
from msgspec.structs import replace
from tests.server.fanout.panel import HOME, ME, Answer, ask
from tests.server.judge.bench import TEXT
from tests.server.judge.court import GARBAGE, JUDGE, SECOND, by_number, court, items, judge, preferring

from whet_server.dataset.spec import DataFormat, DatasetRef, Header, Split, SplitPolicy
from whet_server.errors import HoldoutSealed, InvalidField, ModelNotFound, RubricNotFound
from whet_server.judge.spec import Criterion, JudgementSpec
from whet_server.judging import Item, Judge, JudgeMode
from whet_server.ledger.prices import Price
from whet_server.score.spec import ExactScorer
from whet_server.values import ModelName, Nanos, Parameters, RunId

SPEC = JudgementSpec(items=items(3), judge=judge())
SCRIPTS = {str(JUDGE): by_number(), str(SECOND): by_number()}


async def refusal(spec: JudgementSpec) -> dict[str, str]:
    """Return what is wrong with a judgement, by field."""
    async with court(dict(SCRIPTS)) as room:
        with pytest.raises(InvalidField) as caught:
            await room.judgements.plan(ME, spec)
        assert not await room.judgements.list(HOME)
    return dict(caught.value.violations)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (JudgementSpec(judge=judge()), "spec.items"),
        (replace(SPEC, fanout_run_id=RunId("fan_1")), "spec.items"),
        (replace(SPEC, concurrency=0), "spec.concurrency"),
        (replace(SPEC, cap=Nanos(-1)), "spec.cap"),
        (replace(SPEC, judge=judge(ModelName("nobody"))), "spec.judge.models[0]"),
        (replace(SPEC, judge=judge(JUDGE, JUDGE)), "spec.judge.models"),
        (replace(SPEC, judge=judge(samples=21)), "spec.judge.samples"),
        (
            replace(SPEC, judge=replace(judge(), parameters=Parameters(json_schema="{}"))),
            "spec.judge.parameters.json_schema",
        ),
        (replace(SPEC, scorers=("exact", "nothing")), "spec.scorers[1]"),
        (replace(SPEC, scorers=("exact", "exact")), "spec.scorers[1]"),
        (replace(SPEC, criteria=(Criterion(name="x"),)), "spec.criteria[0].scorer"),
        (replace(SPEC, criteria=(Criterion(scorer=ExactScorer(), weight=-1.0),)), "spec.criteria[0].weight"),
        (replace(SPEC, items=(Item(item_id="a", candidates=("x",)),) * 2), "spec.items[1].item_id"),
        (replace(SPEC, items=(*items(1), Item(input="Why?"))), "spec.items[1].candidates"),
        (replace(SPEC, items=items(2, candidates=2)), "spec.items[0].candidates"),
        (replace(SPEC, judge=judge(mode=JudgeMode.PAIRWISE)), "spec.items[0].candidates"),
        (JudgementSpec(items=items(1, candidates=2), judge=judge(mode=JudgeMode.LISTWISE)), "spec.items[0].candidates"),
    ],
)
async def test_everything_that_is_wrong_is_named_with_its_field(spec: JudgementSpec, field: str) -> None:
    assert field in await refusal(spec)


async def test_what_there_is_not_is_named() -> None:
    async with court(dict(SCRIPTS)) as room:
        with pytest.raises(RubricNotFound, match=r"spec\.judge\.rubric"):
            await room.judgements.plan(ME, replace(SPEC, judge=Judge(rubric="nobody")))
        with pytest.raises(ModelNotFound, match=r"spec.judge.models\[0\]"):
            await room.judgements.plan(ME, replace(SPEC, judge=judge(ModelName("house/gone"))))


async def test_without_a_judge_and_without_scorers_the_built_in_rubric_judges() -> None:
    async with court(dict(SCRIPTS)) as room:
        plan = await room.judgements.plan(ME, JudgementSpec(items=items(3)))
        scored = await room.judgements.plan(ME, JudgementSpec(items=items(3), scorers=("exact",)))
    assert (plan.plan.criteria, plan.plan.judges) == (("problem-solving",), (JUDGE,))
    assert (scored.plan.criteria, scored.plan.judges, scored.calls) == (("exact",), (), 0)


async def test_the_answers_of_a_fan_out_are_judged_one_by_one_or_against_each_other() -> None:
    answers = {
        "a/x": Answer(text="Air: the answer number 1."),
        "a/y": Answer(text="It is the answer number 2, of the sea."),
        "a/z": Answer(text="", failure=None, gate="never"),
    }
    async with court({**SCRIPTS, **answers, JUDGE: preferring(lambda _: "A")}) as room:
        run = await room.fanouts.start(ME, ask("a/x", "a/y", enough=2), request_id="")
        async for _ in room.fanouts.watch(HOME, run.run_id):
            pass
        each = await room.judgements.plan(ME, JudgementSpec(fanout_run_id=run.run_id, judge=judge()))
        spec = JudgementSpec(fanout_run_id=run.run_id, judge=judge(mode=JudgeMode.PAIRWISE))
        run_id = await room.start(spec)
        await room.events(run_id)
        ((whole,), _) = await room.judgements.rated(HOME, run_id)
        late = await room.fanouts.start(ME, ask("a/z"), request_id="")
        with pytest.raises(InvalidField, match="under way"):
            await room.judgements.plan(ME, JudgementSpec(fanout_run_id=late.run_id, judge=judge()))
    assert (each.plan.items, each.plan.verdicts, each.plan.origin) == (2, 2, f"fan-out {run.run_id}")
    assert whole.writers == ("a/x", "a/y")
    assert whole.input == "What is a monad?"


async def test_a_sealed_split_is_refused_and_sealed_rows_are_left_out_and_counted() -> None:
    rows = b"".join(
        b'{"input": "Why?", "output": "the answer number %d", "part": "%s"}\n' % (number, part)
        for number, part in enumerate([b"dev", b"holdout", b"train"])
    )
    header = Header(name="small", format=DataFormat.JSONL, policy=SplitPolicy(column="part"))
    async with court(dict(SCRIPTS)) as room:
        await room.datasets.put(ME, header, rows)
        with pytest.raises(HoldoutSealed):
            await room.judgements.plan(
                ME, JudgementSpec(dataset=DatasetRef(name="small", split=Split.HOLDOUT), judge=judge())
            )
        plan = await room.judgements.plan(ME, JudgementSpec(dataset=DatasetRef(name="small"), judge=judge()))
        with pytest.raises(InvalidField, match=r"spec.dataset.candidates\[0\]"):
            await room.judgements.plan(
                ME, JudgementSpec(dataset=DatasetRef(name="small", candidates=("nothing",)), judge=judge())
            )
    assert (plan.plan.items, plan.sealed_rows, plan.plan.origin) == (2, 1, "data set small@1")


async def test_the_hash_changes_with_everything_that_would_run() -> None:
    variants = [
        SPEC,
        replace(SPEC, items=items(4)),
        replace(SPEC, judge=judge(SECOND)),
        replace(SPEC, judge=judge(samples=2)),
        replace(SPEC, scorers=("exact",)),
        replace(SPEC, cap=Nanos(5)),
        replace(SPEC, concurrency=7),
    ]
    async with court(dict(SCRIPTS)) as room:
        hashes = [(await room.judgements.plan(ME, spec)).plan_hash for spec in variants]
        assert (await room.judgements.plan(ME, SPEC)).plan_hash == hashes[0]
        await room.rubrics.put(HOME, "two", TEXT.replace("Is it short?", "Is it brief?"), also=lambda _rubric, _new: ())
        hashes.append((await room.judgements.plan(ME, SPEC)).plan_hash)
        room.panel.price = Price(input=2, output=1, source="endpoint")
        hashes.append((await room.judgements.plan(ME, SPEC)).plan_hash)
    assert len(set(hashes)) == len(hashes)


async def test_the_worst_cost_bounds_a_judgement_that_is_repaired_throughout() -> None:
    price = Price(input=1_000_000, output=2_000_000, source="endpoint")
    spec = JudgementSpec(items=items(5), judge=judge(JUDGE, SECOND, samples=2))
    garbage = GARBAGE * 2_000
    async with court({JUDGE: Answer(text=garbage), SECOND: Answer(text=garbage)}, price=price) as room:
        plan = await room.judgements.plan(ME, spec)
        await room.judge(spec)
        asked = room.panel.asked
    size = sum(len(message.content.encode()) + 16 for call in asked for message in call.messages)
    limit = sum(call.parameters.max_tokens or 0 for call in asked)
    assert (plan.calls, len(asked)) == (20, 40)
    assert size + 2 * limit <= plan.worst < 20 * (size + 2 * limit)
    assert plan.low <= plan.expected <= plan.worst


async def test_a_sample_of_ten_thousand_questions_stands_for_all() -> None:
    price = Price(input=1_000_000, output=2_000_000, source="endpoint")
    async with court(dict(SCRIPTS), price=price) as room:
        one = await room.judgements.plan(ME, JudgementSpec(items=items(100), judge=judge()))
        many = await room.judgements.plan(ME, JudgementSpec(items=items(3_000), judge=judge()))
    assert many.calls == 3_000
    assert many.expected == pytest.approx(30 * one.expected, rel=0.01)
    assert many.worst == pytest.approx(30 * one.worst, rel=0.01)
